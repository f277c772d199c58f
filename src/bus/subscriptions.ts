import { SubrosaError } from '../base/errors.ts'
import { MAX_HINTS_PER_SECOND, QUEUE_SETTLE_MS } from '../base/limits.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { isSubject } from '../base/subject.ts'
import type { Context } from './context.ts'
import { STATUS_HEADER, STATUS_UNADDRESSED } from './hint.ts'
import type { Arrival } from './in/arrival.ts'
import type { Receiver } from './in/receiver.ts'
import type { ReplayWindows } from './in/replay.ts'
import { isUsualInbox } from './inbox.ts'
import { MessageHeaders } from './messages/headers.ts'
import type { SecureMessage } from './messages/message.ts'
import type { Received } from './messages/opened.ts'
import { SecureSubscription, type SubscribeOptions } from './messages/subscription.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'
import { attempt, publishSafely, subscribeSafely } from './safely.ts'

/** What subscriptions work with. */
export interface SubscriptionsOptions extends Context {
  readonly receiver: Receiver
  readonly windows: ReplayWindows
  readonly toMessage: (received: Received) => SecureMessage
  /** Called for each message that a subscription has taken. */
  readonly onOpened: () => void
  /** The prefix of this connection's own inboxes. */
  readonly inboxPrefix: string
}

/** The subscriptions of one connection: each a NATS subscription, a set of replay windows, and the way in between. */
export class Subscriptions {
  readonly #nc: NatsLike
  readonly #options: SubscriptionsOptions
  readonly #open = new Set<SecureSubscription>()
  readonly #settling = new Set<Promise<void>>()
  readonly #hints = new RateLimit(MAX_HINTS_PER_SECOND)
  #joinedAt = 0
  #opened = 0

  constructor(nc: NatsLike, options: SubscriptionsOptions) {
    this.#nc = nc
    this.#options = options
  }

  /** This instance has announced itself: the settling time of queue groups begins. */
  joined(): void {
    this.#joinedAt = this.#options.clock.monotonic()
  }

  open(pattern: string, options: SubscribeOptions): SecureSubscription {
    const { clock, receiver, windows: allWindows, feed, toMessage, onOpened } = this.#options
    const { queue } = options
    const windows = allWindows.open(pattern, queue)
    const line = receiver.line('subscriptions')
    let raw: NatsSubscription | undefined
    let cancelSettling = (): void => {}
    const subscription: SecureSubscription = new SecureSubscription(pattern, options, {
      clock,
      unsubscribe: () => {
        cancelSettling()
        if (!this.#nc.isClosed()) raw?.unsubscribe()
        this.#open.delete(subscription)
        allWindows.close(pattern, queue, windows)
        line.close()
      },
      drain: async () => {
        cancelSettling()
        try {
          if (!this.#nc.isClosed()) await raw?.drain()
        } catch {
          // It has ended by itself, or with the connection: nothing more comes.
        }
        await receiver.idle(line)
      },
      onCallbackError: (error) => feed.emit({ type: 'error', error }),
      onSlow: (pending) => feed.emit({ type: 'slowConsumer', subject: pattern, pending }),
      id: () => raw?.getID() ?? 0,
    })
    this.#open.add(subscription)
    const arrival: Arrival = {
      subscription: ++this.#opened,
      windows,
      line,
      deliver: (received) => {
        if (subscription.push(toMessage(received))) onOpened()
      },
      ...(queue === undefined ? {} : { onUnaddressed: (message) => this.#sayUnaddressed(message) }),
    }
    const start = (): void => {
      raw = this.#start(pattern, { queue, arrival, subscription })
    }
    if (queue === undefined) start()
    else cancelSettling = this.#whenSettled(start, (error) => subscription.fail(notBegun(pattern, error)))
    return subscription
  }

  /** Resolves when every subscription that waits for its settling time has begun. */
  async settled(): Promise<void> {
    await Promise.all(this.#settling)
  }

  async drain(): Promise<void> {
    await Promise.all([...this.#open].map((subscription) => subscription.drain()))
  }

  /** Ends them all; what came before is still read. */
  finish(): void {
    for (const subscription of [...this.#open]) subscription.finish()
  }

  #start(
    pattern: string,
    parts: {
      readonly queue: string | undefined
      readonly arrival: Arrival
      readonly subscription: SecureSubscription
    },
  ): NatsSubscription {
    const { queue, arrival, subscription } = parts
    const { receiver, onError, reject } = this.#options
    const raw = subscribeSafely(this.#nc, pattern, {
      queue,
      take: (message) => receiver.take(message, arrival),
      onError,
      reject,
      onRefused: (error) => subscription.fail(refused(pattern, error)),
    })
    void raw.closed.then((error) => {
      if (error instanceof Error) subscription.fail(refused(pattern, error))
      // One that is drained ends by itself, when what came before has been opened.
      else if (!subscription.isDraining()) subscription.finish()
    })
    return raw
  }

  /**
   * Runs `start` once senders have had time to learn of this instance: before that, they cannot seal to it. What it throws
   * then is no caller's any more: `fail` gets it.
   */
  #whenSettled(start: () => void, fail: (error: unknown) => void): () => void {
    const { clock } = this.#options
    const delay = this.#joinedAt + QUEUE_SETTLE_MS - clock.monotonic()
    if (delay <= 0) {
      start()
      return () => {}
    }
    let cancel = (): void => {}
    const settled = new Promise<void>((resolve) => {
      const stop = clock.after(delay, () => {
        attempt(() => {
          if (!this.#nc.isClosed()) start()
        }, fail)
        resolve()
      })
      cancel = () => {
        stop()
        resolve()
      }
    })
    this.#settling.add(settled)
    void settled.then(() => this.#settling.delete(settled))
    return cancel
  }

  /** An unauthenticated hint to a requester whose request reached this worker and was not sealed to it. */
  #sayUnaddressed({ reply }: NatsMessage): void {
    // Whoever published chose the reply subject, in clear: only an inbox is answered, and not without end.
    if (reply === undefined || !this.#isInbox(reply)) return
    if (!this.#hints.take(this.#options.clock.monotonic())) return
    const headers = new MessageHeaders([{ name: STATUS_HEADER, value: STATUS_UNADDRESSED }])
    publishSafely(this.#nc, reply, { bytes: new Uint8Array(0), headers, onError: this.#options.onError })
  }

  #isInbox(reply: string): boolean {
    if (!isSubject(reply)) return false
    return isUsualInbox(reply) || reply.startsWith(`${this.#options.inboxPrefix}.`)
  }
}

function refused(pattern: string, cause: Error): SubrosaError {
  return new SubrosaError('ERR_SUBSCRIBE_DENIED', `the server ended the subscription to "${pattern}"`, {
    cause,
  })
}

function notBegun(pattern: string, cause: unknown): SubrosaError {
  return new SubrosaError('ERR_CONNECTION', `the subscription to "${pattern}" could not begin`, { cause })
}
