import {
  HINTED_PING_MS,
  JOIN_PING_MS,
  JOIN_PING_SPREAD_MS,
  MAX_PINGS_REMEMBERED,
  PING_AGAIN_MS,
  PING_AGAIN_SPREAD_MS,
  PING_INTERVAL_MS,
  PING_SPREAD_MS,
  PING_TOGETHER_SPREAD_MS,
  STALE_AFTER_MS,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { NONCE_BYTES } from '../../wire/queries.ts'
import type { Context } from '../context.ts'
import { randomDelay } from './random.ts'

/** A question for ticks, and when it was asked: no answer to it is older. */
export interface SentPing {
  readonly nonce: Uint8Array
  /** By the clock's `late`. */
  readonly sentAtLateMs: number
}

/** What pings are sent with. */
export interface PingsOptions extends Pick<Context, 'engine' | 'clock'> {
  readonly timers: Pick<Timers, 'after'>
  /** Asks every rotation service. */
  readonly send: (nonce: Uint8Array) => void
}

/**
 * When an agent asks the rotation services for ticks, and which answers it still waits for. SPEC, "Freshness": while it
 * joins each second, later after 45 to 60 s, and about every 5 s while the newest ping is not answered by enough of them.
 */
export class Pings {
  readonly #options: PingsOptions
  /** Oldest first. */
  #sent: readonly SentPing[] = []
  #isJoining = true
  #cancel: () => void = () => {}
  /** By the monotonic clock. */
  #dueAt = Number.POSITIVE_INFINITY
  #hintedAt = Number.NEGATIVE_INFINITY
  /** Whether the next one has its time already: the newest was answered, or somebody has called for another. */
  #isSettled = false

  constructor(options: PingsOptions) {
    this.#options = options
  }

  /** Asks now. */
  now(): void {
    const { clock, engine, send } = this.#options
    const nonce = engine.randomBytes(NONCE_BYTES)
    const sentAtLateMs = clock.late()
    this.#sent = [...this.#answerable(sentAtLateMs), { nonce, sentAtLateMs }].slice(-MAX_PINGS_REMEMBERED)
    this.#isSettled = false
    // Before it is sent: whatever comes of that, there is a next time.
    if (this.#isJoining) this.#dueIn(JOIN_PING_MS, JOIN_PING_SPREAD_MS)
    else this.#dueIn(PING_AGAIN_MS, PING_AGAIN_SPREAD_MS)
    send(nonce)
  }

  /** Asks soon, where others may have the same reason to ask: the connection is a new one. */
  soon(): void {
    const { clock, engine } = this.#options
    const delayMs = randomDelay(engine, PING_TOGETHER_SPREAD_MS)
    this.#isSettled = true
    if (clock.monotonic() + delayMs < this.#dueAt) this.#dueIn(delayMs, 0)
  }

  /** The same because of a broadcast, which anybody can repeat: not often. */
  hinted(): void {
    const nowMs = this.#options.clock.monotonic()
    if (nowMs - this.#hintedAt < HINTED_PING_MS) return
    this.#hintedAt = nowMs
    this.soon()
  }

  /** The agent has joined: it asks no more than others. */
  joined(): void {
    this.#isJoining = false
  }

  /** Enough rotation services have answered what was asked since then: where that was the newest ping, the next one has time. */
  answered(askedAtLateMs: number): void {
    const newest = this.#sent.at(-1)
    if (this.#isJoining || this.#isSettled || newest === undefined) return
    if (askedAtLateMs < newest.sentAtLateMs) return
    this.#isSettled = true
    this.#dueIn(PING_INTERVAL_MS, PING_SPREAD_MS)
  }

  /** Those whose answers may still count, the newest first. */
  open(): readonly SentPing[] {
    return this.#answerable(this.#options.clock.late()).reverse()
  }

  /** Waits for no answer any more: what was asked before the clocks parted may have been answered then, and held back since. */
  forget(): void {
    this.#sent = []
  }

  #answerable(lateMs: number): SentPing[] {
    return this.#sent.filter(({ sentAtLateMs }) => lateMs - sentAtLateMs <= STALE_AFTER_MS)
  }

  #dueIn(delayMs: number, spreadMs: number): void {
    const { clock, engine, timers } = this.#options
    const wholeMs = delayMs + randomDelay(engine, spreadMs)
    this.#cancel()
    this.#dueAt = clock.monotonic() + wholeMs
    this.#cancel = timers.after(wholeMs, () => this.now())
  }
}
