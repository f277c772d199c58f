import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  FAILED_REVOCATION_MS_PER_SECOND,
  MAX_REVOCATION_BYTES,
  MAX_REVOCATIONS,
  MAX_REVOCATIONS_PER_IDENTITY,
} from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { RevocationDoor } from '../../src/keys/revocation-door.ts'
import { RevocationShelf } from '../../src/keys/revocation-shelf.ts'
import { readRevocation } from '../../src/keys/revocation-statement.ts'
import { RevocationSet, type VerifiedRevocation } from '../../src/keys/revocations.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeStatement, encodeStatement } from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { DAY, HOUR, T0, World } from '../support/statements.ts'

let world: World
let clock: ManualClock
let alice: Identity
let revoker: Identity
let set: RevocationSet

beforeEach(() => {
  world = new World()
  clock = new ManualClock(T0)
  alice = world.identity('alice')
  revoker = world.identity('guard', { roles: ['revoker'] })
  set = new RevocationSet({ engine, trust: world.trust, clock })
})
afterEach(() => {
  vi.restoreAllMocks()
})

function signedBy(signer: Identity, identity: Identity, changes = {}): Uint8Array {
  return world.revocation(identity, changes, { signer, token: signer.token })
}

/** The same statement with a signature that nobody has made. */
function junkOf(statement: Uint8Array): Uint8Array {
  const { structure, token } = decodeStatement(WireType.revocation, statement)
  return encodeStatement(WireType.revocation, { structure, token, signature: engine.randomBytes(64) })
}

/** How many signature checks it takes to look at these at the door. */
function checksOf(statements: readonly Uint8Array[]): number {
  const verify = vi.spyOn(engine, 'verify')
  for (const bytes of statements) set.add(bytes, T0)
  const checks = verify.mock.calls.length
  verify.mockRestore()
  return checks
}

/** One as it is after it was verified. */
function held(
  n: number,
  byAuthority: boolean,
  { identity = 'alice', length = 10, until = T0 + DAY, revoker = `revoker ${n}` } = {},
) {
  const hash = new Uint8Array(32)
  new DataView(hash.buffer).setUint32(0, n)
  const revocation = { realm: 'R', identity, since: T0, until, reason: '', past: 0 as const }
  const signer = byAuthority ? undefined : revoker
  return {
    revocation,
    hash,
    byAuthority,
    bytes: new Uint8Array(length),
    revoker: signer,
  } satisfies VerifiedRevocation
}

