// Over 300 lines, half of them the documentation of the public interface.
import { hex } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { HouseClock } from '../base/house-clock.ts'
import { MAX_CLOSING_MS } from '../base/limits.ts'
import { isPattern, isSubject } from '../base/subject.ts'
import { assertDelay } from '../base/timers.ts'
import type { Padding } from '../crypto/padding.ts'
import type { Identity } from '../identity/identity.ts'
import type { VerifiedClaims } from '../identity/trust.ts'
import type { VerifiedAnnouncement } from '../keys/announcements.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import type { AgentState } from '../keys/state.ts'
import { type ContextParts, makeContext } from './context.ts'
import { EventLog } from './event-log.ts'
import { Receiver } from './in/receiver.ts'
import { ReplayWindows } from './in/replay.ts'
import type { SubjectPolicy } from './in/subject-policy.ts'
import { type HeadersLike, MessageHeaders } from './messages/headers.ts'
import {
  type MessageLike,
  type Payload,
  payloadBytes,
  type RespondOptions,
  SecureMessage,
  type Sender,
} from './messages/message.ts'
import type { Received, SealMode } from './messages/opened.ts'
import type { SecureSubscription, SubscribeOptions } from './messages/subscription.ts'
import { assertTtl } from './messages/ttl.ts'
import type { NatsLike } from './nats-like.ts'
import { Publisher } from './out/publisher.ts'
import { Streams } from './out/streams.ts'
import { RealmLink } from './realm/realm-link.ts'
import { type RequestManyStrategy, Requests } from './requests.ts'
import { attempt } from './safely.ts'
import { type ConnectionStats, type RejectReason, type StatusEvent, StatusFeed } from './status.ts'
import { Subscriptions } from './subscriptions.ts'

/** Options of a publish. */
export interface PublishOptions {
  /** Agents to seal to: names, or `name/instance`. Default: every live instance that may read the subject. */
  readonly to?: readonly string[]
  /** Sealed with the payload, but for the headers that a NATS server acts on: those are authenticated, in clear. */
  readonly headers?: HeadersLike
  /** Where a response should go. It is sealed, and set on the NATS message, where a server can map it. */
  readonly reply?: string
  /**
   * Milliseconds after sending in which it may be delivered, from 1 to 4,294,967,295. Default: no limit of its own; two
   * minutes are the limit of everything. It is sealed, and judged exactly by the receiver's clock, also when the message
   * has waited: where that clock is ahead of this one by d, the message has d less, and where it is behind, d more.
   * A message that comes too late is rejected with the reason `time`, and this side is not told.
   */
  readonly ttl?: number
  /**
   * How it is sealed. Default `'session'`; a subject that a stream captures always gets `'message'`.
   * See {@link SealMode}.
   */
  readonly mode?: SealMode
}

/** Options of {@link SecureConnection.publishMany}. */
export type PublishManyOptions = Omit<PublishOptions, 'reply'>

/** Options of a request. */
export interface RequestOptions {
  /** Milliseconds to wait for a valid response. Default 1000. */
  readonly timeout?: number
  readonly to?: readonly string[]
  readonly headers?: HeadersLike
  /** Milliseconds in which the request may be delivered, as in {@link PublishOptions}. The response has its own. */
  readonly ttl?: number
  /** How the request and its response are sealed. Default `'session'`. */
  readonly mode?: SealMode
}

/** Options of a request for many responses. Names and defaults are those of either client line. */
export interface RequestManyOptions {
  /**
   * When it is over: at `maxWait` (`timer`, the default), after `maxMessages` responses (`count`), when none has come
   * for `stall` ms (`stall`, `jitterTimer`), or with an empty response (`sentinel`, `sentinelMsg`).
   */
  readonly strategy?: RequestManyStrategy
  /** Milliseconds after which it is over in any case; under `stall` those for the first response. Default 1000. */
  readonly maxWait?: number
  readonly maxMessages?: number
  /** Milliseconds. Default 300. */
  readonly stall?: number
  /** The older line's name for `stall`. */
  readonly jitter?: number
  readonly to?: readonly string[]
  readonly headers?: HeadersLike
  /** Milliseconds in which the request may be delivered, as in {@link PublishOptions}. Responses have their own. */
  readonly ttl?: number
  /** How the request and its responses are sealed. Default `'session'`. */
  readonly mode?: SealMode
}

