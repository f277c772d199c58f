// Over 300 lines: one service in its two forms, alone and as a replica, best read side by side.

import { hex } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { type Logger, warningLog } from '../base/logger.ts'
import { RateLimit } from '../base/rate-limit.ts'
import type { NatsLike, NatsMessage } from '../bus/nats-like.ts'
import { StandingSubscription } from '../bus/standing-subscription.ts'
import { type CryptoEngine, type EngineName, engineFor } from '../crypto/engine.ts'
import type { Identity } from '../identity/identity.ts'
import { Trust, type TrustOptions } from '../identity/trust.ts'
import type { AcceptedEpoch } from '../keys/epochs.ts'
import type { VerifiedRevocation } from '../keys/revocations.ts'
import { type ProtocolSubjects, protocolSubjects } from '../keys/subjects.ts'
import { namesEpoch, verifyTick } from '../keys/ticks.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeQuery, decodeStatement, QueryKind } from '../wire/statements.ts'
import { RotationEventLog } from './event-log.ts'
import type { RotationLog } from './log.ts'
import { OrderDesk } from './order-desk.ts'
import { QueryDesk } from './queries.ts'
import { RealmRecord } from './realm-record.ts'
import { Replica } from './replica.ts'
import { memoryRotationStore, type RotationStore } from './store.ts'
import { Ticker } from './ticker.ts'
import { type RotationTimes, rotationTimes } from './times.ts'

/** Options of {@link startRotationService}. */
export interface RotationOptions extends Partial<RotationTimes> {
  /** The service's own identity; its token has the role `rotator`. */
  readonly identity: Identity
  readonly trust: TrustOptions
  /** Where it keeps what it has published. Default: in memory, for as long as the process lives. */
  readonly store?: RotationStore
  /** What replicas share: one of them leads. Without it exactly one service may run. */
  readonly sharedLog?: RotationLog
  /** Default: libsodium where it loads, or what the environment variable `SUBROSA_ENGINE` says. */
  readonly engine?: EngineName
  readonly subjectPrefix?: string
  readonly clock?: Clock
  /**
   * Where log lines go: a pino logger, or anything of its shape. Default: warnings of the process for what an operator
   * must not miss (refused statements, revocations, a lost lease or connection, errors), and nothing else.
   */
  readonly log?: Logger
  /** Called with what happens, besides the log. It holds no secrets. */
  readonly onEvent?: (event: RotationEvent) => void
}

/** What a rotation service reports. */
export type RotationEvent =
  | { readonly type: 'epoch'; readonly number: number; readonly notAfter: number }
  | { readonly type: 'announced'; readonly name: string; readonly instance: string; readonly epoch: number }
  | { readonly type: 'retired'; readonly name: string; readonly instance: string }
  | { readonly type: 'revoked'; readonly identity: string; readonly reason: string }
  /** Of several replicas this one leads now. */
  | { readonly type: 'leading' }
  /** This replica leads no more. */
  | { readonly type: 'following' }
  /**
   * The broker handed a message of this subject to a subscription that does not cover it, or its headers are longer than
   * any of the protocol. At most one a second.
   */
  | { readonly type: 'rejected'; readonly reason: 'misrouted' | 'headers'; readonly subject: string }
  | { readonly type: 'error'; readonly error: unknown }

/** Whether a rotation service speaks, or stands by. One without a log always leads. */
export type RotationRole = 'leader' | 'follower'

/**
 * Publishes signed epochs and ticks, takes in revocations, and answers questions about the directory. It never holds
 * an agent's private key, and what it may not do, agents refuse: SPEC, "Refusals". Made by
 * {@link startRotationService}.
 *
 * @example
 * ```ts
 * console.log('epoch', service.epoch)
 * service.close()
 * ```
 */
export class RotationService {
  readonly #rejections = new RateLimit(1)
  readonly #nc: NatsLike
  readonly #identity: Identity
  readonly #trust: Trust
  readonly #clock: Clock
  readonly #times: RotationTimes
  readonly #subjects: ProtocolSubjects
  readonly #eventLog: RotationEventLog
  readonly #onEvent: (event: RotationEvent) => void
  readonly #onFailure: (error: unknown) => void
  readonly #engine: CryptoEngine
  readonly #record: RealmRecord
  readonly #desk: QueryDesk
  readonly #orders: OrderDesk
  readonly #ticker: Ticker
  readonly #openReplica: (() => Promise<Replica>) | undefined
  #replica: Replica | undefined
  #subscriptions: readonly StandingSubscription[] = []
  #cancelRotation = (): void => {}
  #isRotating = false
  #isClosed = false

