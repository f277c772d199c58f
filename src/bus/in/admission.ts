import type { HouseClock } from '../../base/house-clock.ts'
import { MAX_PENDING_BYTES, MAX_PENDING_MESSAGES, MAX_PENDING_MS } from '../../base/limits.ts'
import { TimeBudget } from '../../base/time-budget.ts'
import { attempt } from '../safely.ts'

/** A message that is to be opened, which costs a key agreement. */
export interface Opening {
  /** Opens it. */
  readonly open: () => void
  /** Takes it out of the client's memory, where it has to wait: nothing of what it returns holds on to that. */
  readonly wait: () => WaitingOpening
}

/** What waits for budget. */
export interface WaitingOpening {
  readonly bytes: number
  /** Opens it. */
  readonly open: () => void
  /** It found no budget in time. */
  readonly giveUp: () => void
}

interface Waiting extends WaitingOpening {
  readonly since: number
}

/**
 * Who may have messages opened, and how many of them: working time, not a count, since engines differ by a factor of
 * 20. Only what comes to nothing is spent, so what honest senders say costs nothing here. What finds no budget waits, in a
 * line for each subscription; lines take turns. SPEC, "The budget of openings".
 */
export class Admission {
  readonly #clock: HouseClock
  readonly #budget: TimeBudget
  readonly #onError: (error: unknown) => void
  /** Lines in which something waits, in the order of their turns. */
  readonly #lines = new Set<AdmissionLine>()
  /** Who waits until a line is empty. */
  readonly #idle = new Set<{ readonly line: AdmissionLine; readonly resolve: () => void }>()
  #cancel: (() => void) | undefined

  /** @param perSecondMs working time for openings that come to nothing, in ms a second */
  constructor(
    perSecondMs: number,
    { clock, onError }: { clock: HouseClock; onError: (error: unknown) => void },
  ) {
    this.#clock = clock
    this.#budget = new TimeBudget(perSecondMs)
    this.#onError = onError
  }

  /** A line of its own, for one subscription. */
  line(): AdmissionLine {
    return new AdmissionLine(this)
  }

  /** Opens it now, or puts it in this line. */
  admit(line: AdmissionLine, opening: Opening): void {
    const nowMs = this.#clock.monotonic()
    if (this.#lines.size === 0 && this.#budget.readyIn(nowMs) === 0) return opening.open()
    line.push({ ...opening.wait(), since: nowMs })
    this.#lines.add(line)
    this.#continueLater()
  }

  /** Spends working time, in ms. A negative one gives back what was spent on something that was delivered after all. */
  spend(workMs: number): void {
    this.#budget.spend(workMs)
  }

  /** The line is closed: what waits in it is dropped. */
  forget(line: AdmissionLine): void {
    this.#lines.delete(line)
    this.#checkIdle()
  }

  /** Resolves when nothing waits in this line. */
  async idle(line: AdmissionLine): Promise<void> {
    if (!line.isEmpty) await new Promise<void>((resolve) => this.#idle.add({ line, resolve }))
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#lines.clear()
    for (const { resolve } of this.#idle) resolve()
    this.#idle.clear()
  }

  #continueLater(): void {
    if (this.#lines.size === 0) return
    this.#cancel ??= this.#clock.after(Math.max(1, this.#budget.readyIn(this.#clock.monotonic())), () => {
      this.#cancel = undefined
      this.#continue()
    })
  }

  #continue(): void {
    for (;;) {
      const nowMs = this.#clock.monotonic()
      const [line] = this.#lines
      if (line === undefined || this.#budget.readyIn(nowMs) > 0) break
      this.#lines.delete(line)
      const next = line.shift(nowMs)
      // Behind the others: each line has its turn.
      if (!line.isEmpty) this.#lines.add(line)
      if (next !== undefined) this.#run(next.open)
    }
    this.#checkIdle()
    this.#continueLater()
  }

  #run(task: () => void): void {
    attempt(task, this.#onError)
  }

  #checkIdle(): void {
    for (const waiter of this.#idle) {
      if (!waiter.line.isEmpty) continue
      this.#idle.delete(waiter)
      waiter.resolve()
    }
  }
}

/** What waits for budget in one subscription: bounded in number, bytes and time, and the oldest gives way. */
export class AdmissionLine {
  readonly admission: Admission
  readonly #waiting: Waiting[] = []
  #bytes = 0
  #isClosed = false

  /** @internal Use {@link Admission.line}. */
  constructor(admission: Admission) {
    this.admission = admission
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0
  }

  admit(opening: Opening): void {
    if (!this.#isClosed) this.admission.admit(this, opening)
  }

  spend(workMs: number): void {
    this.admission.spend(workMs)
  }

  push(waiting: Waiting): void {
    this.#waiting.push(waiting)
    this.#bytes += waiting.bytes
    while (
      this.#waiting.length > MAX_PENDING_MESSAGES ||
      (this.#bytes > MAX_PENDING_BYTES && this.#waiting.length > 1)
    )
      this.#take()?.giveUp()
  }

  /** The oldest that has not waited too long. */
  shift(nowMs: number): Waiting | undefined {
    for (;;) {
      const oldest = this.#take()
      if (oldest === undefined || nowMs - oldest.since <= MAX_PENDING_MS) return oldest
      oldest.giveUp()
    }
  }

  /** Resolves when nothing waits in it. */
  idle(): Promise<void> {
    return this.admission.idle(this)
  }

  /** Nobody wants what waits any more. */
  close(): void {
    this.#isClosed = true
    this.#waiting.length = 0
    this.#bytes = 0
    this.admission.forget(this)
  }

  #take(): Waiting | undefined {
    const oldest = this.#waiting.shift()
    this.#bytes -= oldest?.bytes ?? 0
    return oldest
  }
}
