import { hex } from '../base/bytes.ts'
import type { Latest } from '../base/clock.ts'
import { MAX_DIRECTORY_CACHE_BYTES } from '../base/limits.ts'
import { DirectorySync } from '../bus/realm/directory-sync.ts'
import { HashLookups } from '../bus/realm/hash-lookups.ts'
import { attempt } from '../bus/safely.ts'
import { announcementHash, type VerifiedAnnouncement } from '../keys/announcements.ts'
import { Directory } from '../keys/directory.ts'
import type { HeldPlan } from '../keys/plan.ts'
import { Listing } from './listing.ts'
import type { Parts } from './parts.ts'
import type { RotationStore } from './store.ts'

/** What the directory of a rotation service is made of. */
export interface ServiceDirectoryOptions extends Parts {
  /** By it announcements are forgotten. */
  readonly latest: Latest
  readonly store: RotationStore
  /** Asks the other services for ticks. */
  readonly askForTick: () => void
}

/** How long a service that has started may take more of a core to verify announcements: those of its cache, and of its peers. */
const CATCH_UP_MS = 30_000

/** The directory of a rotation service: what it hands on, what of that it lists, and what it finds at its peers. */
export class ServiceDirectory {
  readonly listing: Listing
  /** Compares with peers. */
  readonly sync: DirectorySync
  readonly #options: ServiceDirectoryOptions
  readonly #directory: Directory
  #cachedBytes = 0

  constructor(options: ServiceDirectoryOptions) {
    const { engine, clock, record, fetches } = options
    this.#options = options
    this.#directory = new Directory({
      ...options,
      revocations: record.revocations,
      passesOn: true,
      onClone: () => {},
      onLeftOut: () => {},
      onVerified: (verified, bytes) => this.#verified(verified, bytes),
    })
    this.listing = new Listing({ clock, directory: this.#directory })
    const nobody = { rotators: () => [], isHeld: () => false, onStatement: () => {} }
    const hashOf = (bytes: Uint8Array): Uint8Array | undefined => announcementHash(engine, bytes)
    this.sync = new DirectorySync({
      ...options,
      lookups: new HashLookups({ fetches, hashOf, ...nobody }),
      // It announces nothing itself.
      handOver: { restarted: () => {}, check: () => {} },
      own: () => [],
      directory: this.#directory,
      rotators: () => record.plan?.rotators ?? [],
      onChanged: () => {},
    })
  }

  /** What an earlier process had. */
  load(): void {
    const { clock, timers, store } = this.#options
    const nowMs = clock.now()
    for (const bytes of store.loadAnnouncements()) this.#directory.add(bytes, nowMs)
    timers.after(CATCH_UP_MS, () => this.#directory.joined())
  }

  /** Another plan is acted on. */
  adopt(plan: HeldPlan): void {
    this.#directory.adopt(plan)
    this.sync.adopt()
    this.sync.joined()
    this.changed()
  }

  /** An epoch has begun, or identities were revoked. */
  changed(): void {
    this.#directory.invalidate()
  }

  /** Announced on this subject, or handed over as if it were. */
  add(bytes: Uint8Array, subject: string): void {
    this.#directory.add(bytes, this.#options.clock.now(), { subject })
  }

  /** Announcements of instances that are heard of, from a place on. */
  from(order: number): ReturnType<Directory['proven']> {
    const isSilent = (name: string, instance: string): boolean => this.listing.isSilent(name, instance)
    return this.#directory.proven(this.#options.clock.now(), order, isSilent)
  }

  /** Announcements by their hashes. */
  bytesOf(hashes: readonly Uint8Array[]): readonly Uint8Array[] {
    return this.#directory.bytesOf(hashes)
  }

  /** Forgets what is of epochs that are over. @throws SubrosaError ERR_STATE where the cache cannot be written */
  prune(): void {
    this.#directory.prune()
    const kept = [...this.#directory.kept()]
    this.#cachedBytes = kept.reduce((sum, { length }) => sum + length, 0)
    this.#options.store.setAnnouncements(kept)
  }

  #verified({ announcement, claims, recipient }: VerifiedAnnouncement, bytes: Uint8Array): void {
    const { events, store, onError } = this.#options
    const one = { name: claims.name, instance: hex(announcement.instance) }
    if (recipient === undefined) events.tell({ type: 'retired', ...one })
    else events.tell({ type: 'announced', ...one, epoch: announcement.epoch })
    if (this.#cachedBytes + bytes.length > MAX_DIRECTORY_CACHE_BYTES) return
    this.#cachedBytes += bytes.length
    // A cache: an announcement that cannot be written down is as good as any other.
    attempt(() => store.addAnnouncement(bytes), onError)
  }
}
