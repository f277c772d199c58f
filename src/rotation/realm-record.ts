import { hex, samePublic } from '../base/bytes.ts'
import { type Clock, unconfirmed } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { SUITE_X25519 } from '../envelope/keys.ts'
import type { Identity } from '../identity/identity.ts'
import type { Trust } from '../identity/trust.ts'
import type { ParsedAnnouncement } from '../keys/announcements.ts'
import { Directory } from '../keys/directory.ts'
import { type AcceptedEpoch, EpochChain, FIRST_PREV_HASH, signEpoch } from '../keys/epochs.ts'
import { CARRIED, RevocationSet, type VerifiedRevocation } from '../keys/revocations.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeEpoch, decodeStatement } from '../wire/statements.ts'
import type { RotationStore } from './store.ts'
import type { RotationTimes } from './times.ts'

/** What a record is made of. */
export interface RealmRecordOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly identity: Identity
  readonly store: RotationStore
  readonly clock: Clock
  /** Whether this service is one of several replicas. */
  readonly isShared: boolean
}

/** An epoch that was ever published. */
export interface RecordedEpoch {
  readonly number: number
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
}

const TICK_RESERVE_MS = 2000

/**
 * What a rotation service holds of its realm, and must not lose: epochs, revocations, announcements, and how far it
 * has ticked. Every change is durable when the call returns.
 */
export class RealmRecord {
  readonly epochs: EpochChain
  readonly revocations: RevocationSet
  readonly directory: Directory
  readonly #options: RealmRecordOptions
  /** By hash, oldest first. */
  #recorded: ReadonlyMap<string, RecordedEpoch> = new Map()
  #pending: Uint8Array | undefined
  #tickedUntil: number
  #lastTickNow: number
  #mayWrite = false
  #isBelieved: boolean

  /** @throws SubrosaError ERR_STATE, and what {@link EpochChain.accept} throws */
  constructor(options: RealmRecordOptions) {
    const { engine, trust, store, clock, isShared } = options
    const stored = store.load()
    if (stored.isShared && !isShared) throw ofReplica(stored.epochs.at(-1))
    this.#options = options
    this.revocations = new RevocationSet(engine, trust, unconfirmed, CARRIED)
    this.epochs = new EpochChain({
      engine,
      trust,
      revocations: this.revocations,
      floor: undefined,
      keepFloor: () => this.#save(),
    })
    this.directory = new Directory({
      engine,
      trust,
      epochs: this.epochs,
      revocations: this.revocations,
      passesOn: true,
      monotonic: () => clock.monotonic(),
      onClone: () => {},
      onRefused: () => {},
    })
    this.#pending = stored.pending
    this.#tickedUntil = stored.tickedUntil
    this.#lastTickNow = stored.tickedUntil
    this.#isBelieved = !isShared || stored.epochs.length > 0
    // The epochs first: a rotator may have been revoked since it signed them.
    this.#restore(stored.epochs)
    for (const bytes of stored.revocations) this.revocations.addCarried(bytes, clock.now())
    this.#mayWrite = true
    if (isShared) this.#save()
  }

  /** The newest epoch, once there is one. */
  get head(): AcceptedEpoch | undefined {
    return this.epochs.head
  }