/** Options of {@link SecureConnection.waitForAudience}. */
export interface WaitForAudienceOptions {
  /** How many instances besides this one. Default 1. */
  readonly atLeast?: number
  /** Milliseconds. Default 5000. */
  readonly timeout?: number
}

/** What a connection is made of; `secure()` puts it together. */
export interface ConnectionParts extends Omit<ContextParts, 'clock' | 'feed'> {
  readonly clock: Clock
  readonly identity: Identity
  /** What its token is worth under the trust anchors. */
  readonly claims: VerifiedClaims
  readonly policy: SubjectPolicy
  /** The first tokens of reply subjects. */
  readonly inboxPrefix: string
  /** Patterns of the subjects that streams capture; `undefined` to ask. */
  readonly captured: readonly string[] | undefined
  readonly state: AgentState
  /** A plan that is known besides the state's. */
  readonly plan: KeptPlan | undefined
  readonly padding: Padding
}

const DEFAULT_TIMEOUT_MS = 1000
const DEFAULT_STALL_MS = 300
const STRATEGIES: readonly RequestManyStrategy[] = [
  'timer',
  'count',
  'stall',
  'jitterTimer',
  'sentinel',
  'sentinelMsg',
]
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
  readonly #feed: StatusFeed
  readonly #clock: HouseClock
  readonly #onError: (error: unknown) => void
  readonly #windows = new ReplayWindows((name, bytes) => this.#receiver.countWindows(name, bytes))
  readonly #senders = new WeakMap<VerifiedAnnouncement, Sender>()
  readonly #link: RealmLink
  readonly #streams: Streams
  readonly #publisher: Publisher
  readonly #receiver: Receiver
  readonly #requests: Requests
  readonly #subscriptions: Subscriptions
  readonly #closed: Promise<Error | undefined>
  #resolveClosed: (error: Error | undefined) => void = () => {}
  #opened = 0
  #isClosed = false
  #isDraining = false
  /** What {@link drain} or {@link close} does, whichever was called first. */
  #ending: Promise<void> | undefined

  /** @internal Use {@link secure}. */
  constructor(nc: NatsLike, parts: ConnectionParts) {
    const { inboxPrefix } = parts
    const { engine, subjects, trust, log } = parts
    const clock = new HouseClock(parts.clock, (error) => this.#onError(error))
    const feed = new StatusFeed(new EventLog(log, clock), clock)
    const context = makeContext({ engine, clock, subjects, trust, log, feed })
    this.#feed = feed
    this.#clock = clock
    this.#onError = context.onError
    this.#nc = nc
    this.#parts = parts
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    this.#link = new RealmLink(nc, {
      ...parts,
      ...context,
      onHandshake: (message) => this.#receiver.takeHandshake(message),
      onTime: () => {
        this.#publisher.prune()
        this.#receiver.prune()
      },
      onForgotten: () => this.#windows.prune((key) => this.#receiver.needsWindow(key)),
    })
    this.#streams = new Streams(nc, { ...context, inboxPrefix, captured: parts.captured })
    this.#publisher = new Publisher(nc, {
      ...parts,
      ...context,
      link: this.#link,
      streams: this.#streams,
    })
    this.#receiver = new Receiver(nc, {
      ...parts,
      ...context,
      link: this.#link,
      onForgotten: (sids) => this.#windows.forget(sids),
    })
    this.#requests = new Requests(nc, {
      ...context,
      receiver: this.#receiver,
      windows: this.#windows,
      inboxPrefix,
      onUnaddressed: () => this.#link.refresh(),
    })
    this.#subscriptions = new Subscriptions(nc, {
      ...context,
      receiver: this.#receiver,
      windows: this.#windows,
      inboxPrefix,
      toMessage: (received) => this.#toMessage(received),
      onOpened: () => {
        this.#opened++
      },
    })
    this.name = parts.identity.name
    this.instance = hex(this.#link.keyring.instance)
    this.realm = parts.trust.realm
  }

  /** @internal Joins the realm. Called once, by {@link secure}. */
  async join(timeoutMs: number): Promise<void> {
    void this.#nc.closed().then((error) => {
      this.#finish(error instanceof Error ? error : undefined)
      this.#publisher.stopAnswering()
    })
    try {
      await this.#link.join(timeoutMs)
    } catch (error) {
      this.#finish()
      throw error
    }
    this.#subscriptions.joined()
    this.#followNats().catch(this.#onError)
  }

  /** The number of the newest epoch for which this instance has announced keys; 0 before the first. */
  get epoch(): number {
    return Math.max(0, ...this.#link.keyring.announcements().map(({ announcement }) => announcement.epoch))
  }

  /** The version of the realm's plan that this agent acts on; 0 before there is one. */
  get planVersion(): number {
    return this.#link.planVersion
  }

  /**
   * Seals a payload to every live agent that may read `subject`, or to those in `to`, and publishes it. Synchronous,
   * so that the order of publishes is kept.
   *
   * @throws SubrosaError ERR_PUBLISH_DENIED, ERR_EMPTY_AUDIENCE (the hint says who is missing and why),
   *   ERR_RECIPIENT_NOT_ALLOWED, ERR_MESSAGE_TOO_LARGE, ERR_STALE, ERR_REVOKED, ERR_TOKEN_EXPIRED, ERR_HEADER,
   *   ERR_CLOSED
   * @throws TypeError when subject or payload is none, RangeError when `ttl` is none
   *
   * @example
   * ```ts
   * bus.publish('orders.new', bytes, { to: ['billing'], ttl: 5000 })
   * ```
   */
  publish(subject: string, payload?: Payload, options: PublishOptions = {}): void {
    const { to, headers, reply, mode, ttl } = options
    assertTtl(ttl)
    const outgoing = { subject, payload: payloadBytes(payload), headers, reply, ttlMs: ttl }
    this.#publisher.publish(outgoing, { to, mode })
  }

  /**
   * Seals many payloads together and publishes them, as many in one NATS message as fit: one encryption and one
   * signature for all of them. Each is delivered by itself, in order; but a queue group hands all of a message to one
   * worker, and one decision about replay is made for all.
   *
   * @throws what {@link publish} throws
   *
   * @example
   * ```ts
   * bus.publishMany('readings', [20.5, 20.7, 21.0].map((celsius) => JSON.stringify({ celsius })))
   * ```
   */
  publishMany(subject: string, payloads: readonly Payload[], options: PublishManyOptions = {}): void {
    const { to, headers, mode, ttl } = options
    assertTtl(ttl)
    const outgoing = { subject, headers, ttlMs: ttl }
    this.#publisher.publishMany(outgoing, payloads.map(payloadBytes), { to, mode })
  }

  /**
   * Subscribes to a subject or pattern and delivers what was sealed to this instance by somebody who may publish it.
   * A member of a queue group starts to receive one second after this instance has announced itself.
   *
   * @throws SubrosaError ERR_SUBSCRIBE_DENIED when the identity token allows no subject that the pattern matches,
   *   ERR_CLOSED
   * @throws TypeError when the pattern is none, or the name of the queue group is not valid
   *
   * @example
   * ```ts
   * bus.subscribe('tools.search', { queue: 'workers', callback: (err, m) => m.respond('result') })
   * ```
   */
  subscribe(pattern: string, options: SubscribeOptions = {}): SecureSubscription {
    const { claims, policy, trust } = this.#parts
    if (!isPattern(pattern))
      throw new TypeError('subject must be dot-separated tokens, with * and > as wildcards')
    if (options.queue && !isSubject(options.queue))
      throw new TypeError('queue must be a name without wildcards or spaces')
    if (this.#isClosed) throw connectionClosed()
    if (!policy.mayReceive(claims.permissions.sub, pattern)) {
      throw new SubrosaError('ERR_SUBSCRIBE_DENIED', `${this.name} is not allowed to read "${pattern}"`, {
        hint: trust.isByPins
          ? 'its own pin does not allow it'
          : 'ask the authority for a token whose sub list allows it',
      })
    }
    return this.#subscriptions.open(pattern, options)
  }

  /**
   * Publishes a request and resolves with the first valid response: sealed to this instance alone, by an instance
   * that the request was sealed to.
   *
   * @throws what {@link publish} throws, and SubrosaError ERR_TIMEOUT, ERR_NO_RESPONDERS, ERR_UNADDRESSED,
   *   ERR_SUBSCRIBE_DENIED when the server refuses the inbox
   * @throws RangeError when the timeout or `ttl` is none
   *
   * @example
   * ```ts
   * const reply = await bus.request('tools.search', 'query', { timeout: 1000 })
   * ```
   */
  async request(subject: string, payload?: Payload, options: RequestOptions = {}): Promise<SecureMessage> {
    const { timeout = DEFAULT_TIMEOUT_MS, to, headers, mode, ttl } = options
    assertDelay('timeout', timeout)
    assertTtl(ttl)
    const bytes = payloadBytes(payload)
    const received = await this.#requests.send(
      (reply) =>
        this.#publisher.publish({ subject, payload: bytes, headers, reply, ttlMs: ttl }, { to, mode }),
      timeout,
    )
    this.#opened++
    return this.#toMessage(received)
  }

  /**
   * Publishes a request and resolves with its valid responses as they come: each sealed to this instance alone, by an
   * instance that the request was sealed to. Whoever stops reading ends it.
   *
   * @throws what {@link publish} throws; the iterator throws SubrosaError ERR_NO_RESPONDERS, ERR_CLOSED,
   *   ERR_SUBSCRIBE_DENIED
   * @throws TypeError when the strategy is none, RangeError when `maxWait`, `stall` or `ttl` is none
   *
   * @example
   * ```ts
   * for await (const m of await bus.requestMany('tools.search', 'query', { strategy: 'stall' })) console.log(m.string())
   * ```
   */
  async requestMany(
    subject: string,
    payload?: Payload,
    options: RequestManyOptions = {},
  ): Promise<AsyncIterable<SecureMessage>> {
    const { strategy = 'timer', maxWait = DEFAULT_TIMEOUT_MS, maxMessages, to, headers, mode } = options
    const { ttl } = options
    if (!STRATEGIES.includes(strategy))
      throw new TypeError(`strategy must be one of ${STRATEGIES.join(', ')}`)
    const stall = options.stall ?? options.jitter ?? DEFAULT_STALL_MS
    assertDelay('maxWait', maxWait)
    assertDelay('stall', stall)
    assertTtl(ttl)
    const bytes = payloadBytes(payload)
    const received = this.#requests.sendMany(
      (reply) =>
        this.#publisher.publish({ subject, payload: bytes, headers, reply, ttlMs: ttl }, { to, mode }),
      { strategy, maxWait, maxMessages, stall },
    )
    const open = (response: Received): SecureMessage => {
      this.#opened++
      return this.#toMessage(response)
    }
    return (async function* () {
      for await (const response of received) yield open(response)
    })()
  }

  /**
   * Publishes a message as it is: subject, payload, headers and reply subject of one that was received, or made by
   * hand. It is sealed anew, by this agent. All four are what the sender of a {@link SecureMessage} sealed, whatever a
   * broker wrote beside it.
   *
   * @throws what {@link publish} throws
   *
   * @example
   * ```ts
   * for await (const m of bus.subscribe('orders.>')) bus.publishMessage({ ...m, subject: `archive.${m.subject}` })
   * ```
   */
  publishMessage(message: MessageLike, options: { readonly to?: readonly string[] } = {}): void {
    const { subject, data, headers, reply } = message
    this.publish(subject, data, {
      ...options,
      ...(headers === undefined ? {} : { headers }),
      // The clients say with an empty one that there is none.
      ...(reply === undefined || reply === '' ? {} : { reply }),
    })
  }

  /**
   * Responds to a request with its own payload and headers.
   *
   * @returns `false` when the message is no request, as in NATS
   * @throws what {@link SecureMessage.respond} throws
   */
  respondMessage(message: SecureMessage): boolean {
    const { data, headers } = message
    return message.respond(data, headers === undefined ? {} : { headers })
  }

  /**
   * Resolves when at least so many other instances may read `subject` and have announced themselves: for starting up
   * together.
   *
   * @throws SubrosaError ERR_TIMEOUT; the hint says who is missing and why
   * @throws RangeError when the timeout is none
   *
   * @example
   * ```ts
   * await bus.waitForAudience('orders.new', { atLeast: 1, timeout: 5000 })
   * ```
   */
  async waitForAudience(subject: string, options: WaitForAudienceOptions = {}): Promise<void> {
    const { atLeast = 1, timeout = DEFAULT_AUDIENCE_TIMEOUT_MS } = options
    assertDelay('timeout', timeout)
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

  /** Every live instance of every agent that is known now, this one among them. */
  agents(): readonly Sender[] {
    const { clock } = this.#parts
    return this.#link.directory.live(clock.now()).map((announcement) => this.#senderOf(announcement))
  }

  /** Resolves when the server has handled everything sent before, and this instance is in its queue groups. */
  async flush(): Promise<void> {
    await this.#subscriptions.settled()
    this.#publisher.flush()
    await this.#nc.flush()
  }

  /**
   * What happens to this connection, from now on: plans, epochs, rejections with their reasons, staleness, revocations, and
   * the events of the NATS connection. A reader that falls behind loses the oldest events.
   */
  status(): AsyncIterableIterator<StatusEvent> {
    return this.#feed.read()
  }

  /** What has passed since the start: the client's own figures, and what was sealed, opened and rejected. */
  stats(): ConnectionStats {
    const { inBytes, outBytes, inMsgs, outMsgs } = this.#nc.stats()
    const rejected = Object.values(this.rejections()).reduce((sum, count) => sum + count, 0)
    return {
      inBytes,
      outBytes,
      inMsgs,
      outMsgs,
      sealed: this.#publisher.sealed,
      opened: this.#opened,
      rejected,
    }
  }

  /** Milliseconds to the server and back. */
  rtt(): Promise<number> {
    return this.#nc.rtt()
  }

  /** Host and port of the server that the connection is on. */
  getServer(): string {
    return this.#nc.getServer()
  }

  /** Gives up the present connection to the server and makes a new one. */
  reconnect(): Promise<void> {
    return this.#nc.reconnect()
  }

  /** How many arrivals were not delivered, by reason, since the start. */
  rejections(): Readonly<Partial<Record<RejectReason, number>>> {
    return this.#feed.rejections()
  }

  /** Whether the connection was closed, by {@link close}, {@link drain} or from below. */
  isClosed(): boolean {
    return this.#isClosed
  }

  /** Whether {@link drain} is under way, here or on the NATS connection. */
  isDraining(): boolean {
    return this.#isDraining || this.#nc.isDraining()
  }

  /** Resolves when this connection is closed: with the error, where one of the NATS connection ended it. */
  closed(): Promise<Error | undefined> {
    return this.#closed
  }

  /**
   * Retires this instance, delivers what is under way, wipes the keys, and drains the NATS connection. The keys are wiped
   * after ten seconds at the latest, whatever the server does; what could not be done before is an event of
   * {@link status}. Where something went to more than 32 recipients in the last two seconds, it waits until those have
   * passed: a worker of a queue group may have to ask for the handshake of a session. It resolves after ten seconds at the
   * latest, and never rejects. Where the server has said nothing for so long, the NATS connection is still open then, and
   * `nc.close()` ends it.
   */
  drain(): Promise<void> {
    this.#ending ??= this.#drain()
    return this.#ending
  }

  /**
   * Retires this instance, wipes the keys, and waits, as {@link drain} does. The NATS connection stays open: it is its
   * owner's. Whichever of the two is called first is done, and a later call of either waits for it.
   */
  close(): Promise<void> {
    this.#ending ??= this.#end(() => this.#nc.flush(), this.#closingDeadline())
    return this.#ending
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `SecureConnection { name: '${this.name}', instance: '${this.instance}', epoch: ${this.epoch} }`
  }

  /**
   * Says goodbye and has the server answer, as far as it plays along. In the end the keys are wiped; then whoever has a frame
   * and not its handshake may ask, for as long as it waits for one.
   */
  async #end(settle: () => Promise<unknown>, deadline: number): Promise<void> {
    if (this.#isClosed) return
    try {
      if (this.#nc.isClosed()) return
      this.#publisher.flush()
      attempt(() => this.#link.retire(), this.#onError)
      if (!(await this.#byThen(deadline, settle()))) throw closedUnanswered()
      this.#publisher.flush()
    } catch (error) {
      this.#onError(error)
    } finally {
      this.#finish()
    }
    await this.#byThen(deadline, this.#publisher.answered())
    this.#publisher.stopAnswering()
  }

  async #drain(): Promise<void> {
    if (this.#isClosed) return
    this.#isDraining = true
    const deadline = this.#closingDeadline()
    await this.#end(() => Promise.all([this.#subscriptions.drain(), this.#nc.flush()]), deadline)
    try {
      // Its owner may drain it already.
      await this.#byThen(deadline, this.#nc.isDraining() ? this.#nc.closed() : this.#nc.drain())
    } catch {
      // The connection was closed meanwhile: that is what it was drained for.
    }
  }

  #closingDeadline(): number {
    return this.#clock.monotonic() + MAX_CLOSING_MS
  }

  /** Waits for a task until then, by the monotonic clock. @returns whether it was done */
  async #byThen(deadline: number, task: Promise<unknown>): Promise<boolean> {
    let cancel = (): void => {}
    const over = new Promise<false>((resolve) => {
      cancel = this.#clock.after(deadline - this.#clock.monotonic(), () => resolve(false))
    })
    try {
      return await Promise.race([task.then(() => true), over])
    } finally {
      cancel()
    }
  }

  #finish(error?: Error): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#resolveClosed(error)
    const steps = [
      () => this.#subscriptions.finish(),
      () => this.#requests.close(),
      () => this.#publisher.close(),
      () => this.#streams.close(),
      () => this.#receiver.close(),
      () => this.#link.close(),
    ]
    for (const step of steps) attempt(step, this.#onError)
    this.#feed.close()
  }

  #toMessage(received: Received): SecureMessage {
    const { opened, sender, delivered } = received
    const { reply, headers, clearHeaders } = opened
    return new SecureMessage({
      subject: opened.subject,
      sid: delivered.sid,
      // Not the delivered one: a broker writes what it likes there.
      reply,
      data: opened.payload,
      headers:
        headers.length + clearHeaders.length === 0
          ? undefined
          : new MessageHeaders([...headers, ...clearHeaders]),
      sender: this.#senderOf(sender),
      claims: sender.claims,
      sentAtMs: opened.sentAtMs,
      epoch: opened.epoch,
      mode: opened.mode,
      respond:
        reply === undefined
          ? undefined
          : (payload, options) => this.#respond(received, payloadBytes(payload), options),
    })
  }

  /** One object for each sender: most messages come from few. */
  #senderOf(announcement: VerifiedAnnouncement): Sender {
    const known = this.#senders.get(announcement)
    if (known !== undefined) return known
    const sender = Object.freeze({
      name: announcement.claims.name,
      instance: hex(announcement.announcement.instance),
    })
    this.#senders.set(announcement, sender)
    return sender
  }

  #respond(
    { opened, sender, delivered }: Received,
    payload: Uint8Array,
    { headers, reply, ttl }: RespondOptions,
  ): void {
    this.#link.assertUsable()
    assertTtl(ttl)
    if (reply !== undefined && !isSubject(reply)) throw new TypeError('reply must be a subject')
    if (opened.reply === undefined) return
    const audience = this.#publisher.responseTo(opened, sender)
    const outgoing = {
      subject: opened.reply,
      // A server that maps reply subjects takes the response back. Plain clients say with an empty one that there is none.
      via: delivered.reply || opened.reply,
      payload,
      reply,
      inReplyTo: opened.id,
      headers,
      ttlMs: ttl,
    }
    this.#publisher.respond(outgoing, audience, opened.mode)
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
      // One event that throws must not keep the next reconnect from being seen.
      if (status.type === 'reconnect') attempt(() => this.#reconnected(), this.#onError)
      this.#feed.emit({ type: 'nats', status })
    }
  }

  #reconnected(): void {
    this.#link.reconnected()
    this.#streams.askAgain()
  }
}

function connectionClosed(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'this sealed connection is closed')
}

function closedUnanswered(): SubrosaError {
  return new SubrosaError('ERR_TIMEOUT', `the server did not answer within ${MAX_CLOSING_MS} ms of closing`, {
    hint: 'the keys are wiped all the same; others may learn late that this instance is gone',
  })
}
