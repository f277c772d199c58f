// Over 300 lines: one service with all that it is made of, and every door through which something comes to it.

import { hex } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { HouseClock } from '../base/house-clock.ts'
import { DEFAULT_TICK_MS, MAX_DIRECTORY_CACHE_BYTES, MAX_ORDERS_PER_SECOND } from '../base/limits.ts'
import { type Logger, warningLog } from '../base/logger.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { SteadyTime } from '../base/steady-time.ts'
import { assertDelay, Timers } from '../base/timers.ts'
import type { NatsLike, NatsMessage } from '../bus/nats-like.ts'
import { DirectorySync } from '../bus/realm/directory-sync.ts'
import { HashLookups } from '../bus/realm/hash-lookups.ts'
import { PageFetches } from '../bus/realm/page-fetches.ts'
import { attempt, publishSafely } from '../bus/safely.ts'
import { StandingSubscription } from '../bus/standing-subscription.ts'
import { type CryptoEngine, type EngineName, engineFor } from '../crypto/engine.ts'
import type { Identity } from '../identity/identity.ts'
import { Trust, type TrustOptions } from '../identity/trust.ts'
import type { VerifiedAnnouncement } from '../keys/announcements.ts'
import { Directory } from '../keys/directory.ts'
import { type Epoch, Epochs } from '../keys/epochs.ts'
import { signNotice } from '../keys/notices.ts'
import { OrdersFollowed, peekOrder, verifyOrder } from '../keys/orders.ts'
import { type HeldPlan, isExpired } from '../keys/plan.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import type { VerifiedRevocation } from '../keys/revocations.ts'
import type { EpochTimes } from '../keys/schedules.ts'
import { type Asker, askerOf, type ProtocolSubjects, protocolSubjects, rid } from '../keys/subjects.ts'
import { HASH_BYTES } from '../wire/fields.ts'
import { WireType, wireType } from '../wire/preamble.ts'
import { decodeQuery, encodeQuery, type Query, QueryKind, readPlanCursor } from '../wire/queries.ts'
import { PROCESS_BYTES } from '../wire/ticks.ts'
import { Answers, type TickBody } from './answers.ts'
import type { RotationEvent } from './events.ts'
import { Listing } from './listing.ts'
import { Peers } from './peers.ts'
import { pinnedPlan } from './pinned-plans.ts'
import { ANYBODY, PlanDesk } from './plan-desk.ts'
import { PlanWatch } from './plan-watch.ts'
import { QueryDesk } from './queries.ts'
import { ServiceRecord } from './record.ts'
import { Reports } from './reports.ts'
import type { RotationStore } from './store.ts'

/** Options of {@link startRotationService}. */
export interface RotationOptions {
  /** The service's own identity: its key is one of those that the plan names. */
  readonly identity: Identity
  readonly trust: TrustOptions
  /** Where it keeps what it must not lose. It is begun by hand, once: `subrosa rotator begin`. */
  readonly store: RotationStore
  /**
   * The newest plan that the operator knows, with its list. A service whose record has no plan yet takes none from the broker.
   * Under pins the service signs its own: then it is what another record of it held last.
   */
  readonly plan?: KeptPlan
  /** Default: libsodium where it loads, or what the environment variable `SUBROSA_ENGINE` says. */
  readonly engine?: EngineName
  readonly subjectPrefix?: string
  readonly clock?: Clock
  /**
   * Where log lines go: a pino logger, or anything of its shape. Default: warnings of the process for what an operator
   * must not miss (refused statements, revocations, another standing, a lost connection, errors), and nothing else.
   */
  readonly log?: Logger
  /** Called with what happens, besides the log. It holds no secrets. */
  readonly onEvent?: (event: RotationEvent) => void
  /** Under pins, how epochs follow each other. Default: one every 55 minutes, with a lead and a grace of 5. */
  readonly schedule?: Partial<EpochTimes>
  /** Between two ticks to everybody, for each service that the plan names, in ms. Default 15,000. */
  readonly tickMs?: number
}

