import { hex, samePublic } from '../base/bytes.ts'
import type { HouseClock } from '../base/house-clock.ts'
import { SILENT_INSTANCE_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Plan } from '../wire/plans.ts'
import type { AnnouncementStore, HeldAnnouncement, KnownInstance } from './announcement-store.ts'
import {
  BUCKET_COUNT,
  BUCKET_HASH_BYTES,
  type Buckets,
  bucketHash,
  bucketHashAt,
  bucketOf,
  rootOf,
} from './buckets.ts'

const SECOND_MS = 1000
/** Entries are dated to the second: by then each is older than it may be. */
const JUDGED_AFTER_MS = SILENT_INSTANCE_MS + 2 * SECOND_MS

/** What one rotation service was last seen to list. */
interface Listing {
  /** The hashes of its buckets, one after the other. */
  readonly hashes: Uint8Array
  /** When what is in each of them was last seen, by the monotonic clock. */
  readonly seenAt: Float64Array
}

/** An instance of which rotation services have spoken otherwise than before. */
export interface Heard {
  readonly instance: KnownInstance
  /** Whether it is silent now. */
  readonly isSilent: boolean
}

/** What listings are compared with. */
export interface ListingsOptions {
  readonly engine: Pick<CryptoEngine, 'sha256'>
  readonly clock: Pick<HouseClock, 'monotonic'>
  readonly store: Pick<AnnouncementStore, 'get' | 'noteListed' | 'forgetAbsences'>
  /** The own directory. */
  readonly own: () => Buckets
}

/**
 * What the rotation services of the plan list, and which entries of the own directory they do not: an instance that was killed
 * is pinging nobody, so one service after the other lists it no more. What `threshold` of them do not list, and was held
 * here for long, is silent. One service alone takes nobody out, and whoever is listed again is in again. SPEC, "Silent
 * instances".
 *
 * Services are named by their place in the plan.
 */
export class Listings {
  readonly #options: ListingsOptions
  readonly #listings = new Map<number, Listing>()
  /** When something last came into each of the own buckets, by the monotonic clock. */
  readonly #newest = new Float64Array(BUCKET_COUNT).fill(Number.NEGATIVE_INFINITY)
  #threshold = Number.POSITIVE_INFINITY

  constructor(options: ListingsOptions) {
    this.#options = options
  }

  /** Another plan counts: what the services of the former one do not list is forgotten. */
  adopt({ threshold }: Pick<Plan, 'threshold'>): void {
    this.#threshold = threshold
    this.#listings.clear()
    this.#options.store.forgetAbsences()
  }

  /** Something has come into the own directory. */
  came({ verified }: HeldAnnouncement): void {
    this.#newest[bucketOf(verified.hash)] = this.#options.clock.monotonic()
  }

