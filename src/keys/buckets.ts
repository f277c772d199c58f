import { compareBytes, fromHex, samePublic } from '../base/bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { HASH_BYTES } from '../wire/fields.ts'
import { malformed } from '../wire/msgpack.ts'

/** Hashes are divided by their first byte. */
export const BUCKET_COUNT = 256
/** Of the hash of a bucket, in bytes. */
export const BUCKET_HASH_BYTES = 16
/** Of an empty bucket: most are, in a small realm. SHA-256 of nothing, cut. */
const EMPTY_HASH = fromHex('e3b0c44298fc1c149afbf4c8996fb924')

/** What one bucket holds, and its hash where that was computed since the last change. */
interface Bucket {
  hashes: Uint8Array[]
  isSorted: boolean
  hash: Uint8Array | undefined
}

/**
 * The hashes of what a directory holds, so divided that two directories can find what one of them lacks by comparing little.
 * SPEC, "Reconciling".
 *
 * @example
 * ```ts
 * const buckets = new Buckets(engine)
 * buckets.add(announcement.hash)
 * buckets.root() // as in a tick
 * ```
 */
export class Buckets {
  readonly #engine: Pick<CryptoEngine, 'sha256'>
  readonly #buckets = Array.from({ length: BUCKET_COUNT }, emptyBucket)
  #allHashes: Uint8Array | undefined
  #root: Uint8Array | undefined

  constructor(engine: Pick<CryptoEngine, 'sha256'>) {
    this.#engine = engine
  }

  /** Adds a hash of 32 bytes that is not there yet. It is kept as it is: no copy is made. */
  add(hash: Uint8Array): void {
    const bucket = this.#bucket(bucketOf(hash))
    bucket.hashes.push(hash)
    this.#changed(bucket)
  }

  /** Removes a hash, where it is there. */
  remove(hash: Uint8Array): void {
    const bucket = this.#bucket(bucketOf(hash))
    const index = bucket.hashes.findIndex((other) => samePublic(other, hash))
    if (index < 0) return
    bucket.hashes.splice(index, 1)
    this.#changed(bucket)
  }

  /** The hash of a bucket: 16 bytes. */
  hashOf(bucket: number): Uint8Array {
    const held = this.#bucket(bucket)
    held.hash ??= bucketHash(this.#engine, this.hashes(bucket))
    return held.hash
  }

  /** What is in a bucket, in ascending order. */
  hashes(bucket: number): readonly Uint8Array[] {
    const held = this.#bucket(bucket)
    if (!held.isSorted) held.hashes.sort(compareBytes)
    held.isSorted = true
    return held.hashes
  }

  /** The hashes of all buckets, one after the other: 256 × 16 bytes. */
  hashesOfAll(): Uint8Array {
    if (this.#allHashes === undefined) {
      this.#allHashes = new Uint8Array(BUCKET_COUNT * BUCKET_HASH_BYTES)
      for (let i = 0; i < BUCKET_COUNT; i++) this.#allHashes.set(this.hashOf(i), i * BUCKET_HASH_BYTES)
    }
    return this.#allHashes
  }

  /** The root over all buckets: 32 bytes. */
  root(): Uint8Array {
    this.#root ??= rootOf(this.#engine, this.hashesOfAll())
    return this.#root
  }

  #bucket(index: number): Bucket {
    const bucket = this.#buckets[index]
    if (bucket === undefined) throw new RangeError(`bucket must be from 0 to ${BUCKET_COUNT - 1}`)
    return bucket
  }

  #changed(bucket: Bucket): void {
    bucket.isSorted = false
    bucket.hash = undefined
    this.#allHashes = undefined
    this.#root = undefined
  }
}

/** The bucket of a hash. */
export function bucketOf(hash: Uint8Array): number {
  return hash[0] ?? 0
}

/** The hash of a bucket that holds these hashes, which are in ascending order. */
export function bucketHash(engine: Pick<CryptoEngine, 'sha256'>, hashes: readonly Uint8Array[]): Uint8Array {
  return hashes.length === 0 ? EMPTY_HASH : engine.sha256(...hashes).slice(0, BUCKET_HASH_BYTES)
}

/** The hash of one bucket among those of all. A view. */
export function bucketHashAt(bucketHashes: Uint8Array, bucket: number): Uint8Array {
  return bucketHashes.subarray(bucket * BUCKET_HASH_BYTES, (bucket + 1) * BUCKET_HASH_BYTES)
}

/** The root over the hashes of all buckets, which stand one after the other. */
export function rootOf(engine: Pick<CryptoEngine, 'sha256'>, bucketHashes: Uint8Array): Uint8Array {
  return engine.sha256(bucketHashes)
}

/**
 * The hashes of all buckets, as a service lists them.
 *
 * @param statement of a page of kind 6 that answers a query without a cursor
 * @returns a copy
 * @throws SubrosaError ERR_MALFORMED
 */
export function readBucketHashes(statement: Uint8Array): Uint8Array {
  if (statement.length !== BUCKET_COUNT * BUCKET_HASH_BYTES) throw malformed('page', 'statements')
  return new Uint8Array(statement)
}

/**
 * Everything in one bucket, as a service lists it.
 *
 * @param statement of a page of kind 6 that answers a query for this bucket
 * @returns copies, in ascending order
 * @throws SubrosaError ERR_MALFORMED for anything but hashes of this bucket, each once and in ascending order
 */
export function readListing(bucket: number, statement: Uint8Array): readonly Uint8Array[] {
  if (statement.length % HASH_BYTES !== 0) throw malformed('page', 'statements')
  const bytes = new Uint8Array(statement)
  const hashes: Uint8Array[] = []
  for (let start = 0; start < bytes.length; start += HASH_BYTES) {
    const hash = bytes.subarray(start, start + HASH_BYTES)
    const last = hashes.at(-1)
    const isInOrder = last === undefined || compareBytes(last, hash) < 0
    if (bucketOf(hash) !== bucket || !isInOrder) throw malformed('page', 'statements')
    hashes.push(hash)
  }
  return hashes
}

function emptyBucket(): Bucket {
  return { hashes: [], isSorted: true, hash: undefined }
}
