import type { Clock } from '../base/clock.ts'
import { MAX_NONCES_PER_TICK, MAX_TICKS_PER_SECOND } from '../base/limits.ts'
import { Timers } from '../base/timers.ts'
import type { NatsLike } from '../bus/nats-like.ts'
import type { Identity } from '../identity/identity.ts'
import { signTick } from '../keys/ticks.ts'
import type { RealmRecord } from './realm-record.ts'

/** What ticks are made of. */
export interface TickerOptions {
  readonly record: RealmRecord
  readonly identity: Identity
  readonly clock: Clock
  /** The subject of ticks. */
  readonly subject: string
  readonly tickMs: number
  /** Asked right before each tick: whether this service may say what is newest, now. */
  readonly mayTick: () => boolean
  readonly onError: (error: unknown) => void
}

const MAX_WAITING_NONCES = 4096

/** Ticks at intervals, and for each nonce, within the limits of SPEC. */
export class Ticker {
  readonly #nc: NatsLike
  readonly #options: TickerOptions
  readonly #timers: Timers
  readonly #nonces: Uint8Array[] = []
  #lastTickAt = Number.NEGATIVE_INFINITY
  #cancel = (): void => {}

  constructor(nc: NatsLike, options: TickerOptions) {
    this.#nc = nc
    this.#options = options
    this.#timers = new Timers(options.clock, options.onError)
  }

  /** The next ticks carry this nonce. */
  answer(nonce: Uint8Array): void {
    if (this.#nonces.length >= MAX_WAITING_NONCES) return
    this.#nonces.push(nonce)
    this.soon()
  }

  /** A tick as soon as the limit of ten a second allows it. */
  soon(): void {
    const wait = this.#lastTickAt + 1000 / MAX_TICKS_PER_SECOND - this.#options.clock.monotonic()
    if (wait <= 0) this.now()
    else this.#in(wait)
  }

  /** A tick at once, and others after it. */
  now(): void {
    const { record, identity, clock, subject, tickMs, mayTick } = this.#options
    // First, so that it goes on whatever happens below.
    this.#in(tickMs)
    if (this.#nc.isClosed() || !mayTick()) return
    const { head } = record
    if (head === undefined) return
    const now = record.takeTickTime()
    const tick = {
      realm: head.realm,
      number: head.number,
      epochHash: head.hash,
      revocationsHash: record.revocations.hash(now),
      now,
      nonces: this.#nonces.splice(0, MAX_NONCES_PER_TICK),
    }
    this.#nc.publish(subject, signTick(identity, tick, identity.token))
    this.#lastTickAt = clock.monotonic()
    if (this.#nonces.length > 0) this.#in(1000 / MAX_TICKS_PER_SECOND)
  }

  /** No tick any more, until {@link now}. What waits is not answered: it is asked again. */
  stop(): void {
    this.#cancel()
    this.#nonces.length = 0
  }

  #in(delayMs: number): void {
    this.#cancel()
    this.#cancel = this.#timers.after(delayMs, () => this.now())
  }
}
