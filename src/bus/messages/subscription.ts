import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { Queue } from '../../base/queue.ts'
import { assertDelay } from '../../base/timers.ts'
import type { SecureMessage } from './message.ts'

/** Called for each good message, and with an error when the subscription fails. As in NATS. */
export type MessageCallback = (error: Error | undefined, message: SecureMessage) => unknown

/** Options of a subscription, with NATS's names. */
export interface SubscribeOptions {
  /** Messages go to one member of this queue group. Each member opens them with its own key. */
  readonly queue?: string
  /** Ends the subscription after so many messages that were opened. */
  readonly max?: number
  /** Milliseconds in which the first message must come. */
  readonly timeout?: number
  /** Takes the messages; without it the subscription is an async iterator. */
  readonly callback?: MessageCallback
  /** With more unread messages than this, `status()` reports a slow consumer, once until they are fewer again. */
  readonly slow?: number
}

/** What a subscription does to the connection. */
export interface SubscriptionHooks {
  readonly clock: Clock
  /** Stops the delivery at once. */
  readonly unsubscribe: () => void
  /** Stops new messages, and resolves when those under way have been delivered. */
  readonly drain: () => Promise<void>
  /** A callback of the user's threw, or its promise failed. */
  readonly onCallbackError: (error: unknown) => void
  /** So many messages are unread, and that is more than the option `slow` allows. */
  readonly onSlow: (pending: number) => void
  /** The client's number of the NATS subscription, once it has begun. */
  readonly id: () => number
}

/**
 * A subscription to sealed messages: an async iterator, or the source of a callback's calls. `max` and `timeout`
 * count messages that were opened: junk neither uses them up nor stops them.
 *
 * @example
 * ```ts
 * const sub = bus.subscribe('orders.>', { max: 10 })
 * for await (const m of sub) console.log(m.subject, m.string())
 * ```
 */
export class SecureSubscription implements AsyncIterable<SecureMessage> {
  /** Resolves when the subscription has ended: with the error, where one ended it. */
  readonly closed: Promise<Error | undefined>
  readonly #pattern: string
  readonly #options: SubscribeOptions
  readonly #hooks: SubscriptionHooks
  readonly #messages = new Queue<SecureMessage>()
  #resolveClosed: (error: Error | undefined) => void = () => {}
  #cancelTimeout: (() => void) | undefined
  #max: number | undefined
  #received = 0
  #processed = 0
  #isSlow = false
  #isDraining = false
  #isEnded = false

  /** @internal @throws TypeError for `slow` together with a callback, RangeError when `max`, `timeout` or `slow` is out of bounds */
  constructor(pattern: string, options: SubscribeOptions, hooks: SubscriptionHooks) {
    const { max, timeout, callback, slow } = options
    if (max !== undefined && !(Number.isInteger(max) && max > 0))
      throw new RangeError('max must be a whole number above 0')
    if (timeout !== undefined) assertDelay('timeout', timeout)
    if (slow !== undefined && callback !== undefined)
      throw new TypeError('slow counts unread messages, and a callback leaves none')
    if (slow !== undefined && !(Number.isFinite(slow) && slow >= 0))
      throw new RangeError('slow must be a number of messages')
    this.#pattern = pattern
    this.#options = options
    this.#hooks = hooks
    this.#max = max
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    if (timeout !== undefined) {
      this.#cancelTimeout = hooks.clock.after(timeout, () =>
        this.fail(new SubrosaError('ERR_TIMEOUT', `no message on "${pattern}" within ${timeout} ms`)),
      )
    }
  }

  /** The pattern that was subscribed to. */
  getSubject(): string {
    return this.#pattern
  }

  /** How many messages were opened. */
  getReceived(): number {
    return this.#received
  }

  /** How many of them were read, or handed to the callback. */
  getProcessed(): number {
    return this.#processed
  }

  /** How many of them wait to be read. */
  getPending(): number {
    return this.#messages.length
  }

  /** After how many messages the subscription ends, where it does. */
  getMax(): number | undefined {
    return this.#max
  }

  /** The client's number of the NATS subscription; 0 while a member of a queue group waits to begin. */
  getID(): number {
    return this.#hooks.id()
  }

  /** Whether it has ended. */
  isClosed(): boolean {
    return this.#isEnded
  }

  /** Whether {@link drain} is under way. */
  isDraining(): boolean {
    return this.#isDraining
  }

  /**
   * Takes no more messages; with `max`, when it has received so many since its beginning. What came before is still
   * read, as in NATS.
   */
  unsubscribe(max?: number): void {
    if (this.#isEnded) return
    if (max !== undefined && max > this.#received) {
      this.#max = max
      return
    }
    this.#end(undefined)
  }

  /** Ends the subscription; what came before is still read. Used by the connection. */
  finish(): void {
    this.#end(undefined)
  }

  /**
   * Takes no more messages, delivers those under way, and ends. What came by this subscription before the server ended it,
   * and waits to be opened, is waited for: four seconds at most.
   */
  async drain(): Promise<void> {
    if (this.#isEnded) return
    this.#isDraining = true
    await this.#hooks.drain()
    this.#end(undefined)
  }

  /** @internal A message that was opened. Used by the connection. @returns whether it was taken */
  push(message: SecureMessage): boolean {
    const { callback } = this.#options
    if (this.#isEnded) return false
    this.#cancelTimeout?.()
    this.#received++
    const isLast = this.#max !== undefined && this.#received >= this.#max
    if (callback === undefined) this.#messages.push(message)
    else {
      this.#processed++
      this.#call(() => callback(undefined, message))
    }
    this.#watchPending()
    if (isLast) this.#end(undefined)
    return true
  }

  /** @internal Ends the subscription with an error. Used by the connection. */
  fail(error: Error): void {
    const { callback } = this.#options
    if (this.#isEnded) return
    // As in NATS: on an error there is no message.
    if (callback !== undefined) this.#call(() => (callback as (error: Error) => unknown)(error))
    this.#end(error)
  }

  /** Each message as it comes, until the subscription ends. @throws TypeError where there is a callback */
  async *[Symbol.asyncIterator](): AsyncIterator<SecureMessage, undefined> {
    if (this.#options.callback !== undefined)
      throw new TypeError('a subscription with a callback cannot be iterated')
    try {
      for (;;) {
        const { value, done } = await this.#messages.next()
        if (done === true) return undefined
        this.#processed++
        this.#watchPending()
        yield value
      }
    } finally {
      this.#messages.clear()
      this.#end(undefined)
    }
  }

  #watchPending(): void {
    const { slow } = this.#options
    if (slow === undefined) return
    const pending = this.#messages.length
    if (pending > slow && !this.#isSlow) this.#hooks.onSlow(pending)
    this.#isSlow = pending > slow
  }

  #call(callback: () => unknown): void {
    try {
      const result = callback()
      if (result instanceof Promise) result.catch(this.#hooks.onCallbackError)
    } catch (error) {
      this.#hooks.onCallbackError(error)
    }
  }

  #end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#cancelTimeout?.()
    this.#hooks.unsubscribe()
    this.#messages.end(error)
    this.#resolveClosed(error)
  }
}
