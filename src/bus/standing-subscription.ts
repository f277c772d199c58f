import type { Clock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { MAX_RESUBSCRIBE_MS, MIN_RESUBSCRIBE_MS } from '../base/limits.ts'
import type { NatsLike, NatsSubscription } from './nats-like.ts'
import { subscribeSafely, type Taker } from './safely.ts'

/** What to do with what arrives, and with what does not any more. */
export interface StandingTaker extends Omit<Taker, 'queue' | 'onRefused'> {
  readonly clock: Clock
  /** Told each time the server refuses the subscription. It is an ERR_SUBSCRIBE_DENIED. */
  readonly onRefused: (error: SubrosaError) => void
  /** Called when it has been subscribed to again: what came meanwhile was missed. */
  readonly onRenewed?: () => void
}

/**
 * A subscription that the protocol needs for as long as it is not ended here. One line of a broker, forged or about a
 * permission that is back in a moment, ends a subscription of the client for good. This one is made again: after pauses
 * that grow from 1 s to 60 s, and at once with {@link renew}.
 */
export class StandingSubscription {
  readonly #nc: NatsLike
  readonly #pattern: string
  readonly #taker: StandingTaker
  #subscription: NatsSubscription
  #subscribedAt = 0
  #pauseMs = MIN_RESUBSCRIBE_MS
  #cancel: (() => void) | undefined
  #isOver = false

  constructor(nc: NatsLike, pattern: string, taker: StandingTaker) {
    this.#nc = nc
    this.#pattern = pattern
    this.#taker = taker
    this.#subscription = this.#subscribe()
  }

  /** The connection is a new one: what it was refused is subscribed to at once. */
  renew(): void {
    this.#pauseMs = MIN_RESUBSCRIBE_MS
    if (this.#cancel !== undefined) this.#again()
  }

  unsubscribe(): void {
    this.#isOver = true
    this.#stopWaiting()
    if (!this.#nc.isClosed()) this.#subscription.unsubscribe()
  }

  #subscribe(): NatsSubscription {
    this.#subscribedAt = this.#taker.clock.monotonic()
    return subscribeSafely(this.#nc, this.#pattern, {
      ...this.#taker,
      onRefused: (error) => this.#refused(error),
    })
  }

  #refused(cause: Error): void {
    const { clock, onRefused } = this.#taker
    if (this.#isOver) return
    // Where the refusal is forged, the server still delivers to it.
    this.#subscription.unsubscribe()
    const hasStood = clock.monotonic() - this.#subscribedAt > MAX_RESUBSCRIBE_MS
    if (hasStood) this.#pauseMs = MIN_RESUBSCRIBE_MS
    this.#waitForTurn()
    onRefused(refused(this.#pattern, cause))
  }

  #waitForTurn(): void {
    this.#stopWaiting()
    this.#cancel = this.#taker.clock.after(this.#pauseMs, () => this.#again())
    this.#pauseMs = Math.min(MAX_RESUBSCRIBE_MS, 2 * this.#pauseMs)
  }

  #stopWaiting(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #again(): void {
    this.#stopWaiting()
    if (this.#isOver || this.#nc.isClosed()) return
    try {
      this.#subscription = this.#subscribe()
    } catch (error) {
      // A connection that is being drained takes none. It may not come to its end.
      this.#waitForTurn()
      return this.#taker.onError(error)
    }
    try {
      this.#taker.onRenewed?.()
    } catch (error) {
      this.#taker.onError(error)
    }
  }
}

function refused(pattern: string, cause: Error): SubrosaError {
  return new SubrosaError('ERR_SUBSCRIBE_DENIED', `the server refuses the subscription to "${pattern}"`, {
    hint: 'it is tried again; where it stays, make a new login for the broker: subrosa agent add NAME --renew',
    cause,
  })
}
