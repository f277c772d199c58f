import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { Identity } from '../../src/identity/identity.ts'
import { RevocationSet, type VerifiedRevocation } from '../../src/keys/revocations.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeStatement, encodeStatement } from '../../src/wire/statements.ts'
import { engine, may, newAuthority } from '../support/identities.ts'
import { DAY, HOUR, T0, World } from '../support/statements.ts'

let world: World
let alice: Identity
let revoker: Identity

beforeEach(() => {
  world = new World()
  alice = world.identity('alice')
  revoker = world.identity('guard', { roles: ['revoker'] })
})

function signedByRevoker(identity: Identity, changes = {}, signer = revoker): Uint8Array {
  return world.revocation(identity, changes, { signer, token: signer.token })
}

/** An empty set of another agent of the same realm. */
function newSet(keep?: (added: readonly VerifiedRevocation[]) => void): RevocationSet {
  const { trust } = world
  return new RevocationSet({ engine, trust, ...(keep && { keep }) })
}

describe('who may revoke', () => {
  it('takes the word of the authority and of a revoker, and reports what is new once', () => {
    for (const bytes of [world.revocation(alice), signedByRevoker(alice)]) {
      const set = newSet()
      expect(set.isRevoked(alice.claims)).toBe(false)
      expect(set.add(bytes, T0)?.revocation.reason).toBe('lost')
      expect(set.isRevoked(alice.claims)).toBe(true)
      expect(set.add(bytes, T0)).toBeUndefined()
      expect([set.knows(bytes), set.knows(world.revocation(alice, { reason: 'other' }))]).toEqual([
        true,
        false,
      ])
    }
  })

  it('does not believe a signature that does not fit', () => {
    for (const signed of [world.revocation(alice), signedByRevoker(alice)]) {
      const { structure, token } = decodeStatement(WireType.revocation, signed)
      const forged = encodeStatement(WireType.revocation, { structure, token, signature: new Uint8Array(64) })
      expect(world.revocations.add(forged, T0)).toBeUndefined()
      expect(world.revocations.take(forged, T0)).toBeUndefined()
      world.revocations.restore(forged)
      expect(world.revocations.all()).toEqual([])
    }
  })

  it('does not believe an agent without the role, a rotator, or a stranger', () => {
    const mallory = world.identity('mallory')
    const said = [
      world.revocation(alice, {}, { signer: mallory, token: mallory.token }),
      world.revocation(alice, {}, { signer: world.rotator, token: world.rotator.token }),
      world.revocation(alice, {}, { signer: newAuthority() }),
      world.revocation(alice, {}, { signer: mallory, token: revoker.token }),
    ]
    for (const bytes of said) {
      expect(world.revocations.add(bytes, T0)).toBeUndefined()
      expect(world.revocations.take(bytes, T0)).toBeUndefined()
    }
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
  })

  it('does not believe a revoker that is revoked, or whose token has expired', () => {
    const expired = world.identity('guard', { roles: ['revoker'], expiresAtMs: T0 })
    expect(world.revocations.add(signedByRevoker(alice, {}, expired), T0)).toBeUndefined()
    world.revocations.add(world.revocation(revoker), T0)
    expect(world.revocations.add(signedByRevoker(alice), T0)).toBeUndefined()
  })

  it('believes a revoker that is gone by now where others have taken in what it said', () => {
    const short = world.identity('guard', { roles: ['revoker'], expiresAtMs: T0 + DAY })
    const bytes = signedByRevoker(alice, {}, short)
    expect(world.revocations.take(bytes, T0 + 29 * DAY)).toBeDefined()
    const bob = world.identity('bob')
    world.revocations.add(world.revocation(revoker), T0)
    expect(world.revocations.take(signedByRevoker(bob), T0)).toBeDefined()
    expect([alice, bob].map(({ claims }) => world.revocations.isRevoked(claims))).toEqual([true, true])
  })

  it('does not believe a statement of another realm, or junk', () => {
    const foreign = world.revocation(alice, { realm: newAuthority().publicKey })
    for (const junk of [foreign, new Uint8Array(0), engine.randomBytes(300), world.kept.plan]) {
      expect(world.revocations.add(junk, T0)).toBeUndefined()
      expect(world.revocations.take(junk, T0)).toBeUndefined()
      expect(world.revocations.knows(junk)).toBe(false)
    }
  })

  it('reaches a rotation service only from the authority', () => {
    const { rotator, revocations } = world
    const judge = () => [
      revocations.isRevoked(rotator.claims),
      revocations.revokedByAuthority(rotator.publicKey),
    ]
    revocations.add(signedByRevoker(rotator), T0)
    expect(judge()).toEqual([false, false])
    revocations.add(world.revocation(rotator), T0)
    expect(judge()).toEqual([true, true])
    expect(revocations.revokedByAuthority(rotator.publicKey, T0 / 1000)).toBe(true)
    expect(revocations.revokedByAuthority(rotator.publicKey, T0 / 1000 + 1)).toBe(false)
    expect(revocations.revokedByAuthority(alice.publicKey)).toBe(false)
  })

  it('has the same words again where the authority says them too, and not the other way round', () => {
    const { rotator, revocations } = world
    const [weak, strong] = [signedByRevoker(rotator), world.revocation(rotator)]
    expect(revocations.add(weak, T0)).toBeDefined()
    expect(revocations.knows(strong)).toBe(false)
    expect(revocations.add(strong, T0)).toBeDefined()
    expect([revocations.knows(weak), revocations.add(weak, T0)]).toEqual([true, undefined])
    expect(revocations.all().map(({ bytes }) => bytes)).toEqual([strong])
    expect(revocations.isRevoked(rotator.claims)).toBe(true)
  })

  it('frees no name of a rotator by the word of a revoker', () => {
    const of = { identity: alice.publicKey, issuedAt: alice.claims.issuedAt }
    const judge = () => [false, true].map((isRotator) => world.revocations.covers({ ...of, isRotator }))
    world.revocations.add(signedByRevoker(alice), T0)
    expect(judge()).toEqual([true, false])
    world.revocations.add(world.revocation(alice, { reason: 'by the authority' }), T0)
    expect(judge()).toEqual([true, true])
    expect(world.revocations.covers({ ...of, issuedAt: 2 * of.issuedAt, isRotator: false })).toBe(false)
  })
})

