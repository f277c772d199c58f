import type { Clock } from '../clock.ts'
import {
  FAILED_LOOKUP_TTL_MS,
  LOOKUP_TIMEOUT_MS,
  MAX_FAILED_LOOKUPS_CACHED,
  MAX_WAITING_BYTES,
  MAX_WAITING_MESSAGES,
} from '../limits.ts'

/** Something that waits until what it depends on is known: its sender's announcement, its session's handshake. */
export interface Waiting {
  readonly bytes: number
  /** It is here: go on. */
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
  /** Whether what is looked up (in hexadecimal) is known by now. */
  readonly isKnown: (key: string) => boolean
  /** Asks for it. @returns `false` when the budget does not allow it */
  readonly ask: (key: string) => boolean
  /** Nothing waits for it any more: it has come, or not in time. */
  readonly onDone?: (key: string) => void
}

/**
 * Messages whose sender or session is not known yet, in one line for each announcement or handshake that is missing, so
 * that they are delivered in order: at most 256 messages or 1 MiB in a line, for at most 2 s. Lookups that failed are
 * remembered for a while.
 */
export class Lookups {
  readonly #options: LookupsOptions
  readonly #lines = new Map<string, Line>()
  readonly #failed = new Map<string, number>()
  readonly #idle: (() => void)[] = []

  constructor(options: LookupsOptions) {
    this.#options = options
  }

  /** Whether anything waits. */
  get isBusy(): boolean {
    return this.#lines.size > 0
  }

  /** Whether messages of this sender or session have to wait in line. `isKnown` where the caller has found that out already. */
  mustWait(key: string, isKnown = this.#options.isKnown(key)): boolean {
    return this.#lines.has(key) || !isKnown
  }

  /** Puts a message in line, and asks for what is missing. */
  wait(key: string, item: Waiting): void {
    const line = this.#lines.get(key) ?? this.#open(key)
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

  /** Lets every line go on for which what was missing has come. */
  check(): void {
    for (const [key, line] of [...this.#lines]) {
      if (!this.#options.isKnown(key)) continue
      this.#close(key, line)
      for (const { proceed } of line.waiting) proceed()
    }
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    if (this.#lines.size === 0) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  close(): void {
    for (const [key, line] of [...this.#lines]) this.#close(key, line)
  }

  #open(key: string): Line | undefined {
    const { clock, ask } = this.#options
    const failedAt = this.#failed.get(key)
    if (failedAt !== undefined && clock.monotonic() - failedAt < FAILED_LOOKUP_TTL_MS) return undefined
    if (!ask(key)) return undefined
    const cancel = clock.after(LOOKUP_TIMEOUT_MS, () => this.#fail(key))
    const line: Line = { waiting: [], bytes: 0, cancel }
    this.#lines.set(key, line)
    return line
  }

  #close(key: string, line: Line): void {
    line.cancel()
    this.#lines.delete(key)
    this.#options.onDone?.(key)
    // Whoever waits for silence goes on after the messages of this line.
    if (this.#lines.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #fail(key: string): void {
    const line = this.#lines.get(key)
    if (line === undefined) return
    this.#close(key, line)
    if (this.#failed.size >= MAX_FAILED_LOOKUPS_CACHED) this.#failed.clear()
    this.#failed.set(key, this.#options.clock.monotonic())
    for (const { giveUp } of line.waiting) giveUp()
  }
}