const LOOK_MS = 1000
const HOUR_MS = 3_600_000
/** How long a service that has started may take more of a core to verify announcements: those of its cache, and of its peers. */
const CATCH_UP_MS = 30_000
const NO_ROOT = new Uint8Array(HASH_BYTES)

/**
 * Answers for freshness, takes in revocations and never loses one, and answers questions about the directory. It never holds an
 * agent's private key, and several of them agree on nothing: agents count them. SPEC, "Rotation services". Made by
 * {@link startRotationService}.
 *
 * @example
 * ```ts
 * console.log('plan', service.planVersion, 'epoch', service.epoch, service.standing === 1 ? 'counts' : 'hands over')
 * await service.close()
 * ```
 */
export class RotationService {
  readonly #nc: NatsLike
  readonly #options: RotationOptions
  readonly #identity: Identity
  readonly #engine: CryptoEngine
  readonly #trust: Trust
  readonly #clock: HouseClock
  readonly #subjects: ProtocolSubjects
  readonly #process: Uint8Array
  readonly #reports: Reports
  readonly #timers: Timers
  readonly #record: ServiceRecord
  readonly #steady: SteadyTime
  readonly #epochs: Epochs
  readonly #directory: Directory
  readonly #listing: Listing
  readonly #fetches: PageFetches
  readonly #sync: DirectorySync
  readonly #plans: PlanDesk
  readonly #peers: Peers
  readonly #answers: Answers
  readonly #desk: QueryDesk
  readonly #watch: PlanWatch
  readonly #orders = new OrdersFollowed()
  readonly #verifiedOrders = new RateLimit(MAX_ORDERS_PER_SECOND)
  #subscriptions: readonly StandingSubscription[] = []
  #forgotAt = 0
  #cachedBytes = 0
  #isClosed = false