describe('what a revocation reaches', () => {
  it('refuses tokens issued up to since, and not the one that was issued after it', () => {
    const since = alice.claims.issuedAt * 1000
    world.revocations.add(world.revocation(alice, { since: since - 1 }), T0)
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
    world.revocations.add(world.revocation(alice, { since }), T0)
    expect(world.revocations.isRevoked(alice.claims)).toBe(true)
    expect(world.revocations.isRevoked({ ...alice.claims, issuedAt: alice.claims.issuedAt + 1 })).toBe(false)
    expect(world.revocations.isRevoked(world.identity('alice').claims)).toBe(false)
  })

  it('refuses every token of an identity that signs its own', () => {
    world.revocations.add(world.revocation(alice, { since: 0 }), T0)
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
    expect(world.revocations.isRevoked({ ...alice.claims, issuer: alice.publicKey })).toBe(true)
  })

  it('is the same of what is sent now, whether what was stored before stays good or not', () => {
    for (const past of [0, 1] as const) {
      const set = newSet()
      expect(set.add(world.revocation(alice, { past }), T0)?.revocation.past).toBe(past)
      expect(set.isRevoked(alice.claims)).toBe(true)
    }
  })

  it('is not let in when it is dated more than 120 s ahead, over, or for more than 400 days', () => {
    const add = (changes: object) => world.revocations.add(world.revocation(alice, changes), T0)
    expect(add({ since: T0 + 120_001 })).toBeUndefined()
    expect(add({ since: T0 + 120_000 })).toBeDefined()
    expect(add({ until: T0 })).toBeUndefined()
    expect(add({ until: T0 + 400 * DAY + 1 })).toBeUndefined()
    expect(add({ until: T0 + 400 * DAY })).toBeDefined()
  })

  it('is in force until its end, and is forgotten a while after', () => {
    const { revocations } = world
    revocations.add(world.revocation(alice, { until: T0 + HOUR }), T0)
    revocations.add(world.revocation(alice, { since: 0, until: T0 + DAY }), T0)
    expect(revocations.inForce(T0 + HOUR - 1)).toHaveLength(2)
    expect(revocations.inForce(T0 + HOUR)).toHaveLength(1)
    revocations.prune(T0 + HOUR + 120_000)
    expect(revocations.isRevoked(alice.claims)).toBe(true)
    revocations.prune(T0 + HOUR + 120_001)
    expect([revocations.isRevoked(alice.claims), revocations.all().length]).toEqual([false, 1])
    expect(revocations.revokedByAuthority(alice.publicKey)).toBe(true)
  })

  it('is what it was at another clock: nothing is judged by it that was held before', () => {
    const set = newSet()
    const [over, ahead] = [
      world.revocation(alice, { until: 1 }),
      world.revocation(alice, { since: 2 * T0, until: 3 * T0 }),
    ]
    for (const bytes of [over, ahead]) set.restore(bytes)
    expect(set.all()).toHaveLength(2)
  })
})

