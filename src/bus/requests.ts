import { hex, samePublic } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { Queue } from '../base/queue.ts'
import type { Context } from './context.ts'
import { hintIn } from './hint.ts'
import type { AdmissionLine } from './in/admission.ts'
import type { Arrival } from './in/arrival.ts'
import type { Receiver } from './in/receiver.ts'
import type { ReplayWindows, SubscriptionWindows } from './in/replay.ts'
import type { Received } from './messages/opened.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'
import type { Published } from './out/publisher.ts'
import { subscribeSafely } from './safely.ts'

const TOKEN_BYTES = 15
/** Tokens for which randomness is drawn at once: each draw is a call into native code. */
const TOKENS_DRAWN = 64

/** When a request for many responses is over, besides at `maxWait`; by the names of both client lines. */
export type RequestManyStrategy = 'timer' | 'count' | 'stall' | 'jitterTimer' | 'sentinel' | 'sentinelMsg'

/** When to stop waiting for responses. */
export interface ManyLimits {
  readonly strategy: RequestManyStrategy
  readonly maxWait: number
  readonly maxMessages: number | undefined
  readonly stall: number
}

interface Pending {
  readonly published: Published
  readonly take: (received: Received) => void
  readonly fail: (error: Error) => void
  /** A worker could not open it: others may. */
  readonly isUnaddressed: () => void
  /** Whether a hint has come: nobody has proved it, and anybody can send more of them. */
  isHinted: boolean
  /** Whether a valid response has come: somebody subscribes, whatever is said in clear from then on. */
  isAnswered: boolean
}

/** What requests work with. */
export interface RequestsOptions extends Context {
  readonly receiver: Receiver
  readonly windows: ReplayWindows
  /** The first tokens of the inbox, without wildcards. */
  readonly inboxPrefix: string
  /** A worker says that it could not open a request: it may know something that this agent does not. */
  readonly onUnaddressed: () => void
}

/**
 * Requests under way, on one inbox. Only valid responses count: junk, responses of agents that were not asked and
 * replays do not.
 */
export class Requests {
  readonly #nc: NatsLike
  readonly #options: RequestsOptions
  readonly #inbox: string
  readonly #pending = new Map<string, Pending>()
  readonly #windows: SubscriptionWindows
  readonly #line: AdmissionLine
  #subscription: NatsSubscription | undefined
  #drawn: Uint8Array = new Uint8Array(0)

  constructor(nc: NatsLike, options: RequestsOptions) {
    this.#nc = nc
    this.#options = options
    this.#inbox = `${options.inboxPrefix}.${this.#token()}`
    this.#windows = options.windows.open(`${this.#inbox}.*`, undefined)
    this.#line = options.receiver.line('inbox')
  }

