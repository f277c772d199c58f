import type { Clock } from '../clock.ts'
import { SubrosaError } from '../errors.ts'
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
}

type Result = IteratorResult<SecureMessage, undefined>

interface Waiter {
  readonly resolve: (result: Result) => void
  readonly reject: (error: Error) => void
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
  readonly #unread: SecureMessage[] = []
  readonly #waiters: Waiter[] = []
  #resolveClosed: (error: Error | undefined) => void = () => {}
  #cancelTimeout: (() => void) | undefined
  #received = 0
  #isEnded = false
  #error: Error | undefined

  constructor(pattern: string, options: SubscribeOptions, hooks: SubscriptionHooks) {
    this.#pattern = pattern
    this.#options = options
    this.#hooks = hooks
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    if (options.timeout !== undefined) {
      const { timeout } = options
      this.#cancelTimeout = hooks.clock.after(timeout, () =>
        this.fail(new SubrosaError('ERR_TIMEOUT', `no message on "${pattern}" within ${timeout} ms`)),
      )
    }
  }

  getSubject(): string {
    return this.#pattern
  }

  /** How many messages were opened. */
  getReceived(): number {
    return this.#received
  }

  isClosed(): boolean {
    return this.#isEnded
  }

  /** Ends the subscription. Messages that were not read are dropped. */
  unsubscribe(): void {
    if (this.#isEnded) return
    this.#unread.length = 0
    this.#end(undefined)
  }

  /** Ends the subscription; what came before is still read. Used by the connection. */
  finish(): void {
    this.#end(undefined)
  }

  /** Takes no more messages, delivers those under way, and ends. */
  async drain(): Promise<void> {
    if (this.#isEnded) return
    await this.#hooks.drain()
    this.#end(undefined)
  }

  /** A message that was opened. Used by the connection. */
  push(message: SecureMessage): void {
    const { max, callback } = this.#options
    if (this.#isEnded) return
    this.#cancelTimeout?.()
    this.#received++
    const isLast = max !== undefined && this.#received >= max
    if (callback !== undefined) this.#call(() => callback(undefined, message))
    else this.#hand(message)
    if (isLast) this.#end(undefined)
  }

  /** Ends the subscription with an error. Used by the connection. */
  fail(error: Error): void {
    const { callback } = this.#options
    if (this.#isEnded) return
    // As in NATS: on an error there is no message.
    if (callback !== undefined) this.#call(() => (callback as (error: Error) => unknown)(error))
    this.#end(error)
  }

  async *[Symbol.asyncIterator](): AsyncIterator<SecureMessage, undefined> {
    if (this.#options.callback !== undefined)
      throw new TypeError('a subscription with a callback cannot be iterated')
    try {
      for (;;) {
        const { value, done } = await this.#next()
        if (done === true) return undefined
        yield value
      }
    } finally {
      this.unsubscribe()
    }
  }

  #next(): Promise<Result> {
    const message = this.#unread.shift()
    if (message !== undefined) return Promise.resolve({ value: message, done: false })
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#isEnded) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  #hand(message: SecureMessage): void {
    const waiter = this.#waiters.shift()
    if (waiter === undefined) this.#unread.push(message)
    else waiter.resolve({ value: message, done: false })
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
    this.#error = error
    this.#cancelTimeout?.()
    this.#hooks.unsubscribe()
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (error === undefined) resolve({ value: undefined, done: true })
      else reject(error)
    }
    this.#resolveClosed(error)
  }
}
