// Over 300 lines, half of them the documentation of the public interface.
import { hex } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Padding } from '../crypto/padding.ts'
import { SubrosaError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { allowsSomeOf } from '../identity/permissions.ts'
import { isPattern } from '../identity/subject.ts'
import type { Trust } from '../identity/trust.ts'
import type { AgentState } from '../keys/state.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import { type HeadersLike, MessageHeaders } from './headers.ts'
import { type Payload, payloadBytes, type RespondOptions, SecureMessage, type Sender } from './message.ts'
import type { NatsLike } from './nats-like.ts'
import { Publisher } from './publisher.ts'
import { RealmLink } from './realm-link.ts'
import { type Received, Receiver } from './receiver.ts'
import { ReplayWindows } from './replay.ts'
import { Requests } from './requests.ts'
import { type RejectReason, type StatusEvent, StatusFeed } from './status.ts'
import type { SecureSubscription, SubscribeOptions } from './subscription.ts'
import { Subscriptions } from './subscriptions.ts'

/** Options of a publish. */
export interface PublishOptions {
  /** Agents to seal to: names, or `name/instance`. Default: every live instance that may read the subject. */
  readonly to?: readonly string[]
  /** Sealed with the payload, but for the headers that a NATS server acts on: those are authenticated, in clear. */
  readonly headers?: HeadersLike
  /** Where a response should go; it is sealed, and set on the NATS message. */
  readonly reply?: string
}

/** Options of a request. */
export interface RequestOptions {
  /** Milliseconds to wait for a valid response. Default 1000. */
  readonly timeout?: number
  readonly to?: readonly string[]
  readonly headers?: HeadersLike
}

/** Options of {@link SecureConnection.waitForAudience}. */
export interface WaitForAudienceOptions {
  /** How many instances besides this one. Default 1. */
  readonly atLeast?: number
  /** Milliseconds. Default 5000. */
  readonly timeout?: number
}

/** What a connection is made of; `secure()` puts it together. */
export interface ConnectionParts {
  readonly engine: CryptoEngine
  readonly identity: Identity
  readonly trust: Trust
  readonly state: AgentState
  readonly subjects: ProtocolSubjects
  readonly clock: Clock
  readonly padding: Padding
}

const DEFAULT_TIMEOUT_MS = 1000
const DEFAULT_AUDIENCE_TIMEOUT_MS = 5000
const AUDIENCE_CHECK_MS = 250

/**
 * A NATS connection on which everything is sealed. Made by {@link secure}. Calls and options have NATS's names; what
 * is published goes to the agents that may read it, and to nobody else.
 *
 * @example
 * ```ts
 * bus.publish('orders.new', JSON.stringify({ id: 7 }))
 * const answer = await bus.request('tools.search', 'query', { timeout: 1000 })
 * await bus.drain()
 * ```
 */
export class SecureConnection {
  /** The agent's name. */
  readonly name: string
  /** This instance, in hexadecimal. */
  readonly instance: string
  /** The realm: the public key of its first authority. */
  readonly realm: string
  readonly #nc: NatsLike
  readonly #parts: ConnectionParts
  readonly #feed = new StatusFeed()
  readonly #windows = new ReplayWindows()
  readonly #link: RealmLink
  readonly #publisher: Publisher
  readonly #receiver: Receiver
  readonly #requests: Requests
  readonly #subscriptions: Subscriptions
  #isClosed = false

  /** Use {@link secure}. */
  constructor(nc: NatsLike, parts: ConnectionParts) {
    const { engine, clock, identity, padding } = parts
    const feed = this.#feed
    this.#nc = nc
    this.#parts = parts
    this.#link = new RealmLink(nc, {
      ...parts,
      feed,
      onForgotten: () => this.#windows.prune((announcement) => this.#link.directory.has(announcement)),
    })
    this.#publisher = new Publisher(nc, { engine, identity, clock, link: this.#link, padding })
    this.#receiver = new Receiver({ engine, clock, link: this.#link, feed })
    this.#requests = new Requests(nc, {
      engine,
      clock,
      receiver: this.#receiver,
      windows: this.#windows,
      onUnaddressed: () => this.#link.refresh(),
      onError: (error) => feed.emit({ type: 'error', error }),
    })
    this.#subscriptions = new Subscriptions(nc, {
      clock,
      receiver: this.#receiver,
      windows: this.#windows,
      feed,
      toMessage: (received) => this.#toMessage(received),
    })
    this.name = identity.name
    this.instance = hex(this.#link.keyring.instance)
    this.realm = identity.claims.realm
  }

  /** Joins the realm. Called once, by {@link secure}. */
  async join(timeoutMs: number): Promise<void> {
    void this.#nc.closed().then(() => this.#finish())
    try {
      await this.#link.join(timeoutMs)
    } catch (error) {
      this.#finish()
      throw error
    }
    this.#subscriptions.joined()
    void this.#followNats()
  }

  /** The number of the newest epoch for which this instance has announced keys; 0 before the first. */
  get epoch(): number {
    return Math.max(0, ...this.#link.keyring.announcements().map(({ announcement }) => announcement.epoch))
  }

  /**
   * Seals a payload to every live agent that may read `subject`, or to those in `to`, and publishes it. Synchronous,
   * so that the order of publishes is kept.
   *
   * @throws SubrosaError ERR_PUBLISH_DENIED, ERR_EMPTY_AUDIENCE (the hint says who is missing and why),
   *   ERR_RECIPIENT_NOT_ALLOWED, ERR_MESSAGE_TOO_LARGE, ERR_STALE, ERR_REVOKED, ERR_TOKEN_EXPIRED, ERR_HEADER,
   *   ERR_CLOSED
   * @throws TypeError when subject or payload is none
   *
   * @example
   * ```ts
   * bus.publish('orders.new', bytes, { to: ['billing'] })
   * ```
   */
  publish(subject: string, payload?: Payload, options: PublishOptions = {}): void {
    const { to, headers, reply } = options
    this.#publisher.publish({ subject, payload: payloadBytes(payload), headers, reply }, to)
  }

  /**
   * Subscribes to a subject or pattern and delivers what was sealed to this instance by somebody who may publish it.
   * A member of a queue group starts to receive one second after this instance has announced itself.
   *
   * @throws SubrosaError ERR_SUBSCRIBE_DENIED when the identity token allows no subject that the pattern matches,
   *   ERR_CLOSED
   * @throws TypeError when the pattern is none
   *
   * @example
   * ```ts
   * bus.subscribe('tools.search', { queue: 'workers', callback: (err, m) => m.respond('result') })
   * ```
   */
  subscribe(pattern: string, options: SubscribeOptions = {}): SecureSubscription {
    const { identity } = this.#parts
    if (!isPattern(pattern))
      throw new TypeError('subject must be dot-separated tokens, with * and > as wildcards')
    if (this.#isClosed) throw connectionClosed()
    if (!allowsSomeOf(identity.claims.permissions.sub, pattern)) {
      throw new SubrosaError(
        'ERR_SUBSCRIBE_DENIED',
        `the identity token of ${identity.name} does not allow it to read "${pattern}"`,
        {
          hint: 'ask the authority for a token whose sub list allows it',
        },
      )
    }
    return this.#subscriptions.open(pattern, options)
  }

  /**
   * Publishes a request and resolves with the first valid response: sealed to this instance alone, by an instance
   * that the request was sealed to.
   *
   * @throws what {@link publish} throws, and SubrosaError ERR_TIMEOUT, ERR_NO_RESPONDERS, ERR_UNADDRESSED
   *
   * @example
   * ```ts
   * const reply = await bus.request('tools.search', 'query', { timeout: 1000 })
   * ```
   */
  async request(subject: string, payload?: Payload, options: RequestOptions = {}): Promise<SecureMessage> {
    const { timeout = DEFAULT_TIMEOUT_MS, to, headers } = options
    const bytes = payloadBytes(payload)
    const received = await this.#requests.send(
      (reply) => this.#publisher.publish({ subject, payload: bytes, headers, reply }, to),
      timeout,
    )
    return this.#toMessage(received)
  }

  /**
   * Resolves when at least so many other instances may read `subject` and have announced themselves: for starting up
   * together.
   *
   * @throws SubrosaError ERR_TIMEOUT; the hint says who is missing and why
   *
   * @example
   * ```ts
   * await bus.waitForAudience('orders.new', { atLeast: 1, timeout: 5000 })
   * ```
   */
  async waitForAudience(subject: string, options: WaitForAudienceOptions = {}): Promise<void> {
    const { atLeast = 1, timeout = DEFAULT_AUDIENCE_TIMEOUT_MS } = options
    const { clock } = this.#parts
    const deadline = clock.monotonic() + timeout
    while (this.#othersInAudience(subject) < atLeast) {
      if (this.#isClosed) throw connectionClosed()
      const left = deadline - clock.monotonic()
      if (left <= 0) throw this.#audienceTimeout(subject, atLeast, timeout)
      await this.#nextChange(Math.min(left, AUDIENCE_CHECK_MS))
    }
  }

  /** Who a message on `subject` would be sealed to now. */
  audience(subject: string): readonly Sender[] {
    return this.#publisher.audience(subject).members.map(({ name, instance }) => ({ name, instance }))
  }

  /** Resolves when the server has handled everything sent before, and this instance is in its queue groups. */
  async flush(): Promise<void> {
    await this.#subscriptions.settled()
    await this.#nc.flush()
  }

  /**
   * What happens to this connection, from now on: epochs, rejections with their reasons, staleness, revocations, and
   * the events of the NATS connection. A reader that falls behind loses the oldest events.
   */
  status(): AsyncIterableIterator<StatusEvent> {
    return this.#feed.read()
  }

  /** How many arrivals were not delivered, by reason, since the start. */
  rejections(): Readonly<Partial<Record<RejectReason, number>>> {
    return this.#feed.rejections()
  }

  /** Whether the connection was closed, by {@link close}, {@link drain} or from below. */
  isClosed(): boolean {
    return this.#isClosed
  }

  /** Retires this instance, delivers what is under way, wipes the keys, and drains the NATS connection. */
  async drain(): Promise<void> {
    if (this.#isClosed) return
    this.#link.retire()
    await this.#subscriptions.drain()
    this.#finish()
    await this.#nc.drain()
  }

  /** Retires this instance and wipes the keys. The NATS connection stays open: it is its owner's. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    if (!this.#nc.isClosed()) {
      this.#link.retire()
      await this.#nc.flush()
    }
    this.#finish()
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `SecureConnection { name: '${this.name}', instance: '${this.instance}', epoch: ${this.epoch} }`
  }

  #finish(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#subscriptions.finish()
    this.#requests.close()
    this.#receiver.close()
    this.#link.close()
    this.#feed.close()
  }

  #toMessage({ message, sender, delivered }: Received): SecureMessage {
    const { content, epoch, sentAtMs } = message
    const pairs = [...content.headers, ...content.clearHeaders]
    const isRequest = content.reply !== undefined && delivered.reply !== undefined && delivered.reply !== ''
    return new SecureMessage({
      subject: content.subject,
      reply: isRequest ? delivered.reply : undefined,
      data: content.payload,
      headers: pairs.length === 0 ? undefined : new MessageHeaders(pairs),
      sender: { name: sender.claims.name, instance: hex(sender.announcement.instance) },
      sentAt: new Date(sentAtMs),
      epoch,
      respond: isRequest
        ? (payload, options) => this.#respond({ message, sender, delivered }, payloadBytes(payload), options)
        : undefined,
    })
  }

  #respond({ message, sender, delivered }: Received, payload: Uint8Array, { headers }: RespondOptions): void {
    this.#link.assertUsable()
    const { content, mid } = message
    if (content.reply === undefined || delivered.reply === undefined) return
    const { epoch, member } = this.#publisher.responseTo(message, sender)
    const outgoing = { subject: content.reply, via: delivered.reply, payload, inReplyTo: mid, headers }
    this.#publisher.sealTo(outgoing, epoch, [member])
  }

  #othersInAudience(subject: string): number {
    return this.#publisher.audience(subject).members.filter(({ instance }) => instance !== this.instance)
      .length
  }

  #audienceTimeout(subject: string, atLeast: number, timeout: number): SubrosaError {
    const { clock } = this.#parts
    const absences = this.#link.directory.absences(subject, clock.now())
    const found = this.#othersInAudience(subject)
    return new SubrosaError(
      'ERR_TIMEOUT',
      `${found} of ${atLeast} instances can read "${subject}" after ${timeout} ms`,
      {
        hint:
          absences.map(({ name, why }) => `${name}: ${why}`).join('; ') ||
          'no other agent has announced itself',
      },
    )
  }

  #nextChange(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        stopListening()
        cancel()
        resolve()
      }
      const stopListening = this.#link.onChange(done)
      const cancel = this.#parts.clock.after(timeoutMs, done)
    })
  }

  async #followNats(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (this.#isClosed) return
      // What was announced meanwhile was missed, and others may have missed this instance.
      if (status.type === 'reconnect') this.#link.refresh()
      this.#feed.emit({ type: 'nats', status })
    }
  }
}

function connectionClosed(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'this sealed connection is closed')
}