describe('the quotas of the door', () => {
  const kinds = [
    ['revokers', false],
    ['authorities', true],
  ] as const

  /** Whether another one of this kind may be let in. */
  function hasRoom(shelf: RevocationShelf, byAuthority: boolean): boolean {
    const { trust, realm } = world
    const one = readRevocation(
      engine,
      realm,
      byAuthority ? world.revocation(alice) : signedBy(revoker, alice),
    )
    return one !== undefined && new RevocationDoor({ engine, trust, clock }).hasRoom(one, shelf, T0)
  }

  it.each(kinds)('are for each kind of signer, by number: %s', (_what, byAuthority) => {
    const shelf = new RevocationShelf(engine)
    for (let i = 1; i < MAX_REVOCATIONS; i++) shelf.put(held(i, byAuthority, { identity: `${i}` }))
    expect([hasRoom(shelf, byAuthority), hasRoom(shelf, !byAuthority)]).toEqual([true, true])
    shelf.put(held(0, byAuthority, { identity: 'one more' }))
    expect([hasRoom(shelf, byAuthority), hasRoom(shelf, !byAuthority)]).toEqual([false, true])
  })

  it.each(kinds)('are for each kind of signer, by length: %s', (_what, byAuthority) => {
    const shelf = new RevocationShelf(engine)
    shelf.put(held(1, byAuthority, { length: MAX_REVOCATION_BYTES - 2000 }))
    expect([hasRoom(shelf, byAuthority), hasRoom(shelf, !byAuthority)]).toEqual([true, true])
    shelf.put(held(2, byAuthority, { length: 1990 }))
    expect([hasRoom(shelf, byAuthority), hasRoom(shelf, !byAuthority)]).toEqual([false, true])
  })

  it('let no revoker keep the authority out, and count what came by other ways', () => {
    const reason = 'x'.repeat(256)
    for (let i = 0; i < 550; i++) {
      const bob = world.identity('bob')
      expect(set.take(signedBy(revoker, bob, { reason }), T0)).toBeDefined()
    }
    expect(set.add(signedBy(revoker, alice), T0)).toBeUndefined()
    expect(set.add(world.revocation(alice), T0)).toBeDefined()
  })

  it('have each revoker leave as much as it takes, by number and by length', () => {
    const wild = { revoker: revoker.publicKey }
    const half = MAX_REVOCATIONS / 2
    const shelf = new RevocationShelf(engine)
    for (let i = 1; i < half; i++) shelf.put(held(i, false, { identity: `${i}`, ...wild }))
    expect(hasRoom(shelf, false)).toBe(true)
    shelf.put(held(half, false, { identity: 'one more', ...wild }))
    expect(hasRoom(shelf, false)).toBe(false)
    const long = new RevocationShelf(engine)
    long.put(held(1, false, { length: MAX_REVOCATION_BYTES / 2 - 100, ...wild }))
    expect(hasRoom(long, false)).toBe(false)
    const others = new RevocationShelf(engine)
    others.put(held(1, false, { length: MAX_REVOCATION_BYTES / 2 - 100 }))
    expect(hasRoom(others, false)).toBe(true)
  })

  it('let no revoker keep another one’s word on an identity out', () => {
    for (let i = 0; i < 2 * MAX_REVOCATIONS_PER_IDENTITY; i++)
      set.add(signedBy(revoker, alice, { since: i }), T0)
    expect(set.all()).toHaveLength(MAX_REVOCATIONS_PER_IDENTITY)
    expect(set.isRevoked(alice.claims)).toBe(false)
    const second = world.identity('second', { roles: ['revoker'] })
    expect(set.add(signedBy(second, alice), T0)).toBeDefined()
    expect(set.isRevoked(alice.claims)).toBe(true)
  })

  it.each(kinds)('are for those in force that name one identity too: %s', (_what, byAuthority) => {
    const make = (changes: object) =>
      byAuthority ? world.revocation(alice, changes) : signedBy(revoker, alice, changes)
    for (let i = 1; i <= MAX_REVOCATIONS_PER_IDENTITY; i++)
      expect(set.add(make({ until: T0 + HOUR + i }), T0)).toBeDefined()
    expect(set.add(make({ reason: 'one more' }), T0)).toBeUndefined()
    // What others have agreed on has none of these quotas.
    expect(set.take(make({ reason: 'agreed' }), T0)).toBeDefined()
    const other = byAuthority ? signedBy(revoker, alice) : world.revocation(alice)
    expect(set.add(other, T0)).toBeDefined()
    expect(set.add(make({ reason: 'later' }), T0 + HOUR + 2)).toBeDefined()
  })
})

describe('what is known to be of no use', () => {
  it('costs no signature check', () => {
    set.add(world.revocation(alice), T0)
    set.add(signedBy(revoker, alice, { reason: 'by a revoker' }), T0)
    const bob = world.identity('bob')
    for (let i = 0; i < MAX_REVOCATIONS_PER_IDENTITY; i++)
      set.add(world.revocation(bob, { reason: `${i}` }), T0)
    const useless = [
      world.revocation(alice),
      junkOf(world.revocation(alice)),
      signedBy(revoker, alice),
      signedBy(revoker, alice, { reason: 'by a revoker' }),
      signedBy(world.identity('other', { roles: ['revoker'] }), alice, { reason: 'by a revoker' }),
      world.revocation(alice, { realm: newAuthority().publicKey, reason: 'other realm' }),
      world.revocation(alice, { until: T0 }),
      world.revocation(alice, { until: T0 + 401 * DAY }),
      world.revocation(alice, { since: T0 + 120_001 }),
      world.revocation(bob, { reason: 'one too many' }),
      engine.randomBytes(300),
    ]
    expect(checksOf(useless)).toBe(0)
  })

  it('is what the token of its signer says, where that is known', () => {
    const mallory = world.identity('mallory')
    world.trust.verify(mallory.token, T0)
    const junk = signedBy(mallory, alice)
    expect(checksOf([junk])).toBe(0)
  })
})

