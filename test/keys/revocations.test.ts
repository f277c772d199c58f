import { beforeEach, describe, expect, it, vi } from 'vitest'
import { MAX_REVOCATIONS, MAX_REVOCATIONS_HELD } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { CARRIED, RevocationSet } from '../../src/keys/revocations.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeStatement, encodeStatement } from '../../src/wire/statements.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { DAY, HOUR, T0, World } from '../support/statements.ts'

let world: World
let alice: Identity
let revoker: Identity

beforeEach(() => {
  world = new World()
  alice = world.identity('alice')
  revoker = world.identity('guard', { roles: ['revoker'] })
})

function signedByRevoker(identity: Identity, changes = {}): Uint8Array {
  return world.revocation(identity, changes, { signer: revoker, token: revoker.token })
}

describe('who may revoke', () => {
  it('takes the word of the authority and of a revoker, and reports what is new once', () => {
    for (const bytes of [world.revocation(alice), signedByRevoker(alice)]) {
      const set = new RevocationSet(engine, world.trust)
      expect(set.isRevoked(alice.claims)).toBe(false)
      expect(set.add(bytes, T0)?.revocation.reason).toBe('lost')
      expect(set.isRevoked(alice.claims)).toBe(true)
      expect(set.add(bytes, T0)).toBeUndefined()
    }
  })

  it('frees no name of a rotator by the word of a revoker', () => {
    const of = { identity: alice.publicKey, issuedAt: alice.claims.issuedAt }
    world.revocations.add(signedByRevoker(alice), T0)
    expect([false, true].map((isRotator) => world.revocations.covers({ ...of, isRotator }))).toEqual([
      true,
      false,
    ])
    world.revocations.add(world.revocation(alice, { reason: 'by the authority' }), T0)
    expect(world.revocations.covers({ ...of, isRotator: true })).toBe(true)
    expect(world.revocations.covers({ ...of, issuedAt: 2 * of.issuedAt, isRotator: false })).toBe(false)
  })

  it('does not believe a signature that does not fit', () => {
    const { structure, token } = decodeStatement(WireType.revocation, world.revocation(alice))
    const forged = { structure, token, signature: new Uint8Array(64) }
    expect(world.revocations.add(encodeStatement(WireType.revocation, forged), T0)).toBeUndefined()
  })

  it('does not believe an agent without the role, a rotator, or a stranger', () => {
    const mallory = world.identity('mallory')
    for (const signer of [mallory, world.rotator]) {
      const bytes = world.revocation(alice, {}, { signer, token: signer.token })
      expect(world.revocations.add(bytes, T0)).toBeUndefined()
    }
    expect(world.revocations.add(world.revocation(alice, {}, { signer: newAuthority() }), T0)).toBeUndefined()
    expect(
      world.revocations.add(world.revocation(alice, {}, { signer: mallory, token: revoker.token }), T0),
    ).toBeUndefined()
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
  })

  it('does not believe a revoker that is revoked, or whose token has expired', () => {
    const expired = world.identity('guard', { roles: ['revoker'], expiresAtMs: T0 })
    expect(
      world.revocations.add(world.revocation(alice, {}, { signer: expired, token: expired.token }), T0),
    ).toBeUndefined()
    world.revocations.add(world.revocation(revoker), T0)
    expect(world.revocations.add(signedByRevoker(alice), T0)).toBeUndefined()
  })

  it('keeps in force what an epoch carries although its revoker is gone by now', () => {
    const later = T0 + 29 * DAY
    const short = world.identity('guard', { roles: ['revoker'], expiresAtMs: T0 + DAY })
    const carried = world.revocation(alice, {}, { signer: short, token: short.token })
    world.accept(world.epoch(undefined, { revocations: [carried], notBefore: later }), later)
    expect(world.revocations.isRevoked(alice.claims)).toBe(true)
    const other = new World({ like: world })
    other.revocations.add(world.revocation(revoker), T0)
    other.accept(world.epoch(undefined, { revocations: [signedByRevoker(alice)] }))
    expect(other.revocations.isRevoked(alice.claims)).toBe(true)
  })

  it('does not let an epoch carry what nobody with the role signed', () => {
    const mallory = world.identity('mallory')
    const carried = world.revocation(alice, {}, { signer: mallory, token: mallory.token })
    world.accept(world.epoch(undefined, { revocations: [carried] }))
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
  })

  it('does not believe a statement of another realm, or junk', () => {
    expect(
      world.revocations.add(world.revocation(alice, { realm: newAuthority().publicKey }), T0),
    ).toBeUndefined()
    for (const junk of [new Uint8Array(0), engine.randomBytes(300), world.epoch(undefined).bytes]) {
      expect(world.revocations.add(junk, T0)).toBeUndefined()
    }
  })

  it('reaches a rotator only from the authority', () => {
    world.revocations.add(signedByRevoker(world.rotator), T0)
    expect(world.revocations.isRevoked(world.rotator.claims)).toBe(false)
    world.revocations.add(world.revocation(world.rotator), T0)
    expect(world.revocations.isRevoked(world.rotator.claims)).toBe(true)
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

  it('is not believed when it is dated more than 120 s ahead, or over', () => {
    expect(world.revocations.add(world.revocation(alice, { since: T0 + 120_001 }), T0)).toBeUndefined()
    expect(world.revocations.add(world.revocation(alice, { until: T0 }), T0)).toBeUndefined()
    expect(world.revocations.add(world.revocation(alice, { since: T0 + 120_000 }), T0)).toBeDefined()
  })

  it('is in force until its end, and is forgotten a while after', () => {
    world.revocations.add(world.revocation(alice, { until: T0 + HOUR }), T0)
    expect(world.revocations.inForce(T0 + HOUR - 1)).toHaveLength(1)
    expect(world.revocations.inForce(T0 + HOUR)).toHaveLength(0)
    world.revocations.prune(T0 + HOUR)
    expect(world.revocations.isRevoked(alice.claims)).toBe(true)
    world.revocations.prune(T0 + HOUR + 120_001)
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
  })

  it('takes in a bounded number', { timeout: 30_000 }, () => {
    for (let i = 0; i < MAX_REVOCATIONS; i++) {
      expect(world.revocations.add(world.revocation(alice, { reason: String(i) }), T0)).toBeDefined()
    }
    expect(world.revocations.add(world.revocation(alice, { reason: 'one more' }), T0)).toBeUndefined()
    expect(world.revocations.inForce(T0)).toHaveLength(MAX_REVOCATIONS)
  })
})

describe('what is agreed', () => {
  /** A service's set in which a revoker has taken all that it may, and the authority has added some. */
  function halfFull(): { readonly set: RevocationSet; readonly all: readonly Uint8Array[] } {
    const set = new RevocationSet(engine, world.trust)
    for (let i = 0; i < MAX_REVOCATIONS / 2; i++) set.add(signedByRevoker(alice, { reason: String(i) }), T0)
    for (let i = 0; i < 10; i++) set.add(world.revocation(world.identity(`bob${i}`)), T0)
    const all = set.inForce(T0).map(({ bytes }) => bytes)
    // In bytes it is full before.
    expect(all.length).toBeGreaterThan(200)
    return { set, all }
  }

  it('is taken in whole by whoever comes anew or starts again, in whatever order it comes', {
    timeout: 30_000,
  }, () => {
    const { set, all } = halfFull()
    const tick = { now: T0, revocationsHash: set.hash(T0) }
    for (const order of [all, [...all].reverse()]) {
      const carried = new RevocationSet(engine, world.trust)
      for (const bytes of order) carried.addCarried(bytes, T0)
      const adopted = new RevocationSet(engine, world.trust)
      expect(adopted.adopt(order, tick)).toHaveLength(all.length)
      expect([carried.hash(T0), adopted.hash(T0)]).toEqual([set.hash(T0), set.hash(T0)])
    }
  })

  it('is bounded all the same', { timeout: 60_000 }, () => {
    const set = new RevocationSet(engine, world.trust)
    for (let i = 0; i < MAX_REVOCATIONS_HELD; i++)
      expect(set.addCarried(world.revocation(alice, { reason: String(i) }), T0)).toBeDefined()
    expect(set.addCarried(world.revocation(alice, { reason: 'one more' }), T0)).toBeUndefined()
  })

  it('leaves room for the authority, whatever revokers have signed', { timeout: 60_000 }, () => {
    const set = new RevocationSet(engine, world.trust)
    const reason = 'x'.repeat(256)
    let taken = 0
    while (set.addCarried(signedByRevoker(alice, { reason, until: T0 + DAY + taken }), T0) !== undefined)
      taken++
    // Far more than one service lets in.
    expect(taken).toBeGreaterThan(2000)
    for (let i = 0; i < 10; i++) {
      const bob = world.identity(`bob${i}`)
      set.addCarried(world.revocation(bob), T0)
      expect(set.isRevoked(bob.claims)).toBe(true)
    }
  })

  it('keeps the authority’s word from no agent, however full it is of what revokers have signed', () => {
    const set = new RevocationSet(engine, world.trust)
    const reason = 'x'.repeat(256)
    for (let i = 0; i < 900; i++) set.addCarried(signedByRevoker(alice, { reason, until: T0 + DAY + i }), T0)
    expect(set.add(signedByRevoker(alice, { reason: 'by itself' }), T0)).toBeUndefined()
    expect(set.add(world.revocation(world.rotator), T0)).toBeDefined()
    expect(set.isRevoked(world.rotator.claims)).toBe(true)
  })

  it('is what an epoch can carry, where a rotation service holds it', { timeout: 30_000 }, () => {
    const set = new RevocationSet(engine, world.trust, undefined, CARRIED)
    for (let i = 0; i < MAX_REVOCATIONS; i++)
      expect(set.addCarried(world.revocation(alice, { reason: String(i) }), T0)).toBeDefined()
    expect(set.addCarried(world.revocation(alice, { reason: 'one more' }), T0)).toBeUndefined()
  })

  it('is within the shares of the door where another replica has let it in', () => {
    const set = new RevocationSet(engine, world.trust, undefined, CARRIED)
    const reason = 'x'.repeat(256)
    let taken = 0
    while (set.addVouched(signedByRevoker(alice, { reason, until: T0 + DAY + taken }), T0) !== undefined)
      taken++
    expect(set.addCarried(signedByRevoker(alice, { reason, until: T0 + DAY + taken }), T0)).toBeDefined()
  })

  it('is known by its words, and no signature of it is verified again', () => {
    const bytes = world.revocation(alice)
    world.revocations.add(bytes, T0)
    const verify = vi.spyOn(engine, 'verify')
    expect(world.revocations.add(bytes, T0)).toBeUndefined()
    expect(verify).not.toHaveBeenCalled()
    verify.mockRestore()
  })

  it('is held by whoever holds it all, and more does not matter', () => {
    const named = ['a', 'b'].map((reason) => world.revocation(alice, { reason, until: T0 + DAY }))
    const own = world.revocation(world.identity('mallory'), { until: T0 + DAY })
    const tickOf = (...all: readonly Uint8Array[]) => {
      const set = new RevocationSet(engine, world.trust)
      for (const bytes of all) set.addCarried(bytes, T0)
      return { now: T0, revocationsHash: set.hash(T0) }
    }
    const set = new RevocationSet(engine, world.trust)
    set.add(own, T0)
    expect(set.holds(tickOf())).toBe(false)
    expect(set.adopt([], tickOf())).toEqual([])
    expect(set.holds(tickOf())).toBe(true)
    expect(set.beyond(tickOf()).map(({ bytes }) => bytes)).toEqual([own])
    expect(set.holds(tickOf(...named))).toBe(false)
    // Not what the tick names.
    expect(set.adopt(named.slice(0, 1), tickOf(...named))).toEqual([])
    expect(set.holds(tickOf(...named))).toBe(false)
    expect(set.adopt(named, tickOf(...named))).toHaveLength(2)
    expect([set.holds(tickOf(...named)), set.holds(tickOf())]).toEqual([true, false])
    expect(set.beyond(tickOf(...named)).map(({ bytes }) => bytes)).toEqual([own])
    expect(set.holds(tickOf(...named, own))).toBe(true)
    expect(set.beyond(tickOf(...named, own))).toEqual([])
  })
})

describe('the hash of those in force', () => {
  it('does not depend on the order in which they came, and differs for another set', () => {
    const all = ['a', 'b', 'c'].map((reason) => world.revocation(alice, { reason }))
    const one = new RevocationSet(engine, world.trust)
    const two = new RevocationSet(engine, world.trust)
    for (const bytes of all) one.add(bytes, T0)
    for (const bytes of [...all].reverse()) two.add(bytes, T0)
    expect(one.hash(T0)).toEqual(two.hash(T0))
    expect(new RevocationSet(engine, world.trust).hash(T0)).toEqual(engine.sha256(new Uint8Array(0)))
    two.add(world.revocation(alice, { reason: 'd', until: T0 + HOUR }), T0)
    expect(one.hash(T0)).not.toEqual(two.hash(T0))
    expect(one.hash(T0 + HOUR)).toEqual(two.hash(T0 + HOUR))
  })
})
