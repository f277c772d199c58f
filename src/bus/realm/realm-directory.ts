import { hex } from '../../base/bytes.ts'
import { MAX_CATCHING_UP_MS, MAX_LOOKUPS_PER_SECOND, MAX_SMALL_DIRECTORY } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { Timers } from '../../base/timers.ts'
import { announcementHash, type ParsedAnnouncement } from '../../keys/announcements.ts'
import { Directory } from '../../keys/directory.ts'
import type { Epoch, Epochs } from '../../keys/epochs.ts'
import type { NameOwners } from '../../keys/name-owners.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import type { Tick } from '../../wire/ticks.ts'
import type { Context } from '../context.ts'
import type { LeftOutReports } from '../left-out.ts'
import type { NatsMessage } from '../nats-like.ts'
import { DirectoryListing } from './directory-listing.ts'
import { DirectorySync } from './directory-sync.ts'
import { HandOver } from './hand-over.ts'
import { HashLookups } from './hash-lookups.ts'
import type { PageFetches } from './page-fetches.ts'

/** What the directory of a link works with. */
export interface RealmDirectoryOptions extends Context {
  readonly timers: Timers
  readonly epochs: Epochs
  readonly revocations: RevocationSet
  readonly owners: NameOwners
  readonly fetches: PageFetches
  readonly leftOut: LeftOutReports
  /** The rotation services of the plan, in its order. */
  readonly rotators: () => readonly string[]
  /** Those that have answered lately, in a random order. */
  readonly answering: () => readonly string[]
  /** The own announcements in use. */
  readonly own: () => readonly ParsedAnnouncement[]
  /** The hashes of those that every rotation service should list by now. */
  readonly established: () => readonly Uint8Array[]
  /** Whether this instance has keys of an epoch. */
  readonly hasKeys: (epoch: Epoch) => boolean
  /** Asks the rotation services for ticks, soon. */
  readonly askForTick: () => void
  /** Called with the version of the plan that a verified token names. */
  readonly onClaimed: (version: number) => void
  readonly onChanged: () => void
  /** Called when {@link RealmDirectory.isReady} may say otherwise. */
  readonly onReady: () => void
}

/** The directory of one agent, and all that keeps it in step with those of the rotation services: SPEC, "Directory". */
export class RealmDirectory {
  readonly directory: Directory
  readonly #options: RealmDirectoryOptions
  readonly #lookups: HashLookups
  readonly #handOver: HandOver
  readonly #sync: DirectorySync
  readonly #listing: DirectoryListing
  readonly #budget = new RateLimit(MAX_LOOKUPS_PER_SECOND)
  #isWhole = false
  /** Whether announcements that wait to be verified are waited for no longer. */
  #mayBeBehind = false

  constructor(options: RealmDirectoryOptions) {
    const { engine, trust, clock, timers, epochs, revocations, owners, feed } = options
    const { fetches, leftOut, rotators, answering, own, onClaimed, onChanged, onReady } = options
    this.#options = options
    this.directory = new Directory({
      engine,
      trust,
      epochs,
      revocations,
      latest: () => clock.latest,
      owners,
      clock,
      timers,
      canSealIn: options.hasKeys,
      onClone: ({ claims: { name }, announcement }) =>
        feed.emit({ type: 'clone', name, instance: hex(announcement.instance) }),
      onLeftOut: (leftOutOne) => leftOut.report(leftOutOne),
      onVerified: (verified) => onClaimed(verified.claims.plan ?? 0),
      onCaughtUp: () => {
        onChanged()
        onReady()
      },
    })
    const { directory } = this
    const take = (bytes: Uint8Array): void => void directory.add(bytes, clock.now(), { isAsked: true })
    this.#lookups = new HashLookups({
      fetches,
      rotators: answering,
      hashOf: (bytes) => announcementHash(engine, bytes),
      isHeld: (hash) => directory.has(hash),
      onStatement: (bytes) => {
        take(bytes)
        onChanged()
      },
    })
    const lookups = this.#lookups
    this.#handOver = new HandOver({ engine, timers, fetches, lookups, rotators: answering, own })
    this.#sync = new DirectorySync({
      engine,
      clock,
      timers,
      fetches,
      lookups,
      handOver: this.#handOver,
      directory,
      rotators,
      own: options.established,
      askForTick: options.askForTick,
      onChanged,
    })
    this.#listing = new DirectoryListing({
      timers,
      fetches,
      rotators: answering,
      onStatement: take,
      onChanged,
      onWhole: () => this.#whole(),
    })
  }

  /** Whether the whole directory of a rotation service is here, and proved as far as that takes no long time. */
  get isReady(): boolean {
    return this.#isWhole && (this.directory.unverified === 0 || this.#mayBeBehind)
  }

  /** Asks for the whole directory, where it is not here yet. */
  begin(): void {
    if (!this.#isWhole) this.#listing.begin()
  }

  /** The agent has joined: it compares directories from now on. */
  joined(): void {
    this.directory.joined()
    this.#sync.joined()
  }

  /** Another plan. */
  adopt(plan: HeldPlan): void {
    this.directory.adopt(plan)
    this.#sync.adopt()
  }

  /** Somebody has announced something. */
  take({ data, subject }: NatsMessage): void {
    const { clock, onChanged } = this.#options
    if (this.directory.add(data, clock.now(), { subject }) !== undefined) onChanged()
  }

  /** A tick has counted. */
  counted(tick: Tick): void {
    this.#sync.counted(tick)
  }

  /** A rotation service has signed that its directory has, or had, this root. */
  named(rotator: string, root: Uint8Array): void {
    this.#sync.named(rotator, root)
  }

  /** Whether a rotation service whose directory has this root has nothing to say that is not known. */
  isKnownRoot(rotator: string, root: Uint8Array): boolean {
    return this.#sync.isKnownRoot(rotator, root)
  }

  /** This instance has announced something, or its connection is a new one: it finds out whether that is held. */
  handOver(): void {
    this.#handOver.announced()
  }

  /** Asks for what may have been missed: all of a small directory, and what differs of a large one. */
  refresh(): void {
    const [rotator] = this.#options.answering()
    if (this.directory.size <= MAX_SMALL_DIRECTORY) this.#listing.begin()
    else if (rotator !== undefined) this.#sync.refresh(rotator)
  }

  /** Asks for one announcement by its hash, within a budget. @returns whether it is asked for */
  lookUp(hash: Uint8Array): boolean {
    // A budget: the wall clock would refill it whenever it is set.
    return this.#budget.take(this.#options.clock.monotonic()) && this.#lookups.want(hash)
  }

  #whole(): void {
    const { timers, onReady } = this.#options
    this.#isWhole = true
    // Junk that waits to be verified holds up no join for long.
    timers.after(MAX_CATCHING_UP_MS, () => {
      this.#mayBeBehind = true
      onReady()
    })
    onReady()
  }
}