describe('junk at the door', () => {
  const PIECE_MS = 2
  let other: Identity
  let unknown: Identity

  beforeEach(() => {
    unknown = world.identity('unknown', { roles: ['revoker'] })
    other = world.identity('other', { roles: ['revoker'] })
    for (const { token } of [revoker, other]) world.trust.verify(token, T0)
    clock.workMs = PIECE_MS
  })

  /** Sends junk, each other than the one before, for as long as any of it is looked at. @returns how many checks it has cost */
  function flood(make: (reason: string) => Uint8Array, count = 2 * FAILED_REVOCATION_MS_PER_SECOND): number {
    return checksOf(Array.from({ length: count }, (_, i) => junkOf(make(`junk ${i}`))))
  }

  it('is looked at within a budget of working time, that comes again', () => {
    const byAuthority = (reason: string) => world.revocation(alice, { reason })
    const most = FAILED_REVOCATION_MS_PER_SECOND / PIECE_MS
    expect(flood(byAuthority)).toBe(most)
    expect(flood(byAuthority)).toBe(0)
    expect(set.add(world.revocation(alice), T0)).toBeUndefined()
    clock.advance(1000)
    expect(set.add(world.revocation(alice), T0)).toBeDefined()
    clock.advance(2000)
    expect(flood(byAuthority)).toBe(most)
  })

  it.each([
    ['the authority', (reason: string) => world.revocation(alice, { reason })],
    ['a revoker that is known', (reason: string) => signedBy(revoker, alice, { reason })],
    [
      'a revoker that is not known yet',
      (reason: string) => world.revocation(alice, { reason }, { signer: unknown, token: unknown.token }),
    ],
  ])('beside a true word that is repeated keeps it out for no ten seconds: of %s', (_who, make) => {
    let repeats = 0
    // Each of the junk is sent twice.
    for (let second = 0; second < 10 && !set.isRevoked(alice.claims); second++) {
      for (let i = 0; i < 300; i++) set.add(junkOf(make(`junk ${second} ${i >> 1}`)), T0)
      repeats++
      set.add(make('true'), T0)
      for (let i = 0; i < 100; i++) set.add(junkOf(make(`more ${second} ${i}`)), T0)
      clock.advance(1000)
    }
    expect(set.isRevoked(alice.claims)).toBe(true)
    expect(repeats).toBeLessThanOrEqual(4)
  })

  it('in the names of members that may not revoke takes no part of the budget', () => {
    const members = Array.from({ length: 100 }, (_, i) => world.identity(`member-${i}`))
    for (const { token } of members) world.trust.verify(token, T0)
    clock.workMs = FAILED_REVOCATION_MS_PER_SECOND / 10
    const bySecond = (): number => {
      for (const member of members) set.add(signedBy(member, alice), T0)
      return flood((reason) => world.revocation(alice, { reason }))
    }
    bySecond()
    clock.advance(1000)
    expect(bySecond()).toBe(10)
  })

  it('is one budget for all of it, in whoever’s name it comes', () => {
    const inNames = (reason: string) => [
      world.revocation(alice, { reason }),
      signedBy(revoker, alice, { reason }),
      signedBy(other, alice, { reason }),
    ]
    const round = () =>
      checksOf(
        Array.from({ length: FAILED_REVOCATION_MS_PER_SECOND }, (_, i) =>
          inNames(`junk ${i}`).map(junkOf),
        ).flat(),
      )
    round()
    clock.advance(1000)
    // Each may take one piece more than its part.
    expect(round()).toBeLessThanOrEqual(FAILED_REVOCATION_MS_PER_SECOND / PIECE_MS + 3)
  })

  it('keeps nobody else’s word out: the authority’s, nor a revoker’s', () => {
    flood((reason) => signedBy(revoker, alice, { reason }))
    expect(set.add(signedBy(revoker, alice), T0)).toBeUndefined()
    expect(set.add(world.revocation(alice), T0)).toBeDefined()
    expect(set.add(signedBy(other, alice, { reason: 'other' }), T0)).toBeDefined()
  })

  it('with tokens of nobody has one part together, however many names they have', () => {
    const stranger = (reason: string) => {
      const signer = world.identity(reason.replace(' ', '-'), { roles: ['revoker'] })
      const [head, claims] = signer.token.split('.')
      const signature = Buffer.from(engine.randomBytes(64)).toString('base64url')
      return world.revocation(alice, { reason }, { signer, token: `${head}.${claims}.${signature}` })
    }
    flood(stranger)
    expect(set.add(signedBy(revoker, alice), T0)).toBeDefined()
    clock.advance(2000)
    expect(flood(stranger)).toBe(FAILED_REVOCATION_MS_PER_SECOND / PIECE_MS)
  })

  it('is all that spends: what is taken in does not', () => {
    for (let i = 0; i < 2 * FAILED_REVOCATION_MS_PER_SECOND; i++)
      expect(set.add(world.revocation(world.identity('bob')), T0)).toBeDefined()
  })

  it('does not touch what is agreed', () => {
    flood((reason) => world.revocation(alice, { reason }))
    expect(set.take(world.revocation(alice), T0)).toBeDefined()
  })
})
