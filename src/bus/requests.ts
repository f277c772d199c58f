import { hex, samePublic } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { SubrosaError } from '../errors.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'
import type { Published } from './publisher.ts'
import type { Arrival, Received, Receiver } from './receiver.ts'
import type { ReplayWindows, SubscriptionWindows } from './replay.ts'
import { subscribeSafely } from './safely.ts'

/** Header of the empty reply of a queue worker that a request was not sealed to. It is not authenticated. */
export const STATUS_HEADER = 'Subrosa-Status'
export const STATUS_UNADDRESSED = 'unaddressed'

export const INBOX_PREFIX = '_INBOX'
const RANDOM_BYTES = 15
const NO_RESPONDERS = 503

interface Pending {
  readonly published: Published
  readonly resolve: (received: Received) => void
  readonly reject: (error: Error) => void
}

/** What requests work with. */
export interface RequestsOptions {
  readonly engine: CryptoEngine
  readonly clock: Clock
  readonly receiver: Receiver
  readonly windows: ReplayWindows
  /** A worker says that it could not open a request: it may know something that this agent does not. */
  readonly onUnaddressed: () => void
  readonly onError: (error: unknown) => void
}

/**
 * Requests under way, on one inbox. A request ends with the first valid response: junk, responses of agents that were
 * not asked and replays do not count.
 */
export class Requests {
  readonly #nc: NatsLike
  readonly #options: RequestsOptions
  readonly #inbox: string
  readonly #pending = new Map<string, Pending>()
  readonly #windows: SubscriptionWindows
  #subscription: NatsSubscription | undefined

  constructor(nc: NatsLike, options: RequestsOptions) {
    this.#nc = nc
    this.#options = options
    this.#inbox = `${INBOX_PREFIX}.${this.#token()}`
    this.#windows = options.windows.open(`${this.#inbox}.*`, undefined)
  }

  /**
   * Publishes a request with `publish` and waits for its response.
   *
   * @throws what `publish` throws, SubrosaError ERR_TIMEOUT, ERR_NO_RESPONDERS, ERR_UNADDRESSED, ERR_CLOSED
   */
  async send(publish: (reply: string) => Published, timeout: number): Promise<Received> {
    this.#listen()
    const reply = `${this.#inbox}.${this.#token()}`
    const published = publish(reply)
    return new Promise<Received>((resolve, reject) => {
      const cancel = this.#options.clock.after(timeout, () => pending.reject(timedOut(timeout, published)))
      const settle = (): void => {
        cancel()
        this.#pending.delete(reply)
      }
      const pending: Pending = {
        published,
        resolve: (received) => {
          settle()
          resolve(received)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      }
      this.#pending.set(reply, pending)
    })
  }

  close(): void {
    for (const { reject } of [...this.#pending.values()]) {
      reject(new SubrosaError('ERR_CLOSED', 'the sealed connection was closed before a response came'))
    }
    if (!this.#nc.isClosed()) this.#subscription?.unsubscribe()
  }

  #token(): string {
    return hex(this.#options.engine.randomBytes(RANDOM_BYTES))
  }

  #listen(): void {
    this.#subscription ??= subscribeSafely(this.#nc, `${this.#inbox}.*`, {
      take: (message) => this.#take(message),
      onError: this.#options.onError,
    })
  }

  #take(message: NatsMessage): void {
    const pending = this.#pending.get(message.subject)
    if (pending === undefined) return
    const hint = serverHint(message)
    if (hint === 'no responders') {
      pending.reject(
        new SubrosaError('ERR_NO_RESPONDERS', 'nobody subscribes to the subject of the request', {
          hint: 'an agent joins queue groups one second after it has announced itself',
        }),
      )
    } else if (hint === 'unaddressed') {
      this.#options.onUnaddressed()
      pending.reject(
        new SubrosaError('ERR_UNADDRESSED', 'the request reached a worker that it was not sealed to', {
          hint: 'the worker is new, or its announcement has not arrived: the directory is being refreshed, try again',
        }),
      )
    } else this.#options.receiver.take(message, this.#arrival())
  }

  #arrival(): Arrival {
    return {
      windows: this.#windows,
      deliver: (received) => this.#pending.get(received.delivered.subject)?.resolve(received),
      mayRespond: ({ content, recipients }, { claims, announcement }) => {
        const pending = this.#pending.get(content.subject)
        if (pending === undefined || recipients !== 1 || content.inReplyTo === undefined) return false
        if (!samePublic(content.inReplyTo, pending.published.mid)) return false
        return pending.published.members.some(
          (member) => member.name === claims.name && samePublic(member.instanceBytes, announcement.instance),
        )
      },
    }
  }
}

/** What the server, or a worker, says in clear. It is not authenticated, and so only ever ends a request. */
function serverHint({ data, headers }: NatsMessage): 'no responders' | 'unaddressed' | undefined {
  if (data.length > 0 || headers === undefined) return undefined
  if (headers.code === NO_RESPONDERS) return 'no responders'
  for (const [name, [value]] of headers) {
    if (name.toLowerCase() === STATUS_HEADER.toLowerCase() && value === STATUS_UNADDRESSED)
      return 'unaddressed'
  }
  return undefined
}

function timedOut(timeout: number, { members }: Published): SubrosaError {
  return new SubrosaError('ERR_TIMEOUT', `no valid response within ${timeout} ms`, {
    hint: `the request was sealed to ${members.map(({ name }) => name).join(', ')}; status() tells what was rejected`,
  })
}