  /**
   * Publishes a request with `publish` and waits for the first response.
   *
   * @throws what `publish` throws, SubrosaError ERR_TIMEOUT, ERR_NO_RESPONDERS, ERR_UNADDRESSED, ERR_CLOSED,
   *   ERR_SUBSCRIBE_DENIED
   */
  async send(publish: (reply: string) => Published, timeout: number): Promise<Received> {
    const { reply, published } = this.#publish(publish)
    return new Promise<Received>((resolve, reject) => {
      const settle = (): void => {
        cancel()
        this.#pending.delete(reply)
      }
      const fail = (error: Error): void => {
        settle()
        reject(error)
      }
      const cancel = this.#options.clock.after(timeout, () => fail(timedOut(timeout, published)))
      this.#pending.set(reply, {
        published,
        take: (received) => {
          settle()
          resolve(received)
        },
        fail,
        isUnaddressed: () => fail(unaddressed()),
        isHinted: false,
        isAnswered: false,
      })
    })
  }

  /**
   * Publishes a request with `publish` and yields its responses until the strategy has enough. Whoever stops reading
   * ends it. No response at all is no error, but that nobody subscribes is.
   *
   * @throws what `publish` throws; the iterator throws SubrosaError ERR_NO_RESPONDERS, ERR_CLOSED,
   *   ERR_SUBSCRIBE_DENIED
   */
  sendMany(publish: (reply: string) => Published, limits: ManyLimits): AsyncIterable<Received> {
    const { strategy, maxWait, maxMessages = 0, stall } = limits
    const { clock } = this.#options
    const { reply, published } = this.#publish(publish)
    const responses = new Queue<Received>()
    const end = (error?: Error): void => {
      cancel()
      this.#pending.delete(reply)
      responses.end(error)
    }
    let cancel = clock.after(maxWait, end)
    let count = 0
    this.#pending.set(reply, {
      published,
      take: (received) => {
        responses.push(received)
        count++
        if (strategy === 'count' && count === maxMessages) end()
        else if (isSentinel(strategy) && received.opened.payload.length === 0) end()
        else if (isStall(strategy)) {
          cancel()
          cancel = clock.after(stall, end)
        }
      },
      fail: end,
      isUnaddressed: () => {},
      isHinted: false,
      isAnswered: false,
    })
    return {
      async *[Symbol.asyncIterator]() {
        try {
          for (;;) {
            const { value, done } = await responses.next()
            if (done === true) return
            yield value
          }
        } finally {
          end()
        }
      },
    }
  }

  close(): void {
    for (const { fail } of [...this.#pending.values()]) {
      fail(new SubrosaError('ERR_CLOSED', 'the sealed connection was closed before a response came'))
    }
    if (!this.#nc.isClosed()) this.#subscription?.unsubscribe()
  }

  #publish(publish: (reply: string) => Published): { readonly reply: string; readonly published: Published } {
    this.#listen()
    const reply = `${this.#inbox}.${this.#token()}`
    return { reply, published: publish(reply) }
  }

  #token(): string {
    if (this.#drawn.length === 0) this.#drawn = this.#options.engine.randomBytes(TOKENS_DRAWN * TOKEN_BYTES)
    const token = hex(this.#drawn.subarray(0, TOKEN_BYTES))
    this.#drawn = this.#drawn.subarray(TOKEN_BYTES)
    return token
  }

  #listen(): void {
    this.#subscription ??= subscribeSafely(this.#nc, `${this.#inbox}.*`, {
      take: (message) => this.#take(message),
      onError: this.#options.onError,
      reject: this.#options.reject,
      onRefused: (error) => this.#refuse(error),
    })
  }

  /** The server refuses the inbox: no response can come. A later request tries again. */
  #refuse(cause: Error): void {
    // Where the refusal is forged, the server still delivers to it.
    this.#subscription?.unsubscribe()
    this.#subscription = undefined
    for (const { fail } of [...this.#pending.values()]) fail(inboxRefused(this.#inbox, cause))
  }

  #take(message: NatsMessage): void {
    const pending = this.#pending.get(message.subject)
    if (pending === undefined) return
    const hint = hintIn(message)
    if (hint === 'unaddressed') this.#takeHint(pending)
    else if (hint === 'no responders' && !pending.isAnswered) pending.fail(noResponders())
    else this.#options.receiver.take(message, this.#arrival())
  }

  /** One for each request counts. */
  #takeHint(pending: Pending): void {
    if (pending.isHinted) return
    pending.isHinted = true
    this.#options.onUnaddressed()
    pending.isUnaddressed()
  }

  #arrival(): Arrival {
    return {
      subscription: 0,
      windows: this.#windows,
      line: this.#line,
      deliver: (received) => {
        const pending = this.#pending.get(received.delivered.subject)
        if (pending === undefined) return
        pending.isAnswered = true
        pending.take(received)
      },
      mayRespond: ({ subject, inReplyTo, recipients }, { claims, announcement }) => {
        const pending = this.#pending.get(subject)
        if (pending === undefined || recipients !== 1 || inReplyTo === undefined) return false
        if (!samePublic(inReplyTo, pending.published.id)) return false
        return pending.published.members.some(
          (member) => member.name === claims.name && samePublic(member.instanceBytes, announcement.instance),
        )
      },
    }
  }
}

function isSentinel(strategy: RequestManyStrategy): boolean {
  return strategy === 'sentinel' || strategy === 'sentinelMsg'
}

function isStall(strategy: RequestManyStrategy): boolean {
  return strategy === 'stall' || strategy === 'jitterTimer'
}

function noResponders(): SubrosaError {
  return new SubrosaError('ERR_NO_RESPONDERS', 'nobody subscribes to the subject of the request', {
    hint: 'an agent joins queue groups one second after it has announced itself',
  })
}

function inboxRefused(inbox: string, cause: Error): SubrosaError {
  return new SubrosaError('ERR_SUBSCRIBE_DENIED', `the server refuses the inbox "${inbox}.*"`, {
    hint: 'set inboxPrefix to what the permissions of this login allow',
    cause,
  })
}

function unaddressed(): SubrosaError {
  return new SubrosaError('ERR_UNADDRESSED', 'the request reached a worker that it was not sealed to', {
    hint: 'the worker is new, or its announcement has not arrived: the directory is being refreshed, try again',
  })
}

function timedOut(timeout: number, { members }: Published): SubrosaError {
  return new SubrosaError('ERR_TIMEOUT', `no valid response within ${timeout} ms`, {
    hint: `the request was sealed to ${members.map(({ name }) => name).join(', ')}; status() tells what was rejected`,
  })
}
