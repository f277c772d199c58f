// Over 300 lines: this is where the parts of a link meet, and most of it is who is told of what.
import { SubrosaError } from '../../base/errors.ts'
import { MAX_EARLY_TICKS, REFRESH_INTERVAL_MS } from '../../base/limits.ts'
import { Timers } from '../../base/timers.ts'
import type { Identity } from '../../identity/identity.ts'
import type { VerifiedClaims } from '../../identity/trust.ts'
import type { Directory } from '../../keys/directory.ts'
import { Epochs } from '../../keys/epochs.ts'
import type { Keyring } from '../../keys/keyring.ts'
import { NameOwners } from '../../keys/name-owners.ts'
import { expiredPlan, type HeldPlan, isExpired } from '../../keys/plan.ts'
import { type KeptPlan, PlanBook } from '../../keys/plan-book.ts'
import type { RevocationSet, VerifiedRevocation } from '../../keys/revocations.ts'
import type { AgentState } from '../../keys/state.ts'
import { ANY_SERVICE, rid } from '../../keys/subjects.ts'
import { clockSkew } from '../../keys/ticks.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import { encodeQuery, type Query, QueryKind } from '../../wire/queries.ts'
import type { Context } from '../context.ts'
import { LeftOutReports } from '../left-out.ts'
import type { NatsLike, NatsMessage } from '../nats-like.ts'
import { publishSafely } from '../safely.ts'
import { StandingSubscription } from '../standing-subscription.ts'
import { FreshnessWatch } from './freshness-watch.ts'
import { Joining } from './joining.ts'
import { noRotationService } from './no-rotation-service.ts'
import { OwnInstance } from './own-instance.ts'
import { PageFetches } from './page-fetches.ts'
import { Pings } from './pings.ts'
import { PlanFollower } from './plan-follower.ts'
import { randomDelay } from './random.ts'
import { RealmDirectory } from './realm-directory.ts'
import { RealmRevocations } from './realm-revocations.ts'
import { ServiceClocks } from './service-clocks.ts'
import { type AnsweredTick, TickJudge } from './tick-judge.ts'

/** What is wrong for as long as nobody does anything about it. */
const LASTING: ReadonlySet<string> = new Set([
  'ERR_CLOCK_SKEW',
  'ERR_SUITE',
  'ERR_PLAN_CONFLICT',
  'ERR_STATE',
])

/** What a link is made of. */
export interface RealmLinkOptions extends Context {
  readonly identity: Identity
  /** What its token is worth under the trust anchors. */
  readonly claims: VerifiedClaims
  readonly state: AgentState
  /** A plan that is known besides the state's. */
  readonly plan: KeptPlan | undefined
  /** Takes the handshake of a session that is for this instance alone. */
  readonly onHandshake: (message: NatsMessage) => void
  /** Called when announcements of ended epochs have been forgotten. */
  readonly onForgotten: () => void
  /** Called with every tick that counts, at the end of an epoch and when freshness is lost, before keys are destroyed. */
  readonly onTime: () => void
}

/**
 * One instance's place in its realm: it follows plans, epochs, ticks, revocations and announcements, announces its own keys,
 * and knows whether all that is fresh. Everything that arrives is judged by its parts, and nothing that arrives can throw.
 */
export class RealmLink {
  readonly epochs: Epochs
  readonly revocations: RevocationSet
  readonly directory: Directory
  readonly keyring: Keyring
  readonly leftOut: LeftOutReports
  readonly #nc: NatsLike
  readonly #options: RealmLinkOptions
  readonly #listeners = new Set<() => void>()
  readonly #timers: Timers
  readonly #book: PlanBook
  readonly #owners: NameOwners
  readonly #revocations: RealmRevocations
  readonly #pings: Pings
  readonly #judge: TickJudge
  readonly #freshness: FreshnessWatch
  readonly #fetches: PageFetches
  readonly #plans: PlanFollower
  readonly #own: OwnInstance
  readonly #directory: RealmDirectory
  readonly #joining: Joining
  readonly #clocks = new ServiceClocks()
  #subscriptions: readonly StandingSubscription[] = []
  /** Answers that came before there was a plan by which to judge them. */
  #early: readonly Uint8Array[] = []
  #isClosed = false
  /** What has been reported since freshness was counted last: what lasts is said once, however often it shows. */
  readonly #reported = new Set<string>()
  #isLookingSoon = false
  #refreshedAt = Number.NEGATIVE_INFINITY
  #cancelRefresh: (() => void) | undefined