  /** Use {@link startRotationService}. */
  constructor(nc: NatsLike, options: RotationOptions) {
    const { identity, clock = systemClock, store = memoryRotationStore(), sharedLog } = options
    const { log = warningLog, onEvent = () => {} } = options
    this.#nc = nc
    this.#identity = identity
    this.#clock = clock
    this.#eventLog = new RotationEventLog(log, clock)
    this.#onEvent = onEvent
    this.#times = rotationTimes(options)
    this.#engine = engineFor(options.engine)
    this.#trust = new Trust(this.#engine, options.trust)
    checkRotator(this.#trust, identity, clock.now())
    this.#subjects = protocolSubjects(this.#trust.realm, options.subjectPrefix)
    const parts = { engine: this.#engine, trust: this.#trust, subjects: this.#subjects, identity, clock }
    const record = new RealmRecord({ ...parts, store, isShared: sharedLog !== undefined })
    const onError = (error: unknown): void => this.#tell({ type: 'error', error })
    // A replica that cannot write leaves it to another one.
    const onFailure = (error: unknown): void =>
      this.#replica === undefined ? onError(error) : void this.#replica.giveUp(error)
    this.#onFailure = onFailure
    this.#record = record
    this.#desk = new QueryDesk(nc, {
      ...parts,
      epochs: () => record.published,
      announcements: (from) => record.directory.proven(clock.now(), from),
      announcement: (hash) => record.directory.provenOne(hex(hash), clock.now()),
      revocations: () => record.revocations.inForce(clock.now()).map(({ bytes }) => bytes),
      onError,
    })
    this.#orders = new OrderDesk({ ...parts, record })
    this.#ticker = new Ticker(nc, {
      ...parts,
      record,
      subject: this.#subjects.tick,
      tickMs: this.#times.tickMs,
      mayTick: () => this.#mayTick(),
      onError: onFailure,
    })
    this.#openReplica =
      sharedLog &&
      (() =>
        Replica.open(nc, {
          ...parts,
          log: sharedLog,
          record,
          times: this.#times,
          isDue: () => this.#isDue(),
          onLeading: () => this.#lead(),
          onFollowing: () => this.#follow(),
          onEpoch: (epoch) => this.#begin(epoch),
          onRevoked: (revocation) => this.#reportRevoked(revocation),
          onAnnouncement: (bytes) => this.#takeAnnouncement(bytes),
          onLogged: () => this.#ticker.soon(),
          onError,
        }))
  }

  /** The newest epoch's number. */
  get epoch(): number {
    return this.#record.head?.number ?? 0
  }

  /** Whether this one publishes and answers. A replica that follows takes over when the one that leads is gone. */
  get role(): RotationRole {
    return this.#isLeading ? 'leader' : 'follower'
  }

  /** Subscribes, publishes the first or the next epoch where one is due and this service leads, and ticks. */
  async start(): Promise<void> {
    this.#listen()
    if (this.#openReplica === undefined) {
      // What fails here is for whoever starts it.
      if (this.#isDue()) await this.rotate()
      this.#lead()
    } else await this.#startReplica(this.#openReplica)
    void this.#watchConnection()
    await this.#nc.flush()
  }

  #listen(): void {
    const follow = (subject: string, take: (message: NatsMessage) => void): StandingSubscription =>
      new StandingSubscription(this.#nc, subject, {
        clock: this.#clock,
        onRefused: (error) => this.#tell({ type: 'error', error }),
        onRenewed: () => this.#replica?.comeInStep(),
        take: (message) => {
          if (!this.#isClosed) take(message)
        },
        onError: (error) => this.#reportRefused(subject, error),
        reject: (reason, { subject: at }) => {
          if (this.#rejections.take(this.#clock.monotonic()))
            this.#tell({ type: 'rejected', reason, subject: at })
        },
      })
    const { query, announcements, revoke, rotate, tick } = this.#subjects
    this.#subscriptions = [
      follow(announcements, ({ data, subject }) => this.#takeAnnouncement(data, subject)),
      follow(revoke, ({ data }) => this.#takeRevocation(data)),
      follow(query, (message) => this.#takeQuery(message)),
      follow(rotate, ({ data }) => this.#takeOrder(data)),
      ...(this.#isAlone ? [] : [follow(tick, ({ data }) => this.#takeTick(data))]),
    ]
  }

  async #startReplica(open: () => Promise<Replica>): Promise<void> {
    try {
      await this.#nc.flush()
      this.#replica = await open()
      await this.#replica.start()
    } catch (error) {
      this.#isClosed = true
      this.#unsubscribe()
      await this.#replica?.close()
      throw error
    }
    if (!this.#isLeading) this.#eventLog.standsBy()
  }

  /**
   * Publishes the next epoch now. Agents announce new keys, and move over when everyone they write to has.
   *
   * @returns the number of the new epoch
   * @throws SubrosaError ERR_CLOSED, ERR_STATE (also where another replica leads)
   */
  async rotate(): Promise<number> {
    if (this.#isClosed) throw new SubrosaError('ERR_CLOSED', 'the rotation service is closed')
    if (this.#isAlone) this.#rotateAlone()
    else await this.#replica?.rotate()
    return this.epoch
  }

  /**
   * Stops ticking and answering, gives the lease back where this replica has it, and releases the store. The NATS
   * connection stays open.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#ticker.stop()
    this.#desk.close()
    this.#cancelRotation()
    this.#unsubscribe()
    // One that runs alone is closed when this call returns.
    if (!this.#isAlone) await this.#replica?.close()
    this.#guard(() => this.#record.close())
    this.#eventLog.end()
  }

  #unsubscribe(): void {
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  /** Whether there are no other replicas. */
  get #isAlone(): boolean {
    return this.#openReplica === undefined
  }

  get #isLeading(): boolean {
    return !this.#isClosed && (this.#replica?.isLeading ?? this.#isAlone)
  }

  #guard(task: () => void): void {
    try {
      task()
    } catch (error) {
      this.#tell({ type: 'error', error })
    }
  }

  /** Logs an event, and hands it on. */
  #tell(event: RotationEvent): void {
    this.#eventLog.write(event)
    this.#handOn(event)
  }

  /** What arrived on a subject cannot be taken. */
  #reportRefused(subject: string, error: unknown): void {
    this.#eventLog.refused(subject, error)
    this.#handOn({ type: 'error', error })
  }

  /** A callback that throws disturbs nothing: what it was told of has happened. */
  #handOn(event: RotationEvent): void {
    try {
      this.#onEvent(event)
    } catch (error) {
      this.#eventLog.write({ type: 'error', error })
    }
  }

  /** Whether there is no epoch yet, or the newest one has only the lead left, or was signed with a former token. */
  #isDue(): boolean {
    const { head } = this.#record
    return head === undefined || this.#isEnding(head) || this.#isOfFormerToken(head)
  }

  #isEnding(head: AcceptedEpoch): boolean {
    return head.notAfter - this.#times.leadMs <= this.#clock.now()
  }

  /** Whoever joins verifies the newest epoch now: with the token that signed it, when that may have ended. */
  #isOfFormerToken({ bytes, byAuthority }: AcceptedEpoch): boolean {
    return !byAuthority && decodeStatement(WireType.epoch, bytes).token !== this.#identity.token
  }

  #lead(): void {
    const { head } = this.#record
    if (!this.#isAlone) this.#tell({ type: 'leading' })
    if (head === undefined) return
    // Whoever led before may have stored it and not published it.
    if (!this.#isAlone) this.#nc.publish(this.#subjects.epoch, head.bytes)
    this.#schedule(head)
    this.#ticker.now()
  }

  #follow(): void {
    this.#ticker.stop()
    this.#cancelRotation()
    if (!this.#isClosed) this.#tell({ type: 'following' })
  }

  /** Asked right before each tick. */
  #mayTick(): boolean {
    const { head } = this.#record
    if (!this.#isLeading || head === undefined) return false
    // Timers do not see a suspended machine, nor a wall clock that is set.
    if (this.#isEnding(head)) {
      this.#rotateSoon()
      if (this.#record.head !== head) return false
    }
    return this.#replica?.mayConfirm ?? this.#isAlone
  }

  #schedule(head: AcceptedEpoch): void {
    this.#cancelRotation()
    const delay = head.notAfter - this.#times.leadMs - this.#clock.now()
    this.#cancelRotation = this.#clock.after(delay, () => this.#rotateSoon())
  }

  /** One that fails is tried again with the next tick. */
  #rotateSoon(): void {
    if (this.#isRotating || this.#isClosed) return
    this.#isRotating = true
    this.rotate()
      .catch(this.#onFailure)
      .finally(() => {
        this.#isRotating = false
      })
  }

  #rotateAlone(): void {
    const nowMs = this.#clock.now()
    const bytes = this.#record.nextEpoch(this.#times, nowMs)
    this.#begin(this.#record.accept(bytes, [], nowMs))
  }

  /** An epoch is stored: now it may be seen. */
  #begin(epoch: AcceptedEpoch): void {
    this.#record.directory.invalidate(this.#clock.now())
    this.#orders.noteEpoch()
    if (this.#isLeading) this.#nc.publish(this.#subjects.epoch, epoch.bytes)
    this.#tell({ type: 'epoch', number: epoch.number, notAfter: epoch.notAfter })
    this.#record.forget()
    if (!this.#isLeading) return
    this.#schedule(epoch)
    this.#ticker.now()
  }

  #takeAnnouncement(bytes: Uint8Array, subject?: string): void {
    const parsed = this.#record.addAnnouncement(bytes, subject)
    if (parsed === undefined) return
    const { agent: name, epoch, keys } = parsed.announcement
    const instance = hex(parsed.announcement.instance)
    this.#tell(
      keys.length === 0 ? { type: 'retired', name, instance } : { type: 'announced', name, instance, epoch },
    )
  }

  #takeRevocation(bytes: Uint8Array): void {
    const [added] = this.#record.addRevocations([bytes])
    if (added === undefined) return
    this.#reportRevoked(added)
    // At once: agents that missed it see from the tick that they did.
    if (this.#isAlone) this.#ticker.soon()
    else this.#replica?.logRevocations()
  }

  #reportRevoked({ revocation: { identity, reason } }: VerifiedRevocation): void {
    this.#tell({ type: 'revoked', identity, reason })
  }

  #takeQuery({ data, reply }: NatsMessage): void {
    if (!this.#isLeading) return
    const query = decodeQuery(data)
    this.#desk.take(reply, (asker) => {
      if (!this.#isLeading) return
      if (query.kind === QueryKind.tick) this.#ticker.answer(query.nonce)
      this.#desk.answer(query, asker)
    })
  }

  #takeOrder(bytes: Uint8Array): void {
    if (this.#isLeading && this.#orders.takes(bytes)) this.#rotateSoon()
  }

  /** Of whichever replica leads, this one too. */
  #takeTick(bytes: Uint8Array): void {
    const { head, revocations } = this.#record
    const tick = verifyTick(
      { engine: this.#engine, trust: this.#trust, revocations },
      bytes,
      this.#clock.now(),
    )
    this.#record.heardTick(tick.now)
    const isInStep = head !== undefined && namesEpoch(tick, head) && revocations.holds(tick)
    if (isInStep) return
    this.#replica?.poke()
    if (head === undefined || tick.number !== head.number || namesEpoch(tick, head)) return
    throw new SubrosaError(
      'ERR_ROLLBACK',
      `another rotation service runs here, with another epoch ${head.number}`,
      {
        hint: 'all replicas share one log, and none runs without it: stop the one that does not',
      },
    )
  }

  async #watchConnection(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (this.#isClosed) return
      this.#eventLog.connection(status)
      if (status.type === 'reconnect') this.#replica?.comeInStep()
    }
  }
}