  /** Use {@link startRotationService}. */
  constructor(nc: NatsLike, options: RotationOptions) {
    const { identity, clock = systemClock, log = warningLog, onEvent = () => {}, store } = options
    const onError = (error: unknown): void => this.#reports.error(error)
    this.#nc = nc
    this.#options = options
    this.#identity = identity
    this.#engine = engineFor(options.engine)
    this.#trust = new Trust(this.#engine, options.trust)
    this.#clock = new HouseClock(clock, onError)
    this.#subjects = protocolSubjects(this.#trust.realm, options.subjectPrefix)
    this.#process = this.#engine.randomBytes(PROCESS_BYTES)
    this.#reports = new Reports({ log, clock: this.#clock, onEvent })
    this.#timers = new Timers(this.#clock, onError)
    const parts = {
      engine: this.#engine,
      trust: this.#trust,
      clock: this.#clock,
      timers: this.#timers,
      onError,
    }
    this.#record = new ServiceRecord({ ...parts, store, onRevoked: (one) => this.#revoked(one) })
    const { revocations } = this.#record
    this.#steady = new SteadyTime(this.#clock)
    const latest = (): number => this.#steady.lowest()
    this.#epochs = new Epochs({ engine: this.#engine, latest })
    this.#directory = new Directory({
      ...parts,
      epochs: this.#epochs,
      revocations,
      latest,
      passesOn: true,
      onClone: () => {},
      onLeftOut: () => {},
      onVerified: (verified, bytes) => this.#verified(verified, bytes),
    })
    this.#listing = new Listing({ clock: this.#clock, directory: this.#directory })
    this.#fetches = new PageFetches({ ...parts, ask: (rotator, query) => this.#ask(rotator, query) })
    this.#sync = new DirectorySync({
      ...parts,
      fetches: this.#fetches,
      lookups: new HashLookups({
        fetches: this.#fetches,
        rotators: () => [],
        isHeld: () => false,
        onStatement: () => {},
      }),
      handOver: { restarted: () => {}, check: () => {} },
      directory: this.#directory,
      rotators: () => this.#record.plan?.rotators ?? [],
      own: () => [],
      onChanged: () => {},
    })
    this.#plans = new PlanDesk({
      ...parts,
      record: this.#record,
      fetches: this.#fetches,
      ofOperator: options.plan,
      publish: (plan) => this.#publish(this.#subjects.plan, plan),
      onPlan: (plan) => this.#takeUp(plan),
    })
    this.#peers = new Peers({
      ...parts,
      own: identity.publicKey,
      process: this.#process,
      record: this.#record,
      plans: this.#plans,
      fetches: this.#fetches,
      ping: (nonce) => this.#ping(nonce),
      directory: this.#sync,
      directoryRoot: () => this.#listing.root(),
      onComplete: () => this.#spoken(),
      onDiffers: (rotator, what) => this.#reports.tell({ type: 'peerDiffers', rotator, what }),
    })
    this.#answers = new Answers(nc, {
      ...parts,
      identity,
      subject: this.#subjects.tick,
      tick: () => this.#tick(),
    })
    this.#desk = new QueryDesk(nc, {
      ...parts,
      isServing: () => this.standing === 1,
      announcements: (from) =>
        this.#directory.proven(this.#clock.now(), from, (...of) => this.#listing.isSilent(...of)),
      byHash: (hashes) => this.#directory.bytesOf(hashes),
      revocations: () => revocations.inForce(this.#clock.now()).map(({ bytes }) => bytes),
      plan: (version) => this.#record.planOf(version),
      buckets: () => this.#listing.buckets(),
      take: (statement, asker) => this.#takeHandedOver(statement, asker),
    })
    this.#watch = new PlanWatch({
      clock: this.#clock,
      epochs: this.#epochs,
      plan: () => this.#record.plan,
      standing: () => this.standing,
      reports: this.#reports,
      onEpoch: (epoch) => this.#begin(epoch),
    })
  }

  /**
   * Whether this service counts (1), or hands over what it holds and counts for nobody (0): it is not complete under its
   * plan yet, the plan has ended or does not name it, or an authority has revoked it.
   */
  get standing(): 0 | 1 {
    const { plan, revocations } = this.#record
    const { publicKey } = this.#identity
    if (plan?.rotators.includes(publicKey) !== true || isExpired(plan, this.#clock.now())) return 0
    return this.#peers.isComplete && !revocations.revokedByAuthority(publicKey) ? 1 : 0
  }

  /** The version of the plan by which it goes. */
  get planVersion(): number {
    return this.#record.plan?.version ?? 0
  }

  /** The number of the epoch that has begun last; 0 where there is none. */
  get epoch(): number {
    return this.#epochs.at(this.#clock.now())?.number ?? 0
  }

  /** Subscribes, takes up its plan, and answers from then on. */
  async start(): Promise<void> {
    try {
      this.#listen()
      this.#beginPlan()
      const now = this.#clock.now()
      for (const bytes of this.#options.store.loadAnnouncements()) this.#directory.add(bytes, now)
      this.#look()
      this.#broadcast()
      this.#timers.after(CATCH_UP_MS, () => this.#directory.joined())
      void this.#watchConnection()
      await this.#nc.flush()
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Answers nothing any more, and releases the store. The NATS connection stays open. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#timers.close()
    this.#answers.close()
    this.#desk.close()
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    attempt(
      () => this.#options.store.close(),
      (error) => this.#reports.error(error),
    )
    this.#reports.eventLog.end()
  }

  #listen(): void {
    const follow = (subject: string, take: (message: NatsMessage) => void): StandingSubscription =>
      new StandingSubscription(this.#nc, subject, {
        clock: this.#clock,
        onRefused: (error) => this.#reports.error(error),
        onRenewed: () => this.#peers.askSoon(),
        take: (message) => {
          if (!this.#isClosed) take(message)
        },
        onError: (error) => this.#reports.refused(subject, error),
        reject: (reason, { subject: at }) => this.#reports.rejected(reason, at),
      })
    const { announcements, revoke, plan, rotate, tick, pings } = this.#subjects
    const { queriesTo, inbox } = this.#subjects
    this.#subscriptions = [
      follow(announcements, ({ data, subject }) => this.#directory.add(data, this.#clock.now(), { subject })),
      follow(revoke, ({ data }) => this.#takeRevocation(data)),
      follow(plan, ({ data }) => this.#plans.heard(data)),
      follow(rotate, ({ data }) => this.#takeOrder(data)),
      follow(tick, ({ data }) => this.#peers.heard(data)),
      follow(pings, (message) => this.#takePing(message)),
      follow(queriesTo(rid(this.#engine, this.#identity.publicKey)), (message) => this.#takeQuery(message)),
      follow(queriesTo(ANYBODY), (message) => this.#takeQueryToAnybody(message)),
      follow(inbox(this.#process), ({ data }) => this.#takeAnswer(data)),
    ]
  }

  /** @throws SubrosaError where there is no plan, or it does not name this service */
  #beginPlan(): void {
    const isKept = this.#record.plan !== undefined
    this.#plans.begin()
    this.#renewPinned()
    const { plan } = this.#record
    if (plan === undefined) throw noPlan()
    if (!isNamed(plan, this.#identity.publicKey)) throw notNamed(plan, this.#identity.name)
    if (isKept && plan === this.#record.plan) this.#follow(plan)
  }

  /** A newer plan is acted on. */
  #takeUp(plan: HeldPlan): void {
    this.#reports.tell({ type: 'plan', version: plan.version, until: plan.until })
    this.#follow(plan)
    if (!isNamed(plan, this.#identity.publicKey)) this.#reports.error(notNamed(plan, this.#identity.name))
    this.#spoken()
  }

  #follow(plan: HeldPlan): void {
    this.#epochs.adopt(plan)
    this.#epochs.hold(this.#clock.now())
    this.#directory.adopt(plan)
    this.#directory.invalidate()
    this.#sync.adopt()
    this.#sync.joined()
    this.#peers.adopt(plan)
  }

  /** Something that this service says of itself has changed. */
  #spoken(): void {
    this.#watch.look()
    this.#answers.broadcast()
  }

  /** What time changes. */
  #look(): void {
    // First, so that it goes on whatever happens below.
    this.#timers.after(LOOK_MS, () => this.#look())
    const nowMs = this.#clock.now()
    const steps = [
      () => this.#steady.look(),
      () => this.#renewPinned(),
      () => this.#plans.look(),
      () => this.#peers.look(),
      () => this.#prune(nowMs),
      () => this.#watch.look(),
    ]
    for (const step of steps) attempt(step, (error) => this.#reports.error(error))
  }

  #prune(nowMs: number): void {
    if (this.#epochs.hold(nowMs)) {
      this.#directory.prune()
      this.#orders.keepOnly(this.#epochs.all())
      const kept = [...this.#directory.kept()]
      this.#cachedBytes = kept.reduce((sum, { length }) => sum + length, 0)
      this.#options.store.setAnnouncements(kept)
    }
    const steadyMs = this.#steady.ofWholeDay()
    const elapsedMs = this.#clock.early()
    if (steadyMs === undefined || elapsedMs - this.#forgotAt < HOUR_MS || !this.#peers.isTimeAgreed) return
    this.#forgotAt = elapsedMs
    this.#record.forget(steadyMs)
  }

  #broadcast(): void {
    const { tickMs = DEFAULT_TICK_MS } = this.#options
    const services = this.#record.plan?.rotators.length ?? 1
    this.#timers.after(services * tickMs, () => this.#broadcast())
    this.#answers.broadcast()
  }

  #tick(): TickBody | undefined {
    const { plan, revocations } = this.#record
    if (plan === undefined || this.#isClosed || this.#peers.isSilent) return undefined
    const now = this.#clock.now()
    return {
      realm: plan.realm,
      planVersion: plan.version,
      rotator: this.#identity.publicKey,
      standing: this.standing,
      process: this.#process,
      now,
      revocationsHash: revocations.hash(now),
      directoryRoot: this.#listing.root(),
      storageRoot: NO_ROOT,
    }
  }

  #begin(epoch: Epoch): void {
    this.#publish(this.#subjects.epoch, signNotice(this.#identity, epoch, this.planVersion))
  }

  #verified(
    { announcement: { instance, epoch }, claims: { name }, recipient }: VerifiedAnnouncement,
    bytes: Uint8Array,
  ): void {
    const one = { name, instance: hex(instance) }
    if (recipient === undefined) this.#reports.tell({ type: 'retired', ...one })
    else this.#reports.tell({ type: 'announced', ...one, epoch })
    if (this.#cachedBytes + bytes.length > MAX_DIRECTORY_CACHE_BYTES) return
    this.#cachedBytes += bytes.length
    this.#options.store.addAnnouncement(bytes)
  }

  /** It is on the disk. Whoever missed it sees from the next tick that it did. */
  #revoked({ revocation: { identity, reason } }: VerifiedRevocation): void {
    this.#reports.tell({ type: 'revoked', identity, reason })
    this.#timers.after(0, () => {
      this.#directory.invalidate()
      this.#peers.changed()
      this.#spoken()
    })
  }

  #takeRevocation(bytes: Uint8Array): void {
    this.#record.revocations.add(bytes, this.#clock.now())
  }

  #takeHandedOver(statement: Uint8Array, { name, instance }: Asker): void {
    switch (wireType(statement)) {
      case WireType.announcement:
        // Its own alone: others would pay for it.
        this.#directory.add(statement, this.#clock.now(), {
          subject: `${this.#subjects.root}.announce.${name}.${instance}`,
        })
        return
      case WireType.revocation:
        return this.#takeRevocation(statement)
      case WireType.plan:
        return this.#plans.heard(statement)
    }
  }

  /** Agents follow orders by themselves: here one is written down. */
  #takeOrder(bytes: Uint8Array): void {
    const { plan, revocations } = this.#record
    const order = peekOrder(bytes)
    const isCurrent = this.#epochs.byHash(order.epochHash) !== undefined
    if (plan === undefined || !isCurrent || !this.#orders.mayFollow(order, this.#clock.now())) return
    if (!this.#verifiedOrders.take(this.#clock.monotonic())) return
    const around = { engine: this.#engine, trust: this.#trust, plan, revocations }
    if (verifyOrder(around, bytes) === undefined) return
    this.#orders.note(order)
    this.#reports.tell({ type: 'ordered', epoch: order.number })
  }

  #takePing(message: NatsMessage): void {
    const asker = this.#askerOf(message)
    if (asker === undefined) return
    const { kind, nonce } = decodeQuery(message.data)
    if (kind !== QueryKind.tick) return
    this.#listing.heard(asker)
    this.#answers.answer(nonce, asker)
  }

  #takeQuery(message: NatsMessage): void {
    const asker = this.#askerOf(message)
    if (asker !== undefined) this.#desk.take(decodeQuery(message.data), asker)
  }

  /** Whoever has no plan does not know whom to ask for it: whoever has it answers. */
  #takeQueryToAnybody(message: NatsMessage): void {
    const asker = this.#askerOf(message)
    if (asker === undefined) return
    const query = decodeQuery(message.data)
    if (query.kind !== QueryKind.plan) return
    const isHere = this.#record.planOf(readPlanCursor(query.cursor).version) !== undefined
    if (isHere) this.#desk.take(query, asker)
  }

  /** Who asks, where it is somebody else, and is answered in its own inbox. */
  #askerOf({ subject, reply }: NatsMessage): Asker | undefined {
    const asker = askerOf(this.#subjects, subject)
    if (asker === undefined || asker.inbox !== reply || asker.instance === hex(this.#process))
      return undefined
    return this.#listing.isOfAnother(asker) ? undefined : asker
  }

  #takeAnswer(bytes: Uint8Array): void {
    const type = wireType(bytes)
    if (type === WireType.tick) this.#peers.answered(bytes)
    else if (type === WireType.page) this.#fetches.take(bytes)
  }

  #ping(nonce: Uint8Array): void {
    const bytes = encodeQuery({ nonce, kind: QueryKind.tick, cursor: undefined })
    this.#publish(this.#subjects.ping(this.#identity.name, this.#process), bytes, this.#inbox)
  }

  #ask(rotator: string, query: Query): void {
    const to = rotator === ANYBODY ? ANYBODY : rid(this.#engine, rotator)
    const subject = this.#subjects.query(to, this.#identity.name, this.#process)
    this.#publish(subject, encodeQuery(query), this.#inbox)
  }

  get #inbox(): string {
    return this.#subjects.inbox(this.#process)
  }

  #publish(subject: string, bytes: Uint8Array, reply?: string): void {
    if (this.#isClosed || this.#nc.isClosed()) return
    const onError = (error: unknown): void => this.#reports.error(error)
    publishSafely(this.#nc, subject, { bytes, onError, ...(reply !== undefined && { reply }) })
  }

  #renewPinned(): void {
    if (!this.#trust.isByPins) return
    const { schedule: times = {} } = this.#options
    const kept = pinnedPlan({
      engine: this.#engine,
      identity: this.#identity,
      clock: this.#clock,
      record: this.#record,
      times,
      highestHeard: () => this.#plans.highestHeard,
    })
    if (kept !== undefined) this.#plans.take(kept)
  }

  async #watchConnection(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (this.#isClosed) return
      this.#reports.eventLog.connection(status)
      if (status.type !== 'reconnect') continue
      for (const subscription of this.#subscriptions) subscription.renew()
      this.#peers.askSoon()
      this.#answers.broadcast()
    }
  }
}

/**
 * Starts a rotation service on a NATS connection. Each one that a plan names has an identity and a record of its own.
 *
 * @throws SubrosaError ERR_STATE without a record, ERR_PLAN_INVALID and ERR_PLAN_CONFLICT where the plan is none, or does not
 *   name this service
 * @throws RangeError when a time is out of its bounds
 *
 * @example
 * ```ts
 * const service = await startRotationService(nc, {
 *   identity: await loadIdentity('file:rotator.identity'),
 *   trust: { authority: ['A…'] },
 *   plan,
 *   store: fileRotationStore('/var/lib/subrosa'),
 * })
 * ```
 */
export async function startRotationService(nc: NatsLike, options: RotationOptions): Promise<RotationService> {
  const { tickMs = DEFAULT_TICK_MS } = options
  assertDelay('tickMs', tickMs)
  try {
    const service = new RotationService(nc, options)
    await service.start()
    return service
  } catch (error) {
    options.store.close()
    throw error
  }
}

/** Whether a plan asks something of a service: to answer under it, or to hand over what it held under the one before. */
function isNamed({ rotators, former }: HeldPlan, key: string): boolean {
  return rotators.includes(key) || former?.rotators.includes(key) === true
}

function noPlan(): SubrosaError {
  return new SubrosaError('ERR_STATE', 'the record of this rotation service has no plan', {
    hint: "start it with the realm's newest plan, from its operator: subrosa rotator --realm DIR",
  })
}

function notNamed({ version }: HeldPlan, name: string): SubrosaError {
  return new SubrosaError('ERR_PLAN_INVALID', `plan ${version} does not name the rotation service ${name}`, {
    hint: 'give the realm a plan that does: subrosa plan replace-rotator; or stop this service, which nobody counts',
  })
}
