import { describe, expect, it } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import { Buckets, bucketOf, readBucketHashes, readListing } from '../../src/keys/buckets.ts'
import { engine } from '../support/identities.ts'
import { codeOf } from '../support/statements.ts'

const hashes = (count: number): Uint8Array[] => Array.from({ length: count }, () => engine.randomBytes(32))

/** A hash in this bucket. */
function inBucket(bucket: number, second: number): Uint8Array {
  return new Uint8Array(32).fill(bucket, 0, 1).fill(second, 1, 2)
}

/** The root as SPEC has it, computed in one piece. */
function rootOf(all: readonly Uint8Array[]): Uint8Array {
  const sorted = [...all].sort((a, b) => Buffer.compare(a, b))
  const buckets = Array.from({ length: 256 }, (_, i) =>
    engine.sha256(concat(...sorted.filter((hash) => hash[0] === i))).slice(0, 16),
  )
  return engine.sha256(concat(...buckets))
}

describe('buckets', () => {
  it('have the root of SPEC, in whatever order the hashes come, also after some have gone', () => {
    const all = hashes(1000)
    const buckets = new Buckets(engine)
    expect(buckets.root()).toEqual(rootOf([]))
    for (const hash of all) buckets.add(hash)
    expect(buckets.root()).toEqual(rootOf(all))
    for (const hash of all.slice(0, 500)) buckets.remove(hash)
    buckets.remove(engine.randomBytes(32))
    expect(buckets.root()).toEqual(rootOf(all.slice(500)))
    const reversed = new Buckets(engine)
    for (const hash of all.slice(500).reverse()) reversed.add(hash)
    expect(reversed.hashesOfAll()).toEqual(buckets.hashesOfAll())
  })

  it('list what is in one of them in ascending order', () => {
    const buckets = new Buckets(engine)
    for (const second of [3, 1, 2]) buckets.add(inBucket(7, second))
    buckets.add(inBucket(8, 0))
    expect(buckets.hashes(7).map((hash) => hash[1])).toEqual([1, 2, 3])
    expect(bucketOf(inBucket(7, 1))).toBe(7)
    expect(buckets.hashOf(7)).toEqual(engine.sha256(...buckets.hashes(7)).slice(0, 16))
    expect(() => buckets.hashOf(256)).toThrow(RangeError)
  })
})

describe('what a service says of its buckets', () => {
  it('is copied, since the page that it came in is used again', () => {
    const listing = concat(inBucket(7, 1), inBucket(7, 2))
    const read = readListing(7, listing)
    const all = new Uint8Array(256 * 16).fill(1)
    const copied = readBucketHashes(all)
    listing.fill(0)
    all.fill(0)
    expect(read).toEqual([inBucket(7, 1), inBucket(7, 2)])
    expect(copied[0]).toBe(1)
    expect(readListing(7, new Uint8Array(0))).toEqual([])
  })

  it.each([
    ['a piece of a hash', concat(inBucket(7, 1), new Uint8Array(31))],
    ['a hash of another bucket', concat(inBucket(7, 1), inBucket(8, 1))],
    ['hashes in another order', concat(inBucket(7, 2), inBucket(7, 1))],
    ['a hash twice', concat(inBucket(7, 1), inBucket(7, 1))],
  ])('is refused with %s', (_, statement) => {
    expect(codeOf(() => readListing(7, statement))).toBe('ERR_MALFORMED')
  })

  it('is refused with too few hashes of buckets, or too many', () => {
    for (const length of [0, 255 * 16, 256 * 16 + 1])
      expect(codeOf(() => readBucketHashes(new Uint8Array(length)))).toBe('ERR_MALFORMED')
  })
})
