// Over 300 lines: this is where the parts of a link meet, and most of it is who is told of what.
import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  MAX_CATCHING_UP_MS,
  MAX_EARLY_TICKS,
  MAX_LOOKUPS_PER_SECOND,
  MAX_SMALL_DIRECTORY,
  REFRESH_INTERVAL_MS,
} from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import { Timers } from '../../base/timers.ts'
import type { Identity } from '../../identity/identity.ts'
import type { VerifiedClaims } from '../../identity/trust.ts'
import { Directory } from '../../keys/directory.ts'
import { Epochs } from '../../keys/epochs.ts'
import { KeptRevocations } from '../../keys/kept-revocations.ts'
import { Keyring } from '../../keys/keyring.ts'
import { NameOwners } from '../../keys/name-owners.ts'
import { expiredPlan, type HeldPlan, isExpired } from '../../keys/plan.ts'
import { type KeptPlan, PlanBook } from '../../keys/plan-book.ts'
import { RevocationSet, type VerifiedRevocation } from '../../keys/revocations.ts'
import type { AgentState } from '../../keys/state.ts'
import { ANY_SERVICE, rid } from '../../keys/subjects.ts'
import { clockSkew } from '../../keys/ticks.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import { encodeQuery, type Query, QueryKind } from '../../wire/queries.ts'
import { INSTANCE_BYTES } from '../../wire/statements.ts'
import type { Context } from '../context.ts'
import { LeftOutReports } from '../left-out.ts'
import type { NatsLike, NatsMessage } from '../nats-like.ts'
import { publishSafely } from '../safely.ts'
import { StandingSubscription } from '../standing-subscription.ts'
import { Announcer } from './announcer.ts'
import { DirectoryListing } from './directory-listing.ts'
import { DirectorySync } from './directory-sync.ts'
import { EpochWatch } from './epoch-watch.ts'
import { FreshKeys } from './fresh-keys.ts'
import { FreshnessWatch } from './freshness-watch.ts'
import { HandOver } from './hand-over.ts'
import { HashLookups } from './hash-lookups.ts'
import { Joining } from './joining.ts'
import { KeyEnds } from './key-ends.ts'
import { NamedSets } from './named-sets.ts'
import { noRotationService } from './no-rotation-service.ts'
import { PageFetches } from './page-fetches.ts'
import { Pings } from './pings.ts'
import { PlanFollower } from './plan-follower.ts'
import { randomDelay } from './random.ts'
import { RevocationSharing } from './revocation-sharing.ts'
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
  readonly #keptRevocations: KeptRevocations
  readonly #pings: Pings
  readonly #judge: TickJudge
  readonly #freshness: FreshnessWatch
  readonly #fetches: PageFetches
  readonly #plans: PlanFollower
  readonly #named: NamedSets
  readonly #sharing: RevocationSharing
  readonly #epochWatch: EpochWatch
  readonly #freshKeys: FreshKeys
  readonly #keyEnds: KeyEnds
  readonly #announcer: Announcer
  readonly #hashLookups: HashLookups
  readonly #handOver: HandOver
  readonly #sync: DirectorySync
  readonly #listing: DirectoryListing
  readonly #joining: Joining
  readonly #clocks = new ServiceClocks()
  readonly #lookups = new RateLimit(MAX_LOOKUPS_PER_SECOND)
  #subscriptions: readonly StandingSubscription[] = []
  /** Answers that came before there was a plan by which to judge them. */
  #early: readonly Uint8Array[] = []
  #hasDirectory = false
  /** Whether announcements that wait to be verified are waited for no longer. */
  #mayBeBehind = false
  #isClosed = false
  /** What has been reported since freshness was counted last: what lasts is said once, however often it shows. */
  readonly #reported = new Set<string>()
  /** Revocations that are new in the set, and were not acted on yet. */
  readonly #news = new Map<string, VerifiedRevocation>()
  #isLookingSoon = false
  #refreshedAt = Number.NEGATIVE_INFINITY
  #cancelRefresh: (() => void) | undefined

  constructor(nc: NatsLike, options: RealmLinkOptions) {
    const { engine, trust, state, identity, claims, feed, clock, subjects, onError } = options
    const latest = (): number => clock.latest
    const plan = (): HeldPlan | undefined => this.#book.plan
    this.#nc = nc
    this.#options = options
    this.#timers = new Timers(clock, (error) => this.#note(error))
    const timers = this.#timers
    this.leftOut = new LeftOutReports(options)
    this.#joining = new Joining(clock)
    this.epochs = new Epochs({ engine, latest })
    this.revocations = new RevocationSet({
      engine,
      trust,
      latest,
      clock,
      keep: (added) => {
        for (const one of added) this.#news.set(hex(one.hash), one)
        this.#keptRevocations.changed()
      },
    })
    const { revocations, epochs } = this
    this.#keptRevocations = new KeptRevocations({ revocations, clock, state, onError })
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
    this.directory = new Directory({
      engine,
      trust,
      epochs,
      revocations,
      latest,
      owners: this.#owners,
      clock,
      timers,
      canSealIn: (epoch) => this.keyring.has(epoch.hash),
      onClone: ({ claims: { name }, announcement }) =>
        feed.emit({ type: 'clone', name, instance: hex(announcement.instance) }),
      onLeftOut: (leftOut) => this.leftOut.report(leftOut),
      onVerified: (verified) => this.#plans.claimed(verified.claims.plan ?? 0),
      onCaughtUp: () => {
        this.#changed()
        this.#completeJoin()
      },
    })
    const { directory } = this
    this.keyring = new Keyring(engine, identity, engine.randomBytes(INSTANCE_BYTES))
    const { keyring } = this
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
      isKnownRoot: (rotator, root) => this.#sync.isKnownRoot(rotator, root),
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
    this.#named = new NamedSets({
      clock,
      revocations,
      fetches,
      onHeld: (answered) => this.#count(answered),
      onAdded: (added) => this.#revoked(added),
    })
    this.#sharing = new RevocationSharing({
      engine,
      timers,
      publish: (bytes) => void publishSafely(nc, subjects.revoke, { bytes, onError }),
    })
    this.#epochWatch = new EpochWatch({
      engine,
      clock,
      feed,
      timers,
      epochs,
      plan,
      onChanged: () => this.#epochsChanged(),
      mayBegin: () => this.#joining.isJoined && !this.isStale(),
      hasKeys: (epoch) => keyring.has(epoch.hash),
      onBegun: (epoch) => this.#announcer.announce(epoch),
    })
    this.#keyEnds = new KeyEnds({
      clock,
      feed,
      timers,
      keyring,
      onTime: options.onTime,
      onDestroyed: () => this.#invalidate(),
    })
    this.#announcer = new Announcer(nc, {
      ...options,
      keyring,
      directory,
      onAnnounced: () => {
        this.#keyEnds.lookInTime()
        this.#handOver.announced()
        this.#changed()
      },
    })
    this.#freshKeys = new FreshKeys({
      engine,
      trust,
      clock,
      timers,
      epochs,
      revocations,
      plan,
      hasKeys: (epoch) => keyring.has(epoch.hash),
      renew: (epoch, at) => this.#announcer.renew(epoch, at),
    })
    const rotators = (): readonly string[] => this.#answering()
    const take = (bytes: Uint8Array): void => void directory.add(bytes, clock.now(), { isAsked: true })
    this.#hashLookups = new HashLookups({
      fetches,
      rotators,
      isHeld: (hash) => directory.has(hash),
      onStatement: (bytes) => {
        take(bytes)
        this.#changed()
      },
    })
    const lookups = this.#hashLookups
    this.#handOver = new HandOver({
      engine,
      timers,
      fetches,
      lookups,
      rotators,
      own: () => (this.#announcer.isRetired ? [] : keyring.announcements()),
    })
    this.#sync = new DirectorySync({
      engine,
      clock,
      timers,
      fetches,
      lookups,
      handOver: this.#handOver,
      directory,
      rotators: () => plan()?.rotators ?? [],
      own: () => this.#announcer.established(),
      onChanged: () => this.#changed(),
    })
    this.#listing = new DirectoryListing({
      timers,
      fetches,
      rotators,
      onStatement: take,
      onChanged: () => this.#changed(),
      onWhole: () => {
        this.#hasDirectory = true
        // Junk that waits to be verified holds up no join for long.
        timers.after(MAX_CATCHING_UP_MS, () => {
          this.#mayBeBehind = true
          this.#completeJoin()
        })
        this.#completeJoin()
      },
    })
    if (this.#book.plan !== undefined) this.#adopt(this.#book.plan)
  }

  /** The subject on which this instance is answered. */
  get inbox(): string {
    return this.#options.subjects.inbox(this.keyring.instance)
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
      follow(subjects.epoch, ({ data }) => this.#epochWatch.notice(data)),
      follow(subjects.plan, ({ data }) => this.#plans.heard(data)),
      follow(subjects.revoke, ({ data }) => this.#takeRevocation(data)),
      follow(subjects.rotate, ({ data }) => this.#freshKeys.take(data)),
      follow(subjects.announcements, (message) => this.#takeAnnouncement(message)),
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
    this.#handOver.announced()
    this.refresh()
  }

  /**
   * Asks for everything again: after a reconnect, or when somebody seems to know more. At most once a second, since
   * strangers can call for it, and all others pay: what is called for sooner waits, and is done once. Who has retired
   * does not.
   */
  refresh(): void {
    if (this.#announcer.isRetired) return
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
    if (!this.#joining.isJoined) return
    const [rotator] = this.#answering()
    if (this.directory.size <= MAX_SMALL_DIRECTORY) this.#listing.begin()
    else if (rotator !== undefined) this.#sync.refresh(rotator)
  }

  /** Asks for one announcement by its hash, within a budget. @returns whether it was asked for */
  lookUp(hash: Uint8Array): boolean {
    // A budget: the wall clock would refill it whenever it is set.
    if (this.#isClosed || !this.#lookups.take(this.#options.clock.monotonic())) return false
    return this.#hashLookups.want(hash)
  }

  /** Tells everyone that this instance takes no more messages. */
  retire(): void {
    this.#announcer.retire()
  }

  /** Stops following, wipes the keys and releases the state. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#announcer.close()
    this.#timers.close()
    this.keyring.destroyAll()
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    this.#owners.close()
    this.#keptRevocations.close()
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
      this.#named.forget()
    }
    this.#keyEnds.look()
    this.#pings.now()
  }

  #takeInbox(message: NatsMessage): void {
    const { data } = message
    switch (wireType(data)) {
      case WireType.tick:
        return this.#takeTick(data)
      case WireType.page:
        if (!this.#plans.take(data)) this.#fetches.take(data)
        return this.#act()
      default:
        return this.#options.onHandshake(message)
    }
  }

  #takeTick(bytes: Uint8Array): void {
    // It may be the first that comes after a machine was suspended, or its clock was set.
    this.#freshness.look()
    const { plan } = this.#book
    if (plan === undefined) {
      this.#early = [...this.#early, new Uint8Array(bytes)].slice(-MAX_EARLY_TICKS)
      return
    }
    const answer = this.#judge.answer(bytes)
    if (answer === undefined) return
    const { tick, verdict } = answer
    if (verdict === 'counts') this.#named.offer(answer)
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
    if (this.#named.hinted(tick)) this.#pings.hinted()
    this.#sync.named(rotator, directoryRoot)
  }

  #takeRevocation(bytes: Uint8Array): void {
    this.#sharing.heard(bytes)
    if (this.revocations.add(bytes, this.#options.clock.now()) !== undefined) this.#act()
  }

  #takeAnnouncement({ data, subject }: NatsMessage): void {
    if (this.directory.add(data, this.#options.clock.now(), { subject }) !== undefined) this.#changed()
  }

  /** A newer plan, or the first one. */
  #adopt(plan: HeldPlan): void {
    this.epochs.adopt(plan)
    this.#freshness.adopt(plan)
    this.directory.adopt(plan)
    this.#sync.adopt()
    this.#named.forget()
    this.#sharing.adopt(plan)
    this.#joining.goesOn()
    this.#epochWatch.look()
    this.#act()
    if (this.#subscriptions.length === 0) return
    const early = this.#early
    this.#early = []
    for (const bytes of early) this.#guard(() => this.#takeTick(bytes))
    // What was asked before is answered under the former one.
    if (this.#joining.isJoined) this.#pings.soon()
  }

  /** Acts on revocations that are new, together: looking at everybody for each of many takes long. */
  #act(): void {
    if (this.#news.size > 0) this.#revoked([])
  }

  #revoked(added: readonly VerifiedRevocation[]): void {
    const { feed, identity: own } = this.#options
    // Those that have no room in the own set act all the same.
    for (const one of added) this.#news.set(hex(one.hash), one)
    const news = [...this.#news.values()]
    this.#news.clear()
    for (const { revocation, byAuthority } of news) {
      const { identity, reason } = revocation
      feed.emit({ type: 'revoked', identity, reason, self: identity === own.publicKey })
      if (byAuthority && this.#book.plan?.rotators.includes(identity)) this.#freshness.discount(identity)
    }
    this.#invalidate()
    this.#named.changed()
  }

  /** A tick counts: it answers an own question, and all that it names is held. */
  #count({ tick, askedAtLateMs }: AnsweredTick): void {
    const { rotator } = tick
    this.#clocks.fits(rotator)
    const freshFrom = this.#freshness.count(rotator, askedAtLateMs)
    this.#sharing.lacks(rotator, this.revocations.beyond(tick))
    this.#sync.counted(tick)
    if (freshFrom === undefined || this.#freshness.isStale) return
    this.#pings.answered(freshFrom)
    this.#reported.clear()
    // Timers see neither a suspended machine nor a wall clock that is set.
    this.#keyEnds.look()
    // By the latest time alone: what guards against repeats goes when no clock makes the repeat young again.
    this.revocations.prune(this.#options.clock.latest)
    this.#epochWatch.look()
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
    if (!this.#hasDirectory) return this.#listing.begin()
    if (this.directory.unverified > 0 && !this.#mayBeBehind) return
    const epochs = this.#epochWatch.join()
    try {
      this.#assertMayJoin(epochs.length)
      // Before anybody hears of this instance: whoever comes after a crash retires it.
      this.#options.state.keepInstance(hex(this.keyring.instance))
      for (const epoch of epochs) this.#announcer.announce(epoch)
    } catch (error) {
      if (error instanceof SubrosaError) this.#joining.fail(error)
      throw error
    }
    const newest = epochs.at(-1)
    if (newest !== undefined) this.#announcer.retireFormer(newest)
    this.directory.joined()
    this.#sync.joined()
    this.#pings.joined()
    this.#joining.succeed()
    this.#changed()
  }

  #assertMayJoin(epochs: number): void {
    const { identity, claims } = this.#options
    if (this.revocations.isRevoked(claims))
      throw new SubrosaError('ERR_REVOKED', `the identity of ${identity.name} is revoked`)
    if (epochs === 0) {
      throw new SubrosaError('ERR_STALE', 'no epoch of the plan has begun yet', {
        hint: 'the plan says when the first one begins: subrosa plan show',
      })
    }
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
