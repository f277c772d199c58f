import { TimeBudget } from '../base/time-budget.ts'

const SECOND_MS = 1000

/** Which announcements wait: those that somebody waits for, and those that came unasked. */
export interface Waiting {
  readonly awaited: boolean
  readonly heard: boolean
}

/** What is verified next, and what pays for it. */
export interface Turn {
  readonly line: keyof Waiting
  readonly budget: TimeBudget
}

/**
 * Working time to verify announcements in. One half is for those that somebody waits for: whatever is announced unasked,
 * and in whoever's name, cannot spend it. Each half lends what it has no use for; the reserved one keeps what half a second
 * gives it.
 */
export class DirectoryBudget {
  readonly #halfMs: number
  readonly #reserved: TimeBudget
  readonly #shared: TimeBudget

  /** @param share of a core: 0.25 is a quarter */
  constructor(share: number) {
    this.#halfMs = (share * SECOND_MS) / 2
    this.#reserved = new TimeBudget(this.#halfMs)
    this.#shared = new TimeBudget(this.#halfMs)
  }

  /** What of all that waits has its turn now; `undefined` where there is no budget for any of it. */
  next(waiting: Waiting, nowMs: number): Turn | undefined {
    const hasShared = this.#shared.readyIn(nowMs) === 0
    const hasReserved = this.#reserved.readyIn(nowMs) === 0
    if (waiting.awaited && hasReserved) return { line: 'awaited', budget: this.#reserved }
    if (waiting.heard && hasShared) return { line: 'heard', budget: this.#shared }
    if (waiting.awaited) return hasShared ? { line: 'awaited', budget: this.#shared } : undefined
    const canLend = this.#reserved.left(nowMs) > this.#halfMs / 2
    return waiting.heard && canLend ? { line: 'heard', budget: this.#reserved } : undefined
  }

  /** Milliseconds until there is budget for more, where there is none. */
  readyIn(waiting: Waiting, nowMs: number): number {
    const shared = this.#shared.readyIn(nowMs)
    return waiting.awaited ? Math.min(shared, this.#reserved.readyIn(nowMs)) : shared
  }
}