describe('what is agreed', () => {
  it('leaves room for the authority, whatever revokers have signed', () => {
    const set = newSet()
    // With a token that is nearly as long as one can be, few of them fill it.
    const many = Array.from({ length: 150 }, (_, i) => `subject.${i}.${'x'.repeat(60)}`)
    const wordy = world.identity('guard', { roles: ['revoker'], permissions: may([], many) })
    let taken = 0
    while (set.take(signedByRevoker(alice, { reason: String(taken) }, wordy), T0) !== undefined) taken++
    expect(taken).toBeGreaterThan(100)
    for (let i = 0; i < 100; i++)
      expect(set.take(world.revocation(alice, { reason: `${i}${'x'.repeat(200)}` }), T0)).toBeDefined()
  })

  it('is judged as of when it was named', () => {
    const bytes = world.revocation(alice, { until: T0 + HOUR })
    expect(newSet().take(bytes, T0 + HOUR)).toBeUndefined()
    expect(newSet().take(bytes, T0 + HOUR - 1)).toBeDefined()
    expect(newSet().take(bytes, T0 - 120_001)).toBeUndefined()
  })
})

describe('the hash of those in force', () => {
  it('does not depend on the order in which they came, and differs for another set', () => {
    const all = ['a', 'b', 'c'].map((reason) => world.revocation(alice, { reason }))
    const [one, two] = [newSet(), newSet()]
    for (const bytes of all) one.add(bytes, T0)
    for (const bytes of [...all].reverse()) two.add(bytes, T0)
    expect(one.hash(T0)).toEqual(two.hash(T0))
    expect(newSet().hash(T0)).toEqual(engine.sha256(new Uint8Array(0)))
    two.add(world.revocation(alice, { reason: 'd', until: T0 + HOUR }), T0)
    expect(one.hash(T0)).not.toEqual(two.hash(T0))
    expect(one.hash(T0 + HOUR)).toEqual(two.hash(T0 + HOUR))
    // In whatever order the times are asked for.
    expect(one.hash(T0)).not.toEqual(two.hash(T0))
  })

  it('leaves out what nobody with a right clock can have let in by then', () => {
    const set = newSet()
    const late = world.revocation(alice, { since: T0 + HOUR, until: T0 + DAY })
    const long = world.revocation(alice, { until: T0 + 401 * DAY })
    // Let in by a clock that was ahead.
    for (const bytes of [late, long])
      expect(set.add(bytes, T0 + 2 * DAY) ?? set.add(bytes, T0 + HOUR)).toBeDefined()
    expect(set.hash(T0)).toEqual(newSet().hash(T0))
    expect(set.inForce(T0 + HOUR - 120_001)).toHaveLength(0)
    expect(set.inForce(T0 + HOUR - 120_000).map(({ bytes }) => bytes)).toEqual([late])
    expect(set.inForce(T0 + DAY).map(({ bytes }) => bytes)).toEqual([long])
    expect(set.isRevoked(alice.claims)).toBe(true)
  })
})

describe('what has to be kept', () => {
  it('is told before it is held, whatever way it came, and not what was restored', () => {
    const told: string[] = []
    const set = newSet((added) => {
      for (const { revocation } of added) told.push(revocation.reason)
    })
    set.restore(world.revocation(alice, { reason: 'restored' }))
    set.add(world.revocation(alice, { reason: 'single' }), T0)
    set.take(world.revocation(alice, { reason: 'agreed' }), T0)
    const other = newSet()
    other.add(world.revocation(alice, { reason: 'listed' }), T0)
    const list = other.all().map(({ bytes }) => bytes)
    set.hold(list, { rotator: 'X', revocationsHash: other.hash(T0), now: T0 })
    expect(told).toEqual(['single', 'agreed', 'listed'])
  })

  it('is not held where it cannot be kept, and what it would have replaced is', () => {
    const failure = new Error('the disk is full')
    let isFull = false
    const keep = vi.fn(() => {
      if (isFull) throw failure
    })
    const set = newSet(keep)
    const { rotator } = world
    set.add(signedByRevoker(rotator), T0)
    isFull = true
    const before = set.hash(T0)
    expect(() => set.add(world.revocation(alice), T0)).toThrow(failure)
    expect(() => set.add(world.revocation(rotator), T0)).toThrow(failure)
    expect(() => set.take(world.revocation(alice), T0)).toThrow(failure)
    expect(set.hash(T0)).toEqual(before)
    expect(set.isRevoked(alice.claims)).toBe(false)
    expect(set.all().map(({ byAuthority }) => byAuthority)).toEqual([false])
    isFull = false
    expect(set.add(world.revocation(alice), T0)).toBeDefined()
  })
})
