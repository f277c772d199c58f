import { describe, expect, it } from 'vitest'
import {
  MAX_REVOCATION_BYTES,
  MAX_REVOCATION_BYTES_HELD,
  MAX_REVOCATIONS,
  MAX_REVOCATIONS_HELD,
} from '../../src/base/limits.ts'
import { RevocationShelf } from '../../src/keys/revocation-shelf.ts'
import type { VerifiedRevocation } from '../../src/keys/revocations.ts'
import { engine } from '../support/identities.ts'

const NOW = 1_000_000_000
let made = 0

/** One as it is after it was verified, each other than all before. */
function one(
  byAuthority: boolean,
  { identity = 'alice', length = 10, since = NOW, until = 2 * NOW } = {},
): VerifiedRevocation {
  const hash = new Uint8Array(32)
  new DataView(hash.buffer).setUint32(0, ++made * 2_654_435_761)
  new DataView(hash.buffer).setUint32(4, made)
  const revocation = { realm: 'R', identity, since, until, reason: '', past: 0 as const }
  return {
    revocation,
    hash,
    byAuthority,
    bytes: new Uint8Array(length),
    revoker: byAuthority ? undefined : 'guard',
  }
}

/** Fills a shelf with as many as it takes. @returns how many */
function fill(shelf: RevocationShelf, make: () => VerifiedRevocation): number {
  let taken = 0
  while (shelf.put(make())) taken++
  return taken
}

describe('a shelf of revocations', () => {
  it('has a bounded number of places, of which revokers leave as many as the door lets in of the authority', () => {
    const shelf = new RevocationShelf(engine)
    expect(fill(shelf, () => one(false))).toBe(MAX_REVOCATIONS_HELD - MAX_REVOCATIONS)
    expect(fill(shelf, () => one(true))).toBe(MAX_REVOCATIONS)
    expect(shelf.size).toBe(MAX_REVOCATIONS_HELD)
    expect(fill(new RevocationShelf(engine), () => one(true))).toBe(MAX_REVOCATIONS_HELD)
  })

  it('has a bounded number of bytes, with the same part for the authority', () => {
    const length = 32 * 1024
    const shelf = new RevocationShelf(engine)
    const revokers = (MAX_REVOCATION_BYTES_HELD - MAX_REVOCATION_BYTES) / length
    expect(fill(shelf, () => one(false, { length }))).toBe(revokers)
    expect(fill(shelf, () => one(true, { length }))).toBe(MAX_REVOCATION_BYTES / length)
    expect(shelf.amount({ byAuthority: true })).toEqual({
      count: MAX_REVOCATION_BYTES / length,
      bytes: MAX_REVOCATION_BYTES,
    })
  })

  it('has the same words once, and an authority’s signature in place of a revoker’s, not the other way round', () => {
    const shelf = new RevocationShelf(engine)
    const byRevoker = one(false, { length: 20 })
    const byAuthority = { ...byRevoker, byAuthority: true, bytes: new Uint8Array(10), revoker: undefined }
    expect([shelf.put(byRevoker), shelf.put({ ...byRevoker })]).toEqual([true, false])
    expect([shelf.put(byAuthority), shelf.put(byRevoker), shelf.put({ ...byAuthority })]).toEqual([
      true,
      false,
      false,
    ])
    expect([...shelf.all()]).toEqual([byAuthority])
    expect([shelf.amount({ byAuthority: false }).bytes, shelf.amount(byAuthority).bytes]).toEqual([0, 10])
    expect(shelf.amountBy('guard')).toEqual({ count: 0, bytes: 0 })
    expect(shelf.reach('alice')).toEqual({ byAuthority: NOW, byAny: NOW })
  })

  it('has room again for what is forgotten', () => {
    const shelf = new RevocationShelf(engine)
    fill(shelf, () => one(false, { until: NOW + 1 }))
    shelf.prune(NOW + 200_000)
    expect([shelf.size, shelf.amount({ byAuthority: false })]).toEqual([0, { count: 0, bytes: 0 }])
    expect(shelf.reach('alice')).toEqual({ byAuthority: -1, byAny: -1 })
    expect(shelf.put(one(false))).toBe(true)
  })

  it('knows up to when tokens of an identity are refused, also when some of what says so is gone', () => {
    const shelf = new RevocationShelf(engine)
    const [low, high, over] = [
      one(true, { since: 10 }),
      one(false, { since: 30 }),
      one(false, { since: 40, until: NOW }),
    ]
    for (const each of [high, low, over]) shelf.put(each)
    expect(shelf.reach('alice')).toEqual({ byAuthority: 10, byAny: 40 })
    shelf.prune(NOW + 200_000)
    expect(shelf.reach('alice')).toEqual({ byAuthority: 10, byAny: 30 })
    shelf.drop(high)
    expect(shelf.reach('alice')).toEqual({ byAuthority: 10, byAny: 10 })
    expect(shelf.reach('bob')).toEqual({ byAuthority: -1, byAny: -1 })
  })

  it('says what is in force at each time as if it were asked for the first time', () => {
    const all = Array.from({ length: 20 }, (_, i) =>
      one(i % 2 === 0, { since: NOW + 200_000 * (i % 5), until: NOW + 100_000 * (i + 1) }),
    )
    const asked = new RevocationShelf(engine)
    for (const each of all) asked.put(each)
    const times = Array.from({ length: 60 }, (_, i) => NOW - 200_000 + ((i * 7) % 60) * 50_000)
    for (const time of times) {
      const fresh = new RevocationShelf(engine)
      for (const each of [...all].reverse()) fresh.put(each)
      expect(asked.hash(time)).toEqual(fresh.hash(time))
      expect(asked.inForce(time)).toEqual(fresh.inForce(time))
    }
    const added = one(true)
    const before = asked.hash(NOW)
    asked.put(added)
    expect(asked.hash(NOW)).not.toEqual(before)
    asked.drop(added)
    expect(asked.hash(NOW)).toEqual(before)
  })
})
