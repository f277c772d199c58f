// Over 300 lines: joining, following and judging the realm's statements share one small state, and one order.

import { copy, hex, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  LOOKUP_TIMEOUT_MS,
  MAX_FETCHED_EPOCH_BYTES,
  MAX_FETCHED_REVOCATION_BYTES,
  MAX_FETCHED_STATEMENTS,
  MAX_FETCHES_PER_SECOND,
  MAX_LOOKUPS_PER_SECOND,
  QUERY_INTERVAL_MS,
  REFRESH_INTERVAL_MS,
} from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import { Timers } from '../../base/timers.ts'
import type { Identity } from '../../identity/identity.ts'
import type { VerifiedClaims } from '../../identity/trust.ts'
import { Directory } from '../../keys/directory.ts'
import { EpochChain, type EpochFloor } from '../../keys/epochs.ts'
import { KeptRevocations } from '../../keys/kept-revocations.ts'
import { Keyring } from '../../keys/keyring.ts'
import { NameOwners } from '../../keys/name-owners.ts'
import { RevocationSet, type VerifiedRevocation } from '../../keys/revocations.ts'
import type { AgentState } from '../../keys/state.ts'
import { clockSkew, namesEpoch, verifyTick } from '../../keys/ticks.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import {
  decodeAnswer,
  encodeQuery,
  INSTANCE_BYTES,
  NONCE_BYTES,
  type Query,
  QueryKind,
  type Tick,
  writeCursor,
} from '../../wire/statements.ts'
import type { Context } from '../context.ts'
import { LeftOutReports } from '../left-out.ts'
import type { NatsLike, NatsMessage } from '../nats-like.ts'
import { publishSafely } from '../safely.ts'
import { StandingSubscription } from '../standing-subscription.ts'
import { Announcer } from './announcer.ts'
import { AskedPages } from './asked-pages.ts'
import { FreshnessWatch } from './freshness-watch.ts'
import { noRotationService } from './questions.ts'
import { RevocationSharing } from './revocation-sharing.ts'

/** What a link is made of. */
export interface RealmLinkOptions extends Context {
  readonly identity: Identity
  /** What its token is worth under the trust anchors. */
  readonly claims: VerifiedClaims
  readonly state: AgentState
  /** Takes the handshake of a session that is for this instance alone. */
  readonly onHandshake: (message: NatsMessage) => void
  /** Called when announcements of ended epochs have been forgotten. */
  readonly onForgotten: () => void
  /** Called with every tick that counts, at the end of an epoch and while this is stale, before keys are destroyed. */
  readonly onTime: () => void
}

/** Statements that come in several pages, and since when they are asked for. */
interface Fetch {
  readonly statements: Uint8Array[]
  /** What may still come: a rotation service sends no more. */
  statementsLeft: number
  bytesLeft: number
  /** When the last page was asked for, or came. */
  since: number
}

/**
 * One instance's place in its realm: it follows epochs, ticks, revocations and announcements, announces its own keys,
 * and knows whether all that is fresh. Everything that arrives is judged here, and nothing that arrives can throw.
 */
export class RealmLink {
  readonly epochs: EpochChain
  readonly revocations: RevocationSet
  readonly directory: Directory
  readonly keyring: Keyring
  readonly leftOut: LeftOutReports
  readonly #nc: NatsLike
  readonly #options: RealmLinkOptions
  readonly #listeners = new Set<() => void>()
  readonly #timers: Timers
  readonly #announcer: Announcer
  readonly #owners: NameOwners
  readonly #keptRevocations: KeptRevocations
  readonly #sharing: RevocationSharing
  readonly #freshness: FreshnessWatch
  readonly #lookups = new RateLimit(MAX_LOOKUPS_PER_SECOND)
  #subscriptions: readonly StandingSubscription[] = []
  /** The newest tick that is proved but not counted yet: its epoch or its revocations are still being fetched. */
  #tick: Tick | undefined
  /** When it came, by the clock's `late`. */
  #tickCameAt = 0
  /** Pages that are being fetched: of epochs, and of revocations. */
  readonly #fetches = new RateLimit(MAX_FETCHES_PER_SECOND)
  readonly #asked: AskedPages
  #gap: Fetch | undefined
  #missing: Fetch | undefined
  /** When the directory was asked for, or its last page came. */
  #listing: Pick<Fetch, 'since'> | undefined
  #hasDirectory = false
  #isJoined = false
  #isClosed = false
  #trouble: SubrosaError | undefined
  /** What has been reported since the last tick that counted: what lasts is said once, however often it shows. */
  readonly #reported = new Set<string>()
  #isLookingSoon = false
  #cancelAsking: () => void = () => {}
  #cancelDestroying: () => void = () => {}
  #refreshedAt = Number.NEGATIVE_INFINITY
  #cancelRefresh: (() => void) | undefined
  #failJoin: (error: SubrosaError) => void = () => {}