  /** A copy of this came to nothing: what services list in its bucket was not all here, and is asked for again. */
  spoilt(hash: Uint8Array): void {
    const at = bucketOf(hash) * BUCKET_HASH_BYTES
    for (const { hashes } of this.#listings.values()) hashes.fill(0, at, at + BUCKET_HASH_BYTES)
  }

  /** Whether too many services do not list an entry. */
  isSilent({ absentAt }: HeldAnnouncement): boolean {
    return absentAt !== 0 && countBits(absentAt) >= this.#threshold
  }

  /** Whether a service with this root has nothing to say that is not known. */
  isKnownRoot(rotator: number, root: Uint8Array): boolean {
    const { engine, own } = this.#options
    const buckets = own()
    if (samePublic(buckets.root(), root)) return true
    const listing = this.#listings.get(rotator)
    if (listing === undefined || !samePublic(rootOf(engine, listing.hashes), root)) return false
    return this.#toAsk(listing, listing.hashes, buckets).length === 0
  }

  /** A service has this root. Where it is the own one, it lists all that is held here. @returns who is heard of again */
  noteRoot(rotator: number, root: Uint8Array): readonly Heard[] {
    const own = this.#options.own()
    const hashes = own.hashesOfAll()
    const listing = this.#listings.get(rotator)
    // What was seen to list all that is held here had nothing absent.
    if (listing !== undefined && samePublic(listing.hashes, hashes)) return []
    return samePublic(own.root(), root) ? this.noteBuckets(rotator, hashes).heard : []
  }

  /**
   * A service has buckets with these hashes.
   *
   * @returns those to be asked for; and who is heard of again, since they are as the own ones
   */
  noteBuckets(
    rotator: number,
    hashes: Uint8Array,
  ): { readonly toAsk: readonly number[]; readonly heard: readonly Heard[] } {
    const own = this.#options.own()
    const heard: Heard[] = []
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      if (samePublic(bucketHashAt(hashes, bucket), own.hashOf(bucket)))
        heard.push(...this.noteListing(rotator, bucket, own.hashes(bucket)))
    }
    return { toAsk: this.#toAsk(this.#listing(rotator), hashes, own), heard }
  }

  /** A service lists these in a bucket, and nothing else. They are in ascending order. @returns of whom it speaks otherwise now */
  noteListing(rotator: number, bucket: number, hashes: readonly Uint8Array[]): readonly Heard[] {
    const { engine, clock, own, store } = this.#options
    const nowMs = clock.monotonic()
    const listing = this.#listing(rotator)
    listing.hashes.set(bucketHash(engine, hashes), bucket * BUCKET_HASH_BYTES)
    listing.seenAt[bucket] = nowMs
    const listed = new Set(hashes.map(hex))
    const heard: Heard[] = []
    for (const hash of own().hashes(bucket)) {
      const entry = store.get(hex(hash))
      if (entry === undefined) continue
      const wasSilent = this.isSilent(entry)
      const isListed = listed.has(entry.hash)
      const isJudged = isListed || nowMs - entry.sinceS * SECOND_MS > SILENT_INSTANCE_MS
      if (!isJudged) continue
      store.noteListed(entry, 1 << rotator, isListed)
      const isSilent = this.isSilent(entry)
      if (isSilent !== wasSilent) heard.push({ instance: entry.instance, isSilent })
    }
    return heard
  }

  #listing(rotator: number): Listing {
    const known = this.#listings.get(rotator)
    if (known !== undefined) return known
    const listing = {
      hashes: new Uint8Array(BUCKET_COUNT * BUCKET_HASH_BYTES),
      seenAt: new Float64Array(BUCKET_COUNT).fill(Number.NEGATIVE_INFINITY),
    }
    this.#listings.set(rotator, listing)
    return listing
  }

  /** The buckets that differ from the own ones, and were not seen as they are; or were seen when something was too young. */
  #toAsk(listing: Listing, hashes: Uint8Array, own: Buckets): readonly number[] {
    const toAsk: number[] = []
    for (let bucket = 0; bucket < BUCKET_COUNT; bucket++) {
      const theirs = bucketHashAt(hashes, bucket)
      if (samePublic(theirs, own.hashOf(bucket))) continue
      const wasSeen = samePublic(theirs, bucketHashAt(listing.hashes, bucket))
      if (!wasSeen || this.#isDue(listing, bucket)) toAsk.push(bucket)
    }
    return toAsk
  }

  /** Whether all in the own bucket was held for long by now, and was not when the service's was last seen. */
  #isDue({ seenAt }: Listing, bucket: number): boolean {
    const judgedFrom = (this.#newest[bucket] ?? Number.NEGATIVE_INFINITY) + JUDGED_AFTER_MS
    const seen = seenAt[bucket] ?? Number.NEGATIVE_INFINITY
    return judgedFrom <= this.#options.clock.monotonic() && seen < judgedFrom
  }
}

function countBits(bits: number): number {
  let count = 0
  for (let left = bits; left !== 0; left &= left - 1) count++
  return count
}