/**
 * Starts a rotation service on a NATS connection. Exactly one may run on a realm, or several that share a log.
 *
 * @throws SubrosaError ERR_TOKEN_INVALID without the role `rotator`, ERR_TOKEN_EXPIRED, ERR_UNKNOWN_AUTHORITY,
 *   ERR_STATE, ERR_ROLLBACK, ERR_EPOCH_INVALID, ERR_SETUP, ERR_TIMEOUT
 * @throws RangeError when a time is out of its bounds
 *
 * @example
 * ```ts
 * const service = await startRotationService(nc, {
 *   identity: await loadIdentity('file:rotator.identity'),
 *   trust: { authority: ['A…'] },
 *   store: fileRotationStore('/var/lib/subrosa'),
 * })
 * ```
 *
 * @example
 * ```ts
 * // One of several: each has a store of its own.
 * const replica = await startRotationService(nc, { identity, trust, store, sharedLog: jetStreamRotationLog(nc) })
 * console.log(replica.role)
 * ```
 */
export async function startRotationService(nc: NatsLike, options: RotationOptions): Promise<RotationService> {
  const service = new RotationService(nc, options)
  await service.start()
  return service
}

function checkRotator(trust: Trust, identity: Identity, nowMs: number): void {
  if (trust.verify(identity.token, nowMs).roles.includes('rotator')) return
  throw new SubrosaError('ERR_TOKEN_INVALID', `the identity token of ${identity.name} has no role rotator`, {
    hint: 'make one with: subrosa agent add NAME --role rotator',
  })
}
