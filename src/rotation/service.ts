// Over 300 lines: one service with all that it is made of, best seen in one place.

import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { HouseClock } from '../base/house-clock.ts'
import { DEFAULT_TICK_MS } from '../base/limits.ts'
import { type Logger, warningLog } from '../base/logger.ts'
import { SteadyTime } from '../base/steady-time.ts'
import { assertDelay, Timers } from '../base/timers.ts'
import type { NatsLike } from '../bus/nats-like.ts'
import { PageFetches } from '../bus/realm/page-fetches.ts'
import { attempt, publishSafely } from '../bus/safely.ts'
import { type EngineName, engineFor } from '../crypto/engine.ts'
import type { Identity } from '../identity/identity.ts'
import { Trust, type TrustOptions } from '../identity/trust.ts'
import { Epochs } from '../keys/epochs.ts'
import { signNotice } from '../keys/notices.ts'
import { type HeldPlan, isExpired } from '../keys/plan.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import type { VerifiedRevocation } from '../keys/revocations.ts'
import type { EpochTimes } from '../keys/schedules.ts'
import { ANY_SERVICE, protocolSubjects, rid } from '../keys/subjects.ts'
import { HASH_BYTES } from '../wire/fields.ts'
import { encodeQuery, type Query, QueryKind } from '../wire/queries.ts'
import { PROCESS_BYTES } from '../wire/ticks.ts'
import { Answers, type TickBody } from './answers.ts'
import { Doors } from './doors.ts'
import { RotationEventLog } from './event-log.ts'
import type { RotationEvent } from './events.ts'
import type { Parts } from './parts.ts'
import { Peers } from './peers.ts'
import { pinnedPlan } from './pinned-plans.ts'
import { PlanDesk } from './plan-desk.ts'
import { PlanWatch } from './plan-watch.ts'
import { QueryDesk } from './queries.ts'
import { ServiceRecord } from './record.ts'
import { ServiceDirectory } from './service-directory.ts'
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
   * Under pins the service signs its own: then it is the last one that it had signed, where its record is lost.
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
  readonly #timers: Timers
  readonly #parts: Parts
  readonly #steady: SteadyTime
  readonly #directory: ServiceDirectory
  readonly #plans: PlanDesk
  readonly #peers: Peers
  readonly #answers: Answers
  readonly #desk: QueryDesk
  readonly #watch: PlanWatch
  readonly #doors: Doors
  #forgotAt = 0
  #isChanged = false
  #isClosed = false

  /** Use {@link startRotationService}. */
  constructor(nc: NatsLike, options: RotationOptions) {
    const { identity, store, clock: machine = systemClock, log = warningLog, onEvent = () => {} } = options
    const onError = (error: unknown): void => events.error(error)
    const engine = engineFor(options.engine)
    const trust = new Trust(engine, options.trust)
    const clock = new HouseClock(machine, onError)
    const events = new RotationEventLog({ log, clock, onEvent })
    const subjects = protocolSubjects(engine, trust.realm, options.subjectPrefix)
    const timers = new Timers(clock, onError)
    const process = engine.randomBytes(PROCESS_BYTES)
    // What the record holds may be news to it already.
    this.#timers = timers
    const steady = new SteadyTime(clock)
    const latest = (): number => steady.lowest()
    const onRevoked = ({ revocation: { identity, reason } }: VerifiedRevocation): void => {
      events.tell({ type: 'revoked', identity, reason })
      this.#changed()
    }
    const parts: Parts = {
      engine,
      trust,
      clock,
      timers,
      subjects,
      own: identity.publicKey,
      process,
      inbox: subjects.inbox(identity.name, process),
      record: new ServiceRecord({ engine, trust, clock, store, onRevoked }),
      epochs: new Epochs({ engine, latest }),
      fetches: new PageFetches({ engine, clock, timers, ask: (...of) => this.#ask(...of) }),
      events,
      onError,
    }
    const { record } = parts
    const directory = new ServiceDirectory({
      ...parts,
      latest,
      store,
      askForTick: () => this.#peers.askSoon(),
    })
    this.#nc = nc
    this.#options = options
    this.#parts = parts
    this.#steady = steady
    this.#directory = directory
    this.#plans = new PlanDesk({
      ...parts,
      ofOperator: options.plan,
      publish: (plan) => this.#publish(subjects.plan, plan),
      onPlan: (plan) => this.#takeUp(plan),
      onError: (error) => events.refused(subjects.plan, error),
    })
    this.#peers = new Peers({
      ...parts,
      plans: this.#plans,
      ping: (nonce) => this.#publish(subjects.ping(identity.name, process), pingOf(nonce)),
      directory: directory.sync,
      directoryRoot: () => directory.listing.root(),
      onComplete: () => this.#changed(),
      onDiffers: (rotator, what) => events.tell({ type: 'peerDiffers', rotator, what }),
    })
    const tick = (): TickBody | undefined => this.#tick()
    this.#answers = new Answers(nc, { ...parts, identity, subject: subjects.tick, tick })
    this.#desk = new QueryDesk(nc, {
      ...parts,
      isServing: () => this.standing === 1,
      announcements: (from) => directory.from(from),
      byHash: (hashes) => directory.bytesOf(hashes),
      revocations: () => record.revocations.inForce(clock.now()).map(({ bytes }) => bytes),
      plan: (version) => record.planOf(version),
      buckets: () => directory.listing.buckets(),
      take: (statement, asker) => this.#doors.takeHandedOver(statement, asker),
      onError: (error) => events.refused(subjects.queriesTo('*'), error),
    })
    this.#watch = new PlanWatch({
      ...parts,
      standing: () => this.standing,
      onEpoch: (epoch) => this.#publish(subjects.epoch, signNotice(identity, epoch, this.planVersion)),
    })
    this.#doors = new Doors(nc, {
      ...parts,
      directory,
      plans: this.#plans,
      peers: this.#peers,
      answers: this.#answers,
      desk: this.#desk,
    })
  }

  /**
   * Whether this service counts (1), or hands over what it holds and counts for nobody (0): it is not complete under its
   * plan yet, the plan has ended or does not name it, or an authority has revoked it.
   */
  get standing(): 0 | 1 {
    const { clock, own, record } = this.#parts
    const { plan, revocations } = record
    if (plan?.rotators.includes(own) !== true || isExpired(plan, clock.now())) return 0
    return this.#peers.isComplete && !revocations.revokedByAuthority(own) ? 1 : 0
  }

  /** The version of the plan by which it goes. */
  get planVersion(): number {
    return this.#parts.record.plan?.version ?? 0
  }

  /** The number of the epoch that has begun last; 0 where there is none. */
  get epoch(): number {
    const { epochs, clock } = this.#parts
    return epochs.at(clock.now())?.number ?? 0
  }

  /** Takes up its plan, and answers from then on. */
  async start(): Promise<void> {
    try {
      this.#begin()
      this.#directory.load()
      this.#look()
      this.#broadcast()
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
    this.#doors.close()
    this.#attempt(() => this.#options.store.close())
    this.#parts.events.end()
  }

  /** @throws SubrosaError where there is no plan, or it does not name this service */
  #begin(): void {
    const { identity, schedule } = this.#options
    const { trust, own, record } = this.#parts
    if (schedule !== undefined && !trust.isByPins)
      throw new TypeError('schedule is for a realm by pins: under an authority the plan says it')
    if (trust.isByPins && own !== trust.realm) throw notOfPins(identity.name)
    const kept = record.plan
    this.#plans.begin()
    this.#renewPinned()
    const { plan } = record
    if (plan === undefined) throw noPlan()
    if (!isNamed(plan, own)) throw notNamed(plan, identity.name)
    if (plan === kept) this.#follow(plan)
  }

  /** A newer plan is acted on. */
  #takeUp(plan: HeldPlan): void {
    const { events, own } = this.#parts
    events.tell({ type: 'plan', version: plan.version, until: plan.until })
    this.#follow(plan)
    if (!isNamed(plan, own)) events.error(notNamed(plan, this.#options.identity.name))
  }

  #follow(plan: HeldPlan): void {
    const { epochs, clock } = this.#parts
    epochs.adopt(plan)
    epochs.hold(clock.now())
    this.#directory.adopt(plan)
    this.#attempt(() => this.#peers.adopt(plan))
    this.#changed()
  }

  /** What this service says of itself is another thing from now on. It is said once for all reasons of one turn. */
  #changed(): void {
    if (this.#isChanged) return
    this.#isChanged = true
    this.#timers.after(0, () => {
      this.#isChanged = false
      this.#directory.changed()
      this.#peers.changed()
      this.#watch.look()
      this.#answers.broadcast()
    })
  }

  /** What time changes. */
  #look(): void {
    // First, so that it goes on whatever happens below.
    this.#timers.after(LOOK_MS, () => this.#look())
    this.#steady.look()
    this.#attempt(() => this.#renewPinned())
    this.#plans.look()
    this.#attempt(() => this.#peers.look())
    this.#attempt(() => this.#prune())
    this.#watch.look()
  }

  #prune(): void {
    const { epochs, clock, record } = this.#parts
    if (epochs.hold(clock.now())) this.#directory.prune()
    const agreedMs = this.#agreedTime()
    const elapsedMs = clock.early()
    if (agreedMs === undefined || elapsedMs - this.#forgotAt < HOUR_MS) return
    this.#forgotAt = elapsedMs
    record.forget(agreedMs)
  }

  /** A time that the own clock does not say alone; `undefined` where there is none. */
  #agreedTime(): number | undefined {
    const { plan } = this.#parts.record
    if (this.#peers.isTimeAgreed) return this.#steady.ofWholeDay()
    // Where nobody else is there to agree the authority has said when it made the plan.
    return plan?.rotators.length === 1 ? plan.made : undefined
  }

  #broadcast(): void {
    const { tickMs = DEFAULT_TICK_MS } = this.#options
    const { record } = this.#parts
    this.#timers.after((record.plan?.rotators.length ?? 1) * tickMs, () => this.#broadcast())
    this.#answers.broadcast()
  }

  #tick(): TickBody | undefined {
    const { clock, own: rotator, process, record } = this.#parts
    const { plan, revocations } = record
    if (plan === undefined || this.#isClosed || this.#peers.isSilent) return undefined
    const now = clock.now()
    return {
      realm: plan.realm,
      planVersion: plan.version,
      rotator,
      standing: this.standing,
      process,
      now,
      revocationsHash: revocations.hash(now),
      directoryRoot: this.#directory.listing.root(),
      storageRoot: NO_ROOT,
    }
  }

  #renewPinned(): void {
    if (!this.#parts.trust.isByPins) return
    const { identity, schedule: times = {} } = this.#options
    const highestHeard = (): number => this.#plans.highestHeard
    const kept = pinnedPlan({ ...this.#parts, identity, times, highestHeard })
    if (kept !== undefined) this.#plans.take(kept)
  }

  #ask(rotator: string, query: Query): void {
    const { engine, subjects, process } = this.#parts
    const to = rotator === ANY_SERVICE ? ANY_SERVICE : rid(engine, rotator)
    this.#publish(subjects.query(to, this.#options.identity.name, process), encodeQuery(query))
  }

  /** What asks something is answered in the own inbox. */
  #publish(subject: string, bytes: Uint8Array): void {
    if (this.#isClosed || this.#nc.isClosed()) return
    const { inbox: reply, onError } = this.#parts
    publishSafely(this.#nc, subject, { bytes, reply, onError })
  }

  #attempt(task: () => void): void {
    attempt(task, this.#parts.onError)
  }

  async #watchConnection(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (this.#isClosed) return
      this.#parts.events.connection(status)
      if (status.type !== 'reconnect') continue
      this.#doors.renew()
      this.#peers.askSoon()
      this.#answers.broadcast()
    }
  }
}

/**
 * Starts a rotation service on a NATS connection. Each one that a plan names has an identity and a record of its own.
 *
 * @throws SubrosaError ERR_STATE without a record or a plan, ERR_PLAN_INVALID and ERR_PLAN_CONFLICT where the plan is none, or
 *   does not name this service
 * @throws RangeError when a time is out of its bounds, TypeError for a schedule under an authority
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
  try {
    assertDelay('tickMs', tickMs)
    const service = new RotationService(nc, options)
    await service.start()
    return service
  } catch (error) {
    options.store.close()
    throw error
  }
}

function pingOf(nonce: Uint8Array): Uint8Array {
  return encodeQuery({ nonce, kind: QueryKind.tick, cursor: undefined })
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

function notOfPins(name: string): SubrosaError {
  return new SubrosaError('ERR_PLAN_INVALID', `${name} does not have the key of the realm`, {
    hint: 'under pins the key of the realm is its only rotation service: start it with the identity of that key',
  })
}