  /** Every epoch that was ever published, oldest first. */
  get published(): readonly RecordedEpoch[] {
    return [...this.#recorded.values()]
  }

  /**
   * Whether this record is known to be that of the realm. That of a replica which began with nothing is not, until
   * {@link believe}: it knows no more than what it was shown, and writes nothing.
   */
  get isBelieved(): boolean {
    return this.#isBelieved
  }

  /** Somebody vouches for what is held, or there is no realm yet. */
  believe(): void {
    this.#isBelieved = true
    this.#save()
    this.#saveAnnouncements()
  }

  /** Whether this very epoch was published. */
  has(hash: Uint8Array): boolean {
    return this.#recorded.has(hex(hash))
  }

  /**
   * The next epoch: the one that was signed before and may have been seen, where it still follows and agents would
   * accept it, else one that begins now. Nothing is kept, and agents may refuse it: see {@link judge}.
   */
  nextEpoch({ epochMs, graceMs }: RotationTimes, nowMs: number): Uint8Array {
    if (this.#pending !== undefined && this.#isNext(this.#pending, nowMs)) return this.#pending
    const { identity, trust } = this.#options
    return signEpoch(
      identity,
      {
        realm: trust.realm,
        number: (this.head?.number ?? 0) + 1,
        prevHash: this.head?.hash ?? FIRST_PREV_HASH,
        // Never earlier: the revocations that it must carry, and the token that signs it, are judged as of then.
        notBefore: nowMs,
        notAfter: nowMs + epochMs,
        graceMs,
        suites: [SUITE_X25519],
        revocations: this.revocations.inForce(nowMs).map(({ bytes }) => bytes),
      },
      identity.token,
    )
  }

  /** Judges an epoch that follows the newest one as agents will, and changes nothing. @throws as {@link accept} */
  judge(bytes: Uint8Array, nowMs: number): void {
    const { engine, trust } = this.#options
    const { revocations } = this
    const chain = new EpochChain({ engine, trust, revocations, floor: undefined, keepFloor: () => {} })
    const before = this.head === undefined ? [] : [this.head.bytes]
    chain.accept([...before, bytes], chain.peek(bytes), nowMs)
  }

  /** Remembers an epoch that is about to be shown: no other one of its number is signed as long as it may count. */
  keepPending(bytes: Uint8Array): void {
    this.#pending = bytes
    this.#save()
  }

  /**
   * Accepts an epoch and those before it that are offered with it. They are stored before anybody sees them: one that
   * was seen and then forgotten would fork the realm, and one that agents refuse would end it.
   *
   * @param nowMs as of when the newest is judged
   * @throws SubrosaError as {@link EpochChain.accept}, ERR_STATE
   */
  accept(newest: Uint8Array, offered: readonly Uint8Array[], nowMs: number): AcceptedEpoch {
    const before = { recorded: this.#recorded, pending: this.#pending }
    const target = this.epochs.peek(newest)
    this.#recorded = new Map([...before.recorded, ...this.#following(newest, offered)])
    if (before.pending !== undefined && this.epochs.peek(before.pending).number <= target.number)
      this.#pending = undefined
    try {
      return this.epochs.accept([...offered, newest], target, nowMs)
    } catch (error) {
      this.#recorded = before.recorded
      this.#pending = before.pending
      throw error
    }
  }

  /** Takes in revocations on their own: each is verified. @returns those that are new */
  addRevocations(statements: readonly Uint8Array[]): readonly VerifiedRevocation[] {
    const nowMs = this.#options.clock.now()
    return this.#added(statements.flatMap((bytes) => this.revocations.add(bytes, nowMs) ?? []))
  }

  /** Takes in revocations for which another replica vouches. @returns those that are new */
  addCarried(statements: readonly Uint8Array[]): readonly VerifiedRevocation[] {
    const nowMs = this.#options.clock.now()
    return this.#added(statements.flatMap((bytes) => this.revocations.addVouched(bytes, nowMs) ?? []))
  }

  /** Takes in the whole set of the replica that leads, where a tick names it. @returns those that are new */
  adopt(
    statements: readonly Uint8Array[],
    tick: { readonly now: number; readonly revocationsHash: Uint8Array },
  ): readonly VerifiedRevocation[] {
    return this.#added(this.revocations.adopt(statements, tick))
  }

  /**
   * Takes in an announcement.
   *
   * @param subject on which it was announced. Default: it came in a page
   * @returns it, where it is new and proved
   */
  addAnnouncement(bytes: Uint8Array, subject?: string): ParsedAnnouncement | undefined {
    const nowMs = this.#options.clock.now()
    const parsed = this.directory.add(bytes, nowMs, subject)
    if (parsed === undefined || this.directory.sender(parsed.hash, nowMs).standing !== 'known')
      return undefined
    if (this.#isBelieved) this.#options.store.addAnnouncement(parsed.bytes)
    return parsed
  }

  /** The time that the next tick says: later than every tick before, and none repeats after a crash. */
  takeTickTime(): number {
    const now = Math.max(this.#options.clock.now(), this.#lastTickNow + 1)
    this.#lastTickNow = now
    if (now > this.#tickedUntil) {
      // A reserve, so that not every tick costs a write.
      this.#tickedUntil = now + TICK_RESERVE_MS
      this.#save()
    }
    return now
  }

  /** Another replica has ticked. From a clock that is far ahead it does not count: agents refuse such ticks too. */
  heardTick(now: number): void {
    if (now <= this.#options.clock.now() + CLOCK_WINDOW_MS)
      this.#lastTickNow = Math.max(this.#lastTickNow, now)
  }

  /** Forgets what is over. */
  forget(): void {
    const nowMs = this.#options.clock.now()
    this.epochs.prune(nowMs)
    this.revocations.prune(nowMs)
    this.directory.prune()
    if (this.#isBelieved) this.#saveAnnouncements()
  }

  /** Gives back what was reserved and not used, or each restart would begin further ahead of the clock. */
  close(): void {
    try {
      this.#tickedUntil = this.#lastTickNow
      this.#save()
    } finally {
      this.#options.store.close()
    }
  }

  #added(added: readonly VerifiedRevocation[]): readonly VerifiedRevocation[] {
    if (added.length === 0) return added
    this.directory.invalidate(this.#options.clock.now())
    this.#save()
    return added
  }

  #isNext(pending: Uint8Array, nowMs: number): boolean {
    const { prevHash } = decodeEpoch(decodeStatement(WireType.epoch, pending).structure)
    if (!samePublic(prevHash, this.head?.hash ?? FIRST_PREV_HASH)) return false
    try {
      this.judge(pending, nowMs)
      return true
    } catch {
      return false
    }
  }

  #restore(statements: readonly Uint8Array[]): void {
    this.#recorded = new Map(statements.map((bytes) => this.#entryOf(bytes)))
    const newest = statements.at(-1)
    if (newest === undefined) return
    const target = this.epochs.peek(newest)
    // As of when it was made: the token that signed it may have been renewed since.
    this.epochs.accept(statements, target, target.notBefore)
    const nowMs = this.#options.clock.now()
    for (const bytes of this.#options.store.loadAnnouncements()) this.directory.add(bytes, nowMs)
  }

  /** The newest and those before it, back to the newest that is published; oldest first. */
  #following(
    newest: Uint8Array,
    offered: readonly Uint8Array[],
  ): readonly (readonly [string, RecordedEpoch])[] {
    const byHash = new Map(offered.map((bytes) => this.#entryOf(bytes)))
    const following: (readonly [string, RecordedEpoch])[] = []
    for (let bytes: Uint8Array | undefined = newest; bytes !== undefined; ) {
      following.unshift(this.#entryOf(bytes))
      const { prevHash } = decodeEpoch(decodeStatement(WireType.epoch, bytes).structure)
      bytes = this.has(prevHash) ? undefined : byHash.get(hex(prevHash))?.bytes
    }
    return following
  }

  #entryOf(bytes: Uint8Array): readonly [string, RecordedEpoch] {
    const { number, hash } = this.epochs.peek(bytes)
    return [hex(hash), { number, hash, bytes }]
  }

  #saveAnnouncements(): void {
    const { store } = this.#options
    store.setAnnouncements([...this.directory.kept()])
  }

  #save(): void {
    if (!this.#mayWrite || !this.#isBelieved) return
    const { store, clock, isShared } = this.#options
    store.save({
      epochs: this.published.map(({ bytes }) => bytes),
      revocations: this.revocations.inForce(clock.now()).map(({ bytes }) => bytes),
      tickedUntil: this.#tickedUntil,
      pending: this.#pending,
      isShared: isShared || undefined,
    })
  }
}

function ofReplica(newest: Uint8Array | undefined): SubrosaError {
  // Whoever goes back to one service compares the records by it.
  const reach =
    newest === undefined
      ? 'without an epoch'
      : `up to epoch ${decodeEpoch(decodeStatement(WireType.epoch, newest).structure).number}`
  return new SubrosaError(
    'ERR_STATE',
    `this is the record of a replica, ${reach}: others may have published since`,
    {
      hint: 'start it with --jetstream; or stop every other replica for good, and start the one whose epoch is newest with --alone',
    },
  )
}