  constructor(nc: NatsLike, options: RealmLinkOptions) {
    const { engine, trust, state, identity, feed, clock } = options
    const latest = (): number => clock.latest
    this.#nc = nc
    this.#options = options
    this.leftOut = new LeftOutReports(options)
    this.revocations = new RevocationSet(engine, trust, latest)
    this.epochs = new EpochChain({
      engine,
      trust,
      revocations: this.revocations,
      floor: state.floor,
      keepFloor: (floor) => state.keepFloor(floor),
      latest,
    })
    this.#keptRevocations = new KeptRevocations({
      revocations: this.revocations,
      clock,
      state,
      onError: options.onError,
    })
    this.#owners = new NameOwners({
      trust,
      revocations: this.revocations,
      clock,
      state,
      onMoved: (moved) => feed.emit({ type: 'nameMoved', ...moved }),
      onError: options.onError,
    })
    this.directory = new Directory({
      engine,
      trust,
      epochs: this.epochs,
      revocations: this.revocations,
      latest,
      owners: this.#owners,
      monotonic: () => clock.monotonic(),
      canSealIn: (epoch) => this.keyring.has(epoch.hash),
      onClone: ({ claims, announcement }) =>
        feed.emit({ type: 'clone', name: claims.name, instance: hex(announcement.instance) }),
      onRefused: (refused) => this.leftOut.report(refused),
    })
    this.keyring = new Keyring(engine, identity, engine.randomBytes(INSTANCE_BYTES))
    this.#timers = new Timers(clock, (error) => this.#note(error))
    this.#asked = new AskedPages(engine)
    this.#sharing = new RevocationSharing({
      engine,
      timers: this.#timers,
      publish: (bytes) => publishSafely(nc, options.subjects.revoke, { bytes, onError: options.onError }),
    })
    this.#freshness = new FreshnessWatch({
      clock,
      feed,
      timers: this.#timers,
      onLost: () => {
        this.#destroyEnded()
        this.#askForTick()
      },
    })
    this.#announcer = new Announcer(nc, {
      ...options,
      keyring: this.keyring,
      directory: this.directory,
      timers: this.#timers,
      onAnnounced: () => {
        this.#destroyInTime()
        this.#changed()
      },
    })
  }

  /** The subject on which this instance is answered by the rotation service. */
  get inbox(): string {
    return this.#options.subjects.inbox(this.keyring.instance)
  }

  /**
   * Subscribes, asks, and resolves when the directory is in step, a tick with an own nonce has come, and this
   * instance's keys are announced.
   *
   * @throws SubrosaError ERR_NO_ROTATION_SERVICE, or what stood in the way: ERR_CLOCK_SKEW, ERR_ROLLBACK, ERR_SUITE,
   *   ERR_REVOKED, ERR_EPOCH_INVALID, ...
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
      follow(subjects.tick, ({ data }) => this.#takeTick(data)),
      follow(subjects.epoch, ({ data }) => this.#takeEpoch(data)),
      follow(subjects.revoke, ({ data }) => this.#takeRevocation(data)),
      follow(subjects.announcements, (message) => this.#takeAnnouncement(message)),
      follow(this.inbox, (message) => {
        if (wireType(message.data) === WireType.page) this.#takePage(message.data)
        else this.#options.onHandshake(message)
      }),
    ]
    await this.#nc.flush()
    this.#askForTick()
    await new Promise<void>((resolve, reject) => {
      this.#failJoin = (error) => finish(() => reject(error))
      const settle = () => {
        if (this.#isJoined) finish(resolve)
      }
      const finish = (end: () => void) => {
        this.#failJoin = () => {}
        this.#listeners.delete(settle)
        cancel()
        end()
      }
      const cancel = clock.after(timeoutMs, () => finish(() => reject(this.#joinError())))
      this.#listeners.add(settle)
    })
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
    if (this.#freshness.isStale) {
      this.#lookSoon()
      throw new SubrosaError(
        'ERR_STALE',
        'no fresh word from the rotation service: nothing is sealed or opened',
        {
          hint: 'check that the rotation service runs and that this agent can reach it',
        },
      )
    }
  }

  /** Whether too long has passed since the last tick that counted, or the clocks of this machine have parted since. */
  isStale(): boolean {
    this.#options.clock.sample()
    return this.#freshness.isStale
  }

  /** The NATS connection is a new one: what was announced meanwhile was missed, and others may have missed this instance. */
  reconnected(): void {
    for (const subscription of this.#subscriptions) subscription.renew()
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
    this.#askForTick()
    this.#askFor(QueryKind.announcements)
    this.#announcer.repeat()
  }

  /** Asks for one announcement by its hash, within a budget. @returns whether it was asked for */
  lookUp(hash: Uint8Array): boolean {
    // A budget: the wall clock would refill it whenever it is set.
    if (!this.#lookups.take(this.#options.clock.monotonic())) return false
    this.#askFor(QueryKind.announcement, hash)
    return true
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
    if (!(error instanceof SubrosaError)) {
      this.#options.feed.emit({ type: 'error', error })
      return
    }
    if (error.code === 'ERR_MALFORMED') return
    this.#trouble = error
    const isLasting = error.code === 'ERR_CLOCK_SKEW' || error.code === 'ERR_SUITE'
    if (this.#isJoined && isLasting && !this.#reported.has(error.code)) {
      this.#reported.add(error.code)
      this.#options.feed.emit({ type: 'error', error })
    }
    if (error.code === 'ERR_ROLLBACK') this.#options.feed.emit({ type: 'rollback', message: error.message })
  }

  #joinError(): SubrosaError {
    // One that has counted is not held any more: then it is the directory that is missing.
    return this.#trouble ?? noRotationService(this.#tick !== undefined || !this.isStale())
  }

  #askForTick(): void {
    const nonce = this.#options.engine.randomBytes(NONCE_BYTES)
    this.#freshness.expect(nonce)
    this.#query({ nonce, kind: QueryKind.tick, cursor: undefined })
    const jitter = this.#options.engine.randomBytes(1)[0] ?? 0
    this.#cancelAsking()
    // Again until one has come: core NATS may lose the question or the answer.
    this.#cancelAsking = this.#timers.after(QUERY_INTERVAL_MS + jitter, () => {
      const isStale = this.isStale()
      if (isStale) this.#destroyEnded()
      if (!this.#isJoined || isStale || this.#tick !== undefined) this.#askForTick()
    })
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

  /** Asks for a page. */
  #askFor(kind: QueryKind, cursor?: Uint8Array): void {
    this.#query({ nonce: this.#asked.expect(kind), kind, cursor })
  }

  #query(query: Query): void {
    if (this.#isClosed || this.#nc.isClosed()) return
    publishSafely(this.#nc, this.#options.subjects.query, {
      bytes: encodeQuery(query),
      reply: this.inbox,
      onError: this.#options.onError,
    })
  }

  #takeTick(bytes: Uint8Array): void {
    const { engine, trust, clock } = this.#options
    const nowMs = clock.now()
    const latest = (): number => clock.latest
    // It may be the first that comes after a machine was suspended, or its clock was set.
    this.#freshness.look()
    const tick = verifyTick({ engine, trust, revocations: this.revocations, latest }, bytes, nowMs)
    // Until a tick carries an own nonce, any tick may be an old one.
    if (!this.#isJoined && !this.#freshness.answers(tick)) return
    const standing = this.#freshness.standing(tick, nowMs)
    if (standing === 'skewed') {
      const skewed = clockSkew(tick, nowMs)
      this.#failJoin(skewed)
      throw skewed
    }
    if (standing === 'old') return
    this.#tick = tick
    this.#tickCameAt = clock.late()
    this.#settle()
  }

  #takeEpoch(bytes: Uint8Array): void {
    // Without a floor only the epoch that a fresh tick names is believed.
    const head = this.epochs.head
    const offered = this.epochs.peek(bytes)
    // An old one that is played again is no news. One that leaves a gap waits until a tick names it.
    if (head === undefined || offered.number < head.number || offered.number > head.number + 1) return
    this.#accept([bytes], offered)
    this.#settle()
  }

  #takeRevocation(bytes: Uint8Array): void {
    this.#sharing.heard(bytes)
    const added = this.revocations.add(bytes, this.#options.clock.now())
    if (added === undefined) return
    this.#reportRevocations([added])
    this.#settle()
  }

  /** Together: looking at everybody for each of many takes long. */
  #reportRevocations(added: readonly VerifiedRevocation[]): void {
    if (added.length === 0) return
    const { feed, clock, identity: own } = this.#options
    for (const { revocation } of added) {
      const { identity, reason } = revocation
      feed.emit({ type: 'revoked', identity, reason, self: identity === own.publicKey })
    }
    this.#keptRevocations.changed()
    this.directory.invalidate(clock.now())
    this.#changed()
  }

  #takeAnnouncement({ data, subject }: NatsMessage): void {
    if (this.directory.add(data, this.#options.clock.now(), subject) !== undefined) this.#changed()
  }

  #takePage(bytes: Uint8Array): void {
    const page = decodeAnswer(bytes, (head) => this.#asked.takes(head))
    if (page === undefined) return
    const { kind, statements, next } = page
    const nowMs = this.#options.clock.now()
    switch (kind) {
      case QueryKind.epochs:
        if (this.#collect(this.#gap, statements) && next !== undefined) this.#askFor(kind, next)
        else this.#closeGap()
        break
      case QueryKind.revocations:
        if (this.#collect(this.#missing, statements) && next !== undefined) this.#askFor(kind, next)
        else this.#closeMissing()
        break
      case QueryKind.announcements:
        for (const statement of statements) this.directory.add(statement, nowMs)
        if (this.#listing !== undefined) this.#listing = { since: this.#options.clock.monotonic() }
        if (next !== undefined) this.#askFor(kind, next)
        else this.#hasDirectory = true
        this.#changed()
        break
      case QueryKind.announcement:
        for (const statement of statements) this.directory.add(statement, nowMs)
        this.#changed()
        break
      case QueryKind.tick:
        break
    }
    if (next === undefined) this.#settle()
  }

  /** @returns whether another page is of use */
  #collect(fetch: Fetch | undefined, statements: readonly Uint8Array[]): boolean {
    if (fetch === undefined) return false
    fetch.since = this.#options.clock.monotonic()
    for (const statement of statements) {
      if (fetch.statementsLeft === 0 || statement.length > fetch.bytesLeft) return false
      fetch.statementsLeft--
      fetch.bytesLeft -= statement.length
      fetch.statements.push(copy(statement))
    }
    return statements.length > 0 && fetch.statementsLeft > 0
  }

  #closeGap(): void {
    const tick = this.#tick
    const statements = this.#gap?.statements
    this.#gap = undefined
    if (tick === undefined || statements === undefined) return
    try {
      this.#accept(statements, { number: tick.number, hash: tick.epochHash })
    } catch (error) {
      // It is the very epoch that a fresh tick names: asking again does not mend it.
      this.#tick = undefined
      if (error instanceof SubrosaError && error.code === 'ERR_ROLLBACK') this.#failJoin(error)
      throw error
    }
  }

  /**
   * The rotation service's whole set. Where it is what a tick names, a revoker whose token has ended since is
   * believed: the service took it in when it had not.
   */
  #closeMissing(): void {
    const tick = this.#tick
    const statements = this.#missing?.statements
    this.#missing = undefined
    if (statements === undefined) return
    const added = tick === undefined ? [] : this.revocations.adopt(statements, tick)
    const nowMs = this.#options.clock.now()
    const single = statements.flatMap((statement) => this.revocations.add(statement, nowMs) ?? [])
    this.#reportRevocations([...added, ...single])
  }

  #accept(statements: readonly Uint8Array[], target: EpochFloor): void {
    const before = this.epochs.head
    const accepted = this.epochs.accept(statements, target, this.#options.clock.now())
    if (before !== undefined && samePublic(accepted.hash, before.hash)) return
    this.directory.invalidate(this.#options.clock.now())
    if (accepted.revocations.length > 0) this.#keptRevocations.changed()
    if (this.#isJoined) this.#announcer.announceSoon(accepted, before)
    this.#changed()
  }

  /** Counts the newest tick once this agent holds the epoch and the revocations that it names. */
  #settle(): void {
    const tick = this.#tick
    if (tick !== undefined && !this.#count(tick)) return
    if (!this.#isJoined && !this.isStale()) this.#completeJoin()
  }

  /** @returns whether the tick counts; where something is missing for that, it has been asked for. */
  #count(tick: Tick): boolean {
    const head = this.epochs.head
    if (head === undefined || !namesEpoch(tick, head)) {
      if (head !== undefined && tick.number < head.number) {
        this.#tick = undefined
        const rollback = new SubrosaError(
          'ERR_ROLLBACK',
          `the rotation service names epoch ${tick.number}, and epoch ${head.number} was seen before`,
        )
        this.#failJoin(rollback)
        throw rollback
      }
      this.#fetchEpochs(tick)
      return false
    }
    if (!this.revocations.holds(tick)) {
      this.#fetchRevocations()
      return false
    }
    this.#tick = undefined
    // Clocks may have moved while it waited for what it names, and it is no newer for that.
    if (!this.#freshness.stillCounts(tick, this.#tickCameAt)) {
      this.#askForTick()
      return false
    }
    this.#freshness.count(tick, this.#tickCameAt)
    this.#sharing.lacks(this.revocations.beyond(tick))
    this.#reported.clear()
    // Timers do not see a suspended machine, nor a wall clock that is set.
    this.#destroyEnded()
    return true
  }

  #fetchEpochs(tick: Tick): void {
    if (this.#isUnderWay(this.#gap) || !this.#fetches.take(this.#options.clock.monotonic())) return
    const from = Math.max(0, Math.min(this.epochs.floor?.number ?? tick.number, tick.number) - 1)
    this.#gap = {
      statements: [],
      since: this.#options.clock.monotonic(),
      statementsLeft: Math.min(MAX_FETCHED_STATEMENTS, tick.number - from + 1),
      bytesLeft: MAX_FETCHED_EPOCH_BYTES,
    }
    this.#asked.giveUp(QueryKind.epochs)
    this.#askFor(QueryKind.epochs, writeCursor(from))
  }

  #fetchRevocations(): void {
    if (this.#isUnderWay(this.#missing) || !this.#fetches.take(this.#options.clock.monotonic())) return
    this.#missing = {
      statements: [],
      since: this.#options.clock.monotonic(),
      statementsLeft: MAX_FETCHED_STATEMENTS,
      bytesLeft: MAX_FETCHED_REVOCATION_BYTES,
    }
    this.#asked.giveUp(QueryKind.revocations)
    this.#askFor(QueryKind.revocations)
  }

  #isUnderWay(fetch: Pick<Fetch, 'since'> | undefined): boolean {
    return fetch !== undefined && this.#options.clock.monotonic() - fetch.since < LOOKUP_TIMEOUT_MS
  }

  #completeJoin(): void {
    if (!this.#hasDirectory) {
      // The next own tick asks again where a question or its answer is lost. A large directory takes several ticks:
      // whoever began anew with each of them would ask for more and more, and never be through.
      if (this.#isUnderWay(this.#listing)) return
      this.#listing = { since: this.#options.clock.monotonic() }
      this.#askFor(QueryKind.announcements)
      return
    }
    this.#listing = undefined
    const current = this.epochs.current(this.#options.clock.now())
    try {
      this.#assertMayJoin(current.length)
      // Before anybody hears of this instance: whoever comes after a crash retires it.
      this.#options.state.keepInstance(hex(this.keyring.instance))
      for (const epoch of [...current].reverse()) this.#announcer.announce(epoch)
    } catch (error) {
      if (error instanceof SubrosaError) this.#failJoin(error)
      throw error
    }
    const [newest] = current
    if (newest !== undefined) this.#announcer.retireFormer(newest)
    this.#announcer.keepRepeating()
    this.#isJoined = true
    this.#trouble = undefined
    this.#changed()
  }

  #assertMayJoin(epochs: number): void {
    const { identity, claims } = this.#options
    if (this.revocations.isRevoked(claims))
      throw new SubrosaError('ERR_REVOKED', `the identity of ${identity.name} is revoked`)
    if (epochs === 0) {
      throw new SubrosaError(
        'ERR_STALE',
        'the newest epoch is over, and the rotation service has published no other',
      )
    }
  }

  /** Wipes the keys whose time is over, and forgets what nothing can be done with any more. */
  #destroyEnded(): void {
    const { clock, feed } = this.#options
    const lateMs = clock.late()
    const latestMs = clock.latest
    this.#options.onTime()
    const destroyed = this.keyring.destroyEnded({ latestMs, lateMs })
    for (const epoch of destroyed) feed.emit({ type: 'destroyed', epoch })
    this.#destroyInTime()
    // By the latest time alone: what guards against repeats goes when no clock makes the repeat young again.
    this.revocations.prune(latestMs)
    const hasForgotten = this.epochs.prune(latestMs)
    if (hasForgotten) {
      this.directory.prune()
      this.#options.onForgotten()
    }
    if (destroyed.length === 0 && !hasForgotten) return
    // Without keys for an epoch nothing is sealed in it.
    this.directory.invalidate(clock.now())
    this.#changed()
  }

  /** Sets the timer for the next keys whose grace ends, again each time: one that fires while a clock is behind is not the last. */
  #destroyInTime(): void {
    const { clock } = this.#options
    const endsAtLateMs = this.keyring.endsAtLateMs
    this.#cancelDestroying()
    if (endsAtLateMs === undefined || this.#isClosed) return
    // A millisecond later: timers may fire early.
    const delayMs = Math.max(0, endsAtLateMs - clock.late()) + 1
    this.#cancelDestroying = this.#timers.after(delayMs, () => this.#destroyEnded())
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
}
