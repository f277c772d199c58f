import type { Clock } from '../clock.ts'
import {
  FAILED_LOOKUP_TTL_MS,
  LOOKUP_TIMEOUT_MS,
  MAX_FAILED_LOOKUPS_CACHED,
  MAX_WAITING_BYTES,
  MAX_WAITING_MESSAGES,
} from '../limits.ts'

/** Something that waits until its sender's announcement is known. */
export interface Waiting {
  readonly bytes: number
  /** The announcement is here: go on. */
  readonly proceed: () => void
  /** It did not come in time, or too much waits already. */
  readonly giveUp: () => void
}

interface Line {
  readonly waiting: Waiting[]
  bytes: number
  readonly cancel: () => void
}

/** What lookups need around them. */
export interface LookupsOptions {
  readonly clock: Clock
  /** Whether the announcement of this hash (hexadecimal) is known by now. */
  readonly isKnown: (announcement: string) => boolean
  /** Asks for it. @returns `false` when the budget does not allow it */
  readonly ask: (announcement: string) => boolean
}

/**
 * Messages whose sender is not known yet, in one line for each announcement, so that they are delivered in order:
 * at most 256 messages or 1 MiB in a line, for at most 2 s. Lookups that failed are remembered for a while.
 */
export class Lookups {
  readonly #options: LookupsOptions
  readonly #lines = new Map<string, Line>()
  readonly #failed = new Map<string, number>()
  readonly #idle: (() => void)[] = []

  constructor(options: LookupsOptions) {
    this.#options = options
  }

  /** Whether messages of this sender have to wait in line. `isKnown` where the caller has found that out already. */
  mustWait(announcement: string, isKnown = this.#options.isKnown(announcement)): boolean {
    return this.#lines.has(announcement) || !isKnown
  }

  /** Puts a message in line, and asks for its sender's announcement. */
  wait(announcement: string, item: Waiting): void {
    const line = this.#lines.get(announcement) ?? this.#open(announcement)
    const isFull =
      line === undefined ||
      line.waiting.length >= MAX_WAITING_MESSAGES ||
      line.bytes + item.bytes > MAX_WAITING_BYTES
    if (isFull) {
      item.giveUp()
      return
    }
    line.waiting.push(item)
    line.bytes += item.bytes
  }

  /** Lets every line go on whose announcement has come. */
  check(): void {
    for (const [announcement, line] of [...this.#lines]) {
      if (!this.#options.isKnown(announcement)) continue
      this.#close(announcement, line)
      for (const { proceed } of line.waiting) proceed()
    }
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    if (this.#lines.size === 0) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  close(): void {
    for (const [announcement, line] of [...this.#lines]) this.#close(announcement, line)
  }

  #open(announcement: string): Line | undefined {
    const { clock, ask } = this.#options
    const failedAt = this.#failed.get(announcement)
    if (failedAt !== undefined && clock.monotonic() - failedAt < FAILED_LOOKUP_TTL_MS) return undefined
    if (!ask(announcement)) return undefined
    const cancel = clock.after(LOOKUP_TIMEOUT_MS, () => this.#fail(announcement))
    const line: Line = { waiting: [], bytes: 0, cancel }
    this.#lines.set(announcement, line)
    return line
  }

  #close(announcement: string, line: Line): void {
    line.cancel()
    this.#lines.delete(announcement)
    // Whoever waits for silence goes on after the messages of this line.
    if (this.#lines.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #fail(announcement: string): void {
    const line = this.#lines.get(announcement)
    if (line === undefined) return
    this.#close(announcement, line)
    if (this.#failed.size >= MAX_FAILED_LOOKUPS_CACHED) this.#failed.clear()
    this.#failed.set(announcement, this.#options.clock.monotonic())
    for (const { giveUp } of line.waiting) giveUp()
  }
}
