import type { Clock } from '../../base/clock.ts'
import {
  FAILED_LOOKUP_TTL_MS,
  LOOKUP_TIMEOUT_MS,
  MAX_FAILED_LOOKUPS_CACHED,
  MAX_UNASKED_LINES,
  MAX_WAITING_BYTES,
  MAX_WAITING_BYTES_IN_ALL,
  MAX_WAITING_MESSAGES,
} from '../../base/limits.ts'

/** How often it is tried again to ask for what there was no budget for. */
const ASK_AGAIN_MS = 50

/** Something that waits until what it depends on is known: its sender's announcement, its session's handshake. */
export interface Waiting {
  readonly bytes: number
  /** It is here: go on. */
  readonly proceed: () => void
  /** It did not come in time, or too much waits already. */
  readonly giveUp: () => void
  /** Nobody wants it any more. */
  readonly drop?: () => void
}

interface Line {
  readonly waiting: Waiting[]
  bytes: number
  isAsked: boolean
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
  /** Something threw. It holds up nothing else. */
  readonly onError: (error: unknown) => void
}

/**
 * Messages whose sender or session is not known yet, in one line for each announcement or handshake that is missing, so
 * that they are delivered in order: at most 256 messages or 1 MiB in a line, for at most 2 s. What the budget does not
 * allow to ask for at once is asked for when it does. Lookups that failed are remembered for a while.
 */
export class Lookups {
  readonly #options: LookupsOptions
  readonly #lines = new Map<string, Line>()
  readonly #failed = new Map<string, number>()
  readonly #idle: (() => void)[] = []
  #bytes = 0
  /** How many lines wait for their turn to be asked for. */
  #unasked = 0
  #cancelAsking: (() => void) | undefined

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
    const line = this.#hasRoom(item.bytes) ? (this.#lines.get(key) ?? this.#open(key)) : undefined
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
    this.#bytes += item.bytes
  }

  /** Lets every line go on for which what was missing has come. */
  check(): void {
    for (const [key, line] of [...this.#lines]) {
      if (!this.#options.isKnown(key)) continue
      this.#close(key, line)
      for (const { proceed } of line.waiting) this.#run(proceed)
    }
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    if (this.#lines.size === 0) return
    await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  close(): void {
    this.#cancelAsking?.()
    this.#cancelAsking = undefined
    for (const [key, line] of [...this.#lines]) {
      this.#close(key, line)
      for (const { drop } of line.waiting) if (drop !== undefined) this.#run(drop)
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes + bytes <= MAX_WAITING_BYTES_IN_ALL
  }

  #open(key: string): Line | undefined {
    const { clock } = this.#options
    const failedAt = this.#failed.get(key)
    if (failedAt !== undefined && clock.monotonic() - failedAt < FAILED_LOOKUP_TTL_MS) return undefined
    // Whoever came before has his turn first.
    const isAsked = this.#unasked === 0 && this.#ask(key)
    if (!isAsked && this.#unasked >= MAX_UNASKED_LINES) return undefined
    const cancel = clock.after(LOOKUP_TIMEOUT_MS, () => this.#fail(key))
    const line: Line = { waiting: [], bytes: 0, isAsked, cancel }
    this.#lines.set(key, line)
    if (!isAsked) {
      this.#unasked++
      this.#askLater()
    }
    return line
  }

  #ask(key: string): boolean {
    try {
      return this.#options.ask(key)
    } catch (error) {
      this.#options.onError(error)
      return false
    }
  }

  #askLater(): void {
    this.#cancelAsking ??= this.#options.clock.after(ASK_AGAIN_MS, () => {
      this.#cancelAsking = undefined
      for (const [key, line] of this.#lines) {
        if (line.isAsked) continue
        if (!this.#ask(key)) break
        line.isAsked = true
        this.#unasked--
      }
      if (this.#unasked > 0) this.#askLater()
    })
  }

  #close(key: string, line: Line): void {
    line.cancel()
    this.#lines.delete(key)
    this.#bytes -= line.bytes
    if (!line.isAsked) this.#unasked--
    this.#run(() => this.#options.onDone?.(key))
    // Whoever waits for silence goes on after the messages of this line.
    if (this.#lines.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  #fail(key: string): void {
    const line = this.#lines.get(key)
    if (line === undefined) return
    this.#close(key, line)
    // What was never asked for has not failed.
    if (line.isAsked) this.#rememberFailure(key)
    for (const { giveUp } of line.waiting) this.#run(giveUp)
  }

  #rememberFailure(key: string): void {
    if (this.#failed.size >= MAX_FAILED_LOOKUPS_CACHED) this.#failed.clear()
    this.#failed.set(key, this.#options.clock.monotonic())
  }

  /** One message that throws must not take those behind it with it. */
  #run(task: () => void): void {
    try {
      task()
    } catch (error) {
      this.#options.onError(error)
    }
  }
}
