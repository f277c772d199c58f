import type { Clock } from '../../base/clock.ts'
import {
  FAILED_LOOKUP_TTL_MS,
  LOOKUP_TIMEOUT_MS,
  MAX_FAILED_LOOKUPS_CACHED,
  MAX_UNASKED_LINES,
  MAX_WAITING_BYTES,
  MAX_WAITING_BYTES_IN_ALL,
  MAX_WAITING_MESSAGES,
  WAITING_OVERHEAD_BYTES,
} from '../../base/limits.ts'
import { Turns } from '../../base/turns.ts'
import { attempt } from '../safely.ts'

/** Interval between attempts to ask for what there was no budget for, in ms. */
const ASK_AGAIN_MS = 50

/** Something that waits until what it depends on is known: its sender's announcement, its session's handshake. */
export interface Waiting {
  readonly bytes: number
  /** The subscription that it came by. Each has its own share of the questions. */
  readonly by: object
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
  /** The subscription that opened it. */
  readonly by: object
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
 * that they are delivered in order: at most 256 messages or 1 MiB in a line, for at most 2 s. Lookups that failed are
 * remembered for a while. SPEC, "Waiting".
 *
 * Anybody can make up senders and sessions, so what is shared is shared fairly:
 *
 * - Where there is no budget to ask at once, subscriptions take turns: junk that comes by one keeps out no other.
 * - Where all memory is taken, the newest message of the longest line gives way to one of a shorter line.
 */
export class Lookups {
  readonly #options: LookupsOptions
  readonly #lines = new Map<string, Line>()
  /** Lines that nothing was asked for yet, by their subscriptions. */
  readonly #unasked = new Turns<object, string>(MAX_UNASKED_LINES)
  readonly #failed = new Map<string, number>()
  /** How many messages of each subscription wait, where any do. */
  readonly #waitingOf = new Map<object, number>()
  /** Who waits until none of a subscription does. */
  readonly #idle = new Set<{ readonly by: object; readonly resolve: () => void }>()
  #bytes = 0
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
    const line = this.#lines.get(key)
    const bytes = sizeOf(item)
    const isFull =
      line !== undefined &&
      (line.waiting.length >= MAX_WAITING_MESSAGES || line.bytes + bytes > MAX_WAITING_BYTES)
    if (isFull || !this.#makeRoom((line?.bytes ?? 0) + bytes, bytes)) {
      item.giveUp()
      return
    }
    const joined = line ?? this.#open(key, item.by)
    if (joined === undefined) {
      item.giveUp()
      return
    }
    joined.waiting.push(item)
    joined.bytes += bytes
    this.#bytes += bytes
    this.#waitingOf.set(item.by, (this.#waitingOf.get(item.by) ?? 0) + 1)
  }

  /** Lets every line go on for which what was missing has come. */
  check(): void {
    for (const [key, line] of [...this.#lines]) {
      if (!this.#options.isKnown(key)) continue
      this.#close(key, line)
      for (const { proceed } of line.waiting) this.#run(proceed)
    }
  }

  /** Resolves when nothing waits that came by this subscription. */
  async idle(by: object): Promise<void> {
    if (this.#waitingOf.has(by)) await new Promise<void>((resolve) => this.#idle.add({ by, resolve }))
  }

  close(): void {
    this.#cancelAsking?.()
    this.#cancelAsking = undefined
    for (const [key, line] of [...this.#lines]) {
      this.#close(key, line)
      for (const { drop } of line.waiting) if (drop !== undefined) this.#run(drop)
    }
  }

  /**
   * Makes room for so many bytes more in a line that then has `lineBytes`, at the cost of longer ones.
   *
   * @returns `false` where none is longer
   */
  #makeRoom(lineBytes: number, bytes: number): boolean {
    while (this.#bytes + bytes > MAX_WAITING_BYTES_IN_ALL) {
      const longest = this.#longest()
      if (longest === undefined || longest.bytes <= lineBytes) return false
      const newest = longest.waiting.pop()
      if (newest === undefined) return false
      longest.bytes -= sizeOf(newest)
      this.#bytes -= sizeOf(newest)
      this.#leave([newest])
      this.#run(newest.giveUp)
    }
    return true
  }

  #longest(): Line | undefined {
    let longest: Line | undefined
    for (const line of this.#lines.values())
      if (longest === undefined || line.bytes > longest.bytes) longest = line
    return longest
  }

  #open(key: string, by: object): Line | undefined {
    const { clock } = this.#options
    const failedAt = this.#failed.get(key)
    if (failedAt !== undefined && clock.monotonic() - failedAt < FAILED_LOOKUP_TTL_MS) return undefined
    // Those that came before have their turns first.
    const isAsked = this.#unasked.size === 0 && this.#ask(key)
    if (!isAsked && !this.#unasked.add(by, key)) return undefined
    const cancel = clock.after(LOOKUP_TIMEOUT_MS, () => this.#fail(key))
    const line: Line = { waiting: [], bytes: 0, isAsked, by, cancel }
    this.#lines.set(key, line)
    if (!isAsked) this.#askLater()
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
      for (let next = this.#unasked.peek(); next !== undefined; next = this.#unasked.peek()) {
        if (!this.#ask(next.what)) break
        this.#unasked.take()
        const line = this.#lines.get(next.what)
        if (line !== undefined) line.isAsked = true
      }
      if (this.#unasked.size > 0) this.#askLater()
    })
  }

  #close(key: string, line: Line): void {
    line.cancel()
    this.#lines.delete(key)
    this.#bytes -= line.bytes
    this.#unasked.delete(line.by, key)
    this.#run(() => this.#options.onDone?.(key))
    // Whoever waits for silence goes on after the messages of this line.
    this.#leave(line.waiting)
  }

  #leave(waiting: readonly Waiting[]): void {
    for (const { by } of waiting) {
      const left = (this.#waitingOf.get(by) ?? 0) - 1
      if (left > 0) this.#waitingOf.set(by, left)
      else this.#waitingOf.delete(by)
    }
    for (const waiter of this.#idle) {
      if (this.#waitingOf.has(waiter.by)) continue
      this.#idle.delete(waiter)
      waiter.resolve()
    }
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
    attempt(task, this.#options.onError)
  }
}

/** What a message takes that waits: closures, and a message of NATS, besides its bytes. */
function sizeOf({ bytes }: Waiting): number {
  return bytes + WAITING_OVERHEAD_BYTES
}