  constructor(nc: NatsLike, options: RealmLinkOptions) {
    const { engine, trust, state, claims, feed, clock, subjects, onError } = options
    const latest = (): number => clock.latest
    const plan = (): HeldPlan | undefined => this.#book.plan
    this.#nc = nc
    this.#options = options
    this.#timers = new Timers(clock, (error) => this.#note(error))
    const timers = this.#timers
    this.leftOut = new LeftOutReports(options)
    this.#joining = new Joining(clock)
    this.epochs = new Epochs({ engine, latest })
    this.#revocations = new RealmRevocations({
      ...options,
      timers,
      fetches: () => this.#fetches,
      publish: (bytes) => void publishSafely(nc, subjects.revoke, { bytes, onError }),
      stands: (answered) => {
        this.#freshness.look()
        return this.#judge.stands(answered)
      },
      onHeld: (answered) => this.#count(answered),
      onRevoked: (news) => this.#revoked(news),
    })
    this.revocations = this.#revocations.set
    const { revocations, epochs } = this
    this.#book = new PlanBook({
      engine,
      trust,
      revocations,
      floor: claims.plan ?? 0,
      kept: state.plan,
      keep: (kept) => state.keepPlan(kept),
    })
    this.#owners = new NameOwners({
      trust,
      revocations,
      clock,
      state,
      onMoved: (moved) => feed.emit({ type: 'nameMoved', ...moved }),
      onError,
    })
    this.#own = new OwnInstance(nc, {
      ...options,
      timers,
      epochs,
      revocations,
      directory: () => this.directory,
      plan,
      mayBegin: () => this.#joining.isJoined && !this.isStale(),
      onEpochs: () => this.#epochsChanged(),
      onAnnounced: () => {
        this.#directory.handOver()
        this.#changed()
      },
      onDestroyed: () => this.#invalidate(),
    })
    this.keyring = this.#own.keyring
    this.#freshness = new FreshnessWatch({ clock, feed, timers, onLost: (isGap) => this.#lost(isGap) })
    this.#pings = new Pings({ engine, clock, timers, send: (nonce) => this.#ping(nonce) })
    this.#judge = new TickJudge({
      engine,
      clock,
      trust,
      revocations,
      plan,
      open: () => this.#pings.open(),
      newestOf: (rotator) => this.#freshness.newestOf(rotator),
      isKnownRoot: (rotator, root) => this.#directory.isKnownRoot(rotator, root),
    })
    this.#fetches = new PageFetches({
      engine,
      clock,
      timers,
      ask: (rotator, query) => this.#query(rid(engine, rotator), query),
    })
    const fetches = this.#fetches
    this.#plans = new PlanFollower({
      engine,
      trust,
      clock,
      feed,
      book: this.#book,
      revocations,
      fetches,
      timers,
      askAll: (nonce) => this.#query(ANY_SERVICE, { nonce, kind: QueryKind.plan, cursor: undefined }),
      publish: (bytes) => void publishSafely(nc, subjects.plan, { bytes, onError }),
      onPlan: (taken) => this.#adopt(taken),
      onTrouble: (error) => this.#note(error),
    })
    this.#directory = new RealmDirectory({
      ...options,
      timers,
      epochs,
      revocations,
      owners: this.#owners,
      fetches,
      leftOut: this.leftOut,
      rotators: () => plan()?.rotators ?? [],
      answering: () => this.#answering(),
      own: () => this.#own.announcements(),
      established: () => this.#own.established(),
      hasKeys: (epoch) => this.keyring.has(epoch.hash),
      askForTick: () => this.#pings.hinted(),
      onClaimed: (version) => this.#plans.claimed(version),
      onChanged: () => this.#changed(),
      onReady: () => this.#completeJoin(),
    })
    this.directory = this.#directory.directory
    if (this.#book.plan !== undefined) this.#adopt(this.#book.plan)
  }

  /** The subject on which this instance is answered. */
  get inbox(): string {
    const { subjects, identity } = this.#options
    return subjects.inbox(identity.name, this.keyring.instance)
  }

  /** The version of the plan that is acted on; 0 before there is one. */
  get planVersion(): number {
    return this.#book.plan?.version ?? 0
  }

  /**
   * Subscribes, asks, and resolves when enough rotation services have answered under the newest plan, the directory is in
   * step, and this instance's keys are announced.
   *
   * @throws SubrosaError ERR_NO_ROTATION_SERVICE, or what stood in the way: ERR_PLAN_INVALID, ERR_PLAN_EXPIRED, ERR_ROLLBACK,
   *   ERR_CLOCK_SKEW, ERR_SUITE, ERR_REVOKED, ERR_STATE, ...
   */
  async join(timeoutMs: number): Promise<void> {
    const { subjects, clock, reject, onError } = this.#options
    const follow = (subject: string, take: (message: NatsMessage) => void): StandingSubscription =>
      new StandingSubscription(this.#nc, subject, {
        clock,
        take: (message) => {
          if (!this.#isClosed) take(message)
        },
        onError: (error) => this.#note(error),
        reject,
        onRefused: onError,
        onRenewed: () => this.refresh(),
      })
    this.#subscriptions = [
      follow(subjects.tick, ({ data }) => this.#takeHint(data)),
      follow(subjects.epoch, ({ data }) => this.#own.takeNotice(data)),
      follow(subjects.plan, ({ data }) => this.#plans.heard(data)),
      follow(subjects.revoke, ({ data }) => this.#revocations.take(data)),
      follow(subjects.rotate, ({ data }) => this.#own.takeOrder(data)),
      follow(subjects.announcements, (message) => this.#directory.take(message)),
      follow(this.inbox, (message) => this.#takeInbox(message)),
    ]
    await this.#nc.flush()
    this.#takeKnownPlan()
    this.#plans.begin()
    this.#pings.now()
    await this.#joining.wait(timeoutMs, () => this.#joinError())
  }

  /** What came with the identity counts where the state has nothing newer. */
  #takeKnownPlan(): void {
    const { plan: known, clock } = this.#options
    try {
      const plan = known && this.#book.offer(known, clock.now())
      if (plan !== undefined) this.#adopt(plan)
    } catch (error) {
      if (!(error instanceof SubrosaError && error.code === 'ERR_ROLLBACK')) throw error
    }
  }

  /** Calls `listener` after every change of epochs, revocations or announcements. @returns how to stop it */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Throws the reason why nothing may be sealed or opened now, where there is one.
   *
   * @param nowMs what a reading of the clock has just said. Default: a reading
   */
  assertUsable(nowMs = this.#options.clock.now()): void {
    const { identity, claims, clock } = this.#options
    if (this.#isClosed) throw new SubrosaError('ERR_CLOSED', 'this sealed connection is closed')
    if (this.revocations.isRevoked(claims))
      throw new SubrosaError('ERR_REVOKED', `the identity of ${identity.name} is revoked`)
    if (Math.max(nowMs, clock.latest) >= claims.expiresAt * 1000)
      throw new SubrosaError('ERR_TOKEN_EXPIRED', `the identity token of ${identity.name} has expired`)
    if (!this.#freshness.isStale) return
    this.#lookSoon()
    const { plan } = this.#book
    if (plan !== undefined && this.#freshness.isPlanOver) throw expiredPlan(plan)
    throw new SubrosaError(
      'ERR_STALE',
      'too few rotation services have answered lately: nothing is sealed or opened',
      {
        hint: 'check that the rotation services run and that this agent can reach them: subrosa rotate status',
      },
    )
  }

  /** Whether too few rotation services have answered lately, or the clocks of this machine have parted since. */
  isStale(): boolean {
    this.#options.clock.sample()
    return this.#freshness.isStale
  }

  /** The NATS connection is a new one: what was published meanwhile was missed. */
  reconnected(): void {
    for (const subscription of this.#subscriptions) subscription.renew()
    this.#directory.handOver()
    this.refresh()
  }

  /**
   * Asks for everything again: after a reconnect, or when somebody seems to know more. At most once a second, since
   * strangers can call for it, and all others pay: what is called for sooner waits, and is done once. Who has retired
   * does not.
   */
  refresh(): void {
    if (this.#own.isRetired) return
    const { clock } = this.#options
    const waitMs = this.#refreshedAt + REFRESH_INTERVAL_MS - clock.monotonic()
    if (waitMs > 0) {
      this.#cancelRefresh ??= this.#timers.after(waitMs, () => {
        this.#cancelRefresh = undefined
        this.refresh()
      })
      return
    }
    this.#refreshedAt = clock.monotonic()
    this.#pings.soon()
    if (this.#joining.isJoined) this.#directory.refresh()
  }

  /** Asks for one announcement by its hash, within a budget. @returns whether it was asked for */
  lookUp(hash: Uint8Array): boolean {
    return !this.#isClosed && this.#directory.lookUp(hash)
  }

  /** Tells everyone that this instance takes no more messages. */
  retire(): void {
    this.#own.retire()
  }

  /** Stops following, wipes the keys and releases the state. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#timers.close()
    this.#own.close()
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    this.#owners.close()
    this.#revocations.close()
    this.#options.state.close()
  }

  /** Malformed and unproved statements are what a hostile broker sends: only what tells a user something is kept. */
  #note(error: unknown): void {
    const { feed } = this.#options
    if (!(error instanceof SubrosaError)) return feed.emit({ type: 'error', error })
    if (error.code === 'ERR_MALFORMED') return
    this.#joining.hinderedBy(error)
    if (error.code === 'ERR_ROLLBACK') feed.emit({ type: 'rollback', message: error.message })
    if (!LASTING.has(error.code) || this.#reported.has(error.code)) return
    this.#reported.add(error.code)
    feed.emit({ type: 'error', error })
  }

  #joinError(): SubrosaError {
    const { plan } = this.#book
    if (plan !== undefined && isExpired(plan, this.#options.clock.notBefore())) return expiredPlan(plan)
    return noRotationService({ plan, counted: this.#freshness.answering().length })
  }

  /** Rotation services that have answered lately, in a random order. */
  #answering(): readonly string[] {
    const all = this.#freshness.answering()
    const start = randomDelay(this.#options.engine, all.length)
    return [...all.slice(start), ...all.slice(0, start)]
  }

  #ping(nonce: Uint8Array): void {
    const { subjects, identity } = this.#options
    const query = { nonce, kind: QueryKind.tick, cursor: undefined }
    this.#publishQuery(subjects.ping(identity.name, this.keyring.instance), query)
  }

  #query(to: string, query: Query): void {
    const { subjects, identity } = this.#options
    this.#publishQuery(subjects.query(to, identity.name, this.keyring.instance), query)
  }

  #publishQuery(subject: string, query: Query): void {
    const { onError } = this.#options
    if (this.#isClosed || this.#nc.isClosed()) return
    publishSafely(this.#nc, subject, { bytes: encodeQuery(query), reply: this.inbox, onError })
  }

  /** Whoever publishes, or hands on what has arrived, must not meet what follows from a look in the midst of that. */
  #lookSoon(): void {
    if (this.#isLookingSoon) return
    this.#isLookingSoon = true
    queueMicrotask(() => {
      this.#isLookingSoon = false
      try {
        if (!this.#isClosed) this.#freshness.look()
      } catch (error) {
        this.#note(error)
      }
    })
  }

  /** Freshness is lost: only new answers help. */
  #lost(isGap: boolean): void {
    if (isGap) {
      this.#pings.forget()
      this.#revocations.forgetTicks()
    }
    this.#own.wipe()
    this.#pings.now()
  }

  #takeInbox(message: NatsMessage): void {
    const { data } = message
    switch (wireType(data)) {
      case WireType.tick:
        return this.#takeTick(data)
      case WireType.page:
        if (!this.#plans.take(data)) this.#fetches.take(data)
        return this.#revocations.act()
      default:
        return this.#options.onHandshake(message)
    }
  }

  #takeTick(bytes: Uint8Array): void {
    // It may be the first that comes after a machine was suspended, or its clock was set.
    this.#freshness.look()
    const { plan } = this.#book
    if (plan === undefined) {
      if (this.#judge.isAsked(bytes))
        this.#early = [...this.#early, new Uint8Array(bytes)].slice(-MAX_EARLY_TICKS)
      return
    }
    const answer = this.#judge.answer(bytes)
    if (answer === undefined) return
    const { tick, verdict } = answer
    if (verdict === 'counts') this.#revocations.offer(answer)
    else if (verdict === 'other plan') this.#plans.named(tick.planVersion, tick.rotator)
    else if (verdict === 'skewed' && this.#clocks.differs(tick.rotator, plan)) {
      const skewed = clockSkew(tick, this.#options.clock.now())
      this.#joining.fail(skewed)
      throw skewed
    }
  }

  /** Anybody can repeat a broadcast: it only makes this agent ask. */
  #takeHint(bytes: Uint8Array): void {
    this.#freshness.look()
    const tick = this.#judge.hint(bytes)
    if (tick === undefined) return
    const { planVersion, rotator, directoryRoot } = tick
    if (planVersion !== this.planVersion) {
      this.#plans.named(planVersion, rotator)
      return this.#pings.hinted()
    }
    if (this.#revocations.hinted(tick)) this.#pings.hinted()
    this.#directory.named(rotator, directoryRoot)
  }

  /** A newer plan, or the first one. */
  #adopt(plan: HeldPlan): void {
    this.epochs.adopt(plan)
    this.#freshness.adopt(plan)
    this.#directory.adopt(plan)
    this.#revocations.adopt(plan)
    this.#joining.goesOn()
    this.#own.lookAtEpochs()
    this.#revocations.act()
    if (this.#subscriptions.length === 0) return
    const early = this.#early
    this.#early = []
    for (const bytes of early) this.#guard(() => this.#takeTick(bytes))
    // What was asked before is answered under the former one.
    if (this.#joining.isJoined) this.#pings.soon()
  }

  #revoked(news: readonly VerifiedRevocation[]): void {
    const { feed, identity: own } = this.#options
    for (const { revocation, byAuthority } of news) {
      const { identity, reason } = revocation
      feed.emit({ type: 'revoked', identity, reason, self: identity === own.publicKey })
      if (byAuthority && this.#book.plan?.rotators.includes(identity)) this.#freshness.discount(identity)
    }
    this.#invalidate()
  }

  /** A tick counts: it answers an own question, and all that it names is held. */
  #count({ tick, askedAtLateMs }: AnsweredTick): void {
    const { rotator } = tick
    this.#clocks.fits(rotator)
    const freshFrom = this.#freshness.count(rotator, askedAtLateMs)
    this.#revocations.counted(tick)
    this.#directory.counted(tick)
    if (freshFrom === undefined || this.#freshness.isStale) return
    this.#pings.answered(freshFrom)
    this.#reported.clear()
    // Timers see neither a suspended machine nor a wall clock that is set.
    this.#own.wipe()
    this.#own.lookAtEpochs()
    this.#plans.look()
    this.#completeJoin()
  }

  #epochsChanged(): void {
    this.directory.prune()
    this.#options.onForgotten()
    this.#invalidate()
  }

  #completeJoin(): void {
    if (this.#joining.isJoined || this.#freshness.isStale) return
    if (!this.#directory.isReady) return this.#directory.begin()
    try {
      this.#assertMayJoin()
      if (!this.#own.join()) throw notBegun()
    } catch (error) {
      if (error instanceof SubrosaError) this.#joining.fail(error)
      throw error
    }
    this.#directory.joined()
    this.#pings.joined()
    this.#joining.succeed()
    this.#changed()
  }

  #assertMayJoin(): void {
    const { identity, claims } = this.#options
    if (this.revocations.isRevoked(claims))
      throw new SubrosaError('ERR_REVOKED', `the identity of ${identity.name} is revoked`)
  }

  /** Something outside the directory changed who is in an audience. */
  #invalidate(): void {
    this.directory.invalidate()
    this.#changed()
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener()
      } catch (error) {
        // The others have to hear of it all the same.
        this.#options.feed.emit({ type: 'error', error })
      }
    }
  }

  #guard(task: () => void): void {
    try {
      task()
    } catch (error) {
      this.#note(error)
    }
  }
}

function notBegun(): SubrosaError {
  return new SubrosaError('ERR_STALE', 'no epoch of the plan has begun yet', {
    hint: 'the plan says when the first one begins: subrosa plan show',
  })
}
