import { beforeEach, describe, expect, it } from 'vitest'
import { FIRST_PREV_HASH } from '../../src/keys/epochs.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeStatement, encodeStatement } from '../../src/wire/statements.ts'
import { engine, newAuthority, newIdentity } from '../support/identities.ts'
import { codeOf, DAY, HOUR, type MadeEpoch, MINUTE, T0, World } from '../support/statements.ts'

let world: World
let first: MadeEpoch

beforeEach(() => {
  world = new World()
  first = world.epoch(undefined)
})

/** The error of accepting one epoch after `first`, at the time at which it begins. */
function refusalAfterFirst(made: MadeEpoch, nowMs = made.epoch.notBefore): string | undefined {
  world.accept(first)
  const head = world.chain.head
  const code = codeOf(() => world.accept(made, nowMs))
  expect(world.chain.head).toBe(head)
  expect(world.kept).toHaveLength(1)
  return code
}

describe('the first epoch', () => {
  it('is accepted when a tick named it, and has 32 zeros as the hash of its predecessor', () => {
    const accepted = world.accept(first)
    expect(accepted.number).toBe(1)
    expect(accepted.prevHash).toEqual(new Uint8Array(32))
    expect(FIRST_PREV_HASH).toEqual(new Uint8Array(32))
    expect(world.chain.head).toBe(accepted)
    expect(world.chain.floor).toEqual({ number: 1, hash: first.hash })
  })

  it('is refused when the tick names a hash that is not among the statements', () => {
    expect(
      codeOf(() => world.chain.accept([first.bytes], { number: 1, hash: engine.randomBytes(32) }, T0)),
    ).toBe('ERR_EPOCH_INVALID')
    expect(codeOf(() => world.chain.accept([], first, T0))).toBe('ERR_EPOCH_INVALID')
  })

  it('is refused when the tick names another number', () => {
    expect(codeOf(() => world.chain.accept([first.bytes], { ...first, number: 2 }, T0))).toBe(
      'ERR_EPOCH_INVALID',
    )
  })

  it('is accepted twice without being verified or kept again', () => {
    const accepted = world.accept(first)
    expect(world.accept(first)).toBe(accepted)
    expect(world.kept).toHaveLength(1)
  })
})

describe('what not even a rotator may do', () => {
  it('refuses an epoch of more than 24 hours, and takes one of exactly 24', () => {
    const long = world.epoch(first, { notBefore: T0 + HOUR, notAfter: T0 + HOUR + DAY + 1 })
    expect(refusalAfterFirst(long)).toBe('ERR_EPOCH_INVALID')
    const exact = world.epoch(first, { notBefore: T0 + HOUR, notAfter: T0 + HOUR + DAY })
    expect(world.accept(exact).number).toBe(2)
  })

  it('refuses an epoch that ends when it begins, or before', () => {
    for (const notAfter of [T0 + HOUR, T0]) {
      const made = world.epoch(first, { notBefore: T0 + HOUR, notAfter })
      expect(new World({ like: world }).chain).toBeDefined()
      expect(codeOf(() => new World({ like: world }).accept(made))).toBe('ERR_EPOCH_INVALID')
    }
  })

  it('refuses an epoch that begins more than 24 hours ahead', () => {
    const made = world.epoch(first, { notBefore: T0 + DAY + 1 })
    expect(refusalAfterFirst(made, T0)).toBe('ERR_EPOCH_INVALID')
  })

  it('refuses a grace of more than 15 minutes, and takes one of exactly 15', () => {
    expect(refusalAfterFirst(world.epoch(first, { graceMs: 15 * MINUTE + 1 }))).toBe('ERR_EPOCH_INVALID')
    expect(world.accept(world.epoch(first, { graceMs: 15 * MINUTE })).number).toBe(2)
  })

  it('refuses an epoch that allows no suite', () => {
    expect(refusalAfterFirst(world.epoch(first, { suites: [] }))).toBe('ERR_EPOCH_INVALID')
  })

  it('refuses an overlong predecessor that comes along with a good epoch', () => {
    // Those between are not verified in full, but an agent would announce keys for the one that still runs.
    const long = world.epoch(undefined, { notAfter: T0 + 365 * DAY })
    const next = world.epoch(long, { notBefore: T0 + HOUR })
    expect(codeOf(() => world.chain.accept([next.bytes, long.bytes], next, T0 + HOUR))).toBe(
      'ERR_EPOCH_INVALID',
    )
    expect(world.chain.current(T0 + HOUR)).toEqual([])
  })

  it('refuses a revocation dated more than 120 s ahead, and takes one of exactly 120', () => {
    const alice = world.identity('alice')
    const at = first.epoch.notAfter - 5 * MINUTE
    const ahead = world.revocation(alice, { since: at + 120_001 })
    expect(refusalAfterFirst(world.epoch(first, { revocations: [ahead] }), at)).toBe('ERR_EPOCH_INVALID')
    const exact = world.revocation(alice, { since: at + 120_000 })
    expect(world.accept(world.epoch(first, { revocations: [exact] }), at).number).toBe(2)
    expect(world.revocations.isRevoked(alice.claims)).toBe(true)
  })

  it('refuses an epoch that drops a revocation before its until', () => {
    const revoked = world.revocation(world.identity('alice'))
    first = world.epoch(undefined, { revocations: [revoked] })
    expect(refusalAfterFirst(world.epoch(first))).toBe('ERR_EPOCH_INVALID')
    expect(world.accept(world.epoch(first, { revocations: [revoked] })).number).toBe(2)
  })

  it('lets a revocation go that is over when the epoch begins', () => {
    const until = first.epoch.notAfter - 5 * MINUTE
    first = world.epoch(undefined, { revocations: [world.revocation(world.identity('alice'), { until })] })
    world.accept(first)
    expect(world.accept(world.epoch(first)).number).toBe(2)
  })

  it('refuses a revocation that vanished in the gap, and not only between the last two epochs', () => {
    const revoked = world.revocation(world.identity('alice'))
    first = world.epoch(undefined, { revocations: [revoked] })
    world.accept(first)
    const second = world.epoch(first)
    const third = world.epoch(second)
    const all = [second.bytes, third.bytes]
    expect(codeOf(() => world.chain.accept(all, third, third.epoch.notBefore))).toBe('ERR_EPOCH_INVALID')
  })

  it('takes in what the epoch carries: it is in force at once', () => {
    const alice = world.identity('alice')
    world.accept(world.epoch(undefined, { revocations: [world.revocation(alice)] }))
    expect(world.revocations.isRevoked(alice.claims)).toBe(true)
  })
})

describe('who may sign an epoch', () => {
  it('refuses a signature that does not fit', () => {
    const { structure, token } = decodeStatement(WireType.epoch, first.bytes)
    const forged = encodeStatement(WireType.epoch, { structure, token, signature: new Uint8Array(64) })
    expect(codeOf(() => world.chain.accept([forged], first, T0))).toBe('ERR_EPOCH_INVALID')
  })

  it('refuses the signature of another key than that of the token', () => {
    const made = world.epoch(undefined, {}, { signer: world.identity('mallory') })
    expect(codeOf(() => world.accept(made))).toBe('ERR_EPOCH_INVALID')
  })

  it('refuses a signer without the role rotator', () => {
    for (const roles of [[], ['revoker']] as const) {
      const alice = world.identity('alice', { roles })
      const made = world.epoch(undefined, {}, { signer: alice, token: alice.token })
      expect(codeOf(() => world.accept(made))).toBe('ERR_EPOCH_INVALID')
    }
  })

  it('refuses a token of an authority that is not pinned', () => {
    const options = { issuedAtMs: T0 - HOUR, roles: ['rotator'] as const, realm: world.realm }
    const { identity } = newIdentity(newAuthority(), 'rotator', options)
    const made = world.epoch(undefined, {}, { signer: identity, token: identity.token })
    expect(codeOf(() => world.accept(made))).toBe('ERR_UNKNOWN_AUTHORITY')
  })

  it('refuses a token for another realm, signed by the same authority', () => {
    const stranger = world.identity('rotator', { roles: ['rotator'], realm: newAuthority().publicKey })
    const made = world.epoch(undefined, {}, { signer: stranger, token: stranger.token })
    expect(codeOf(() => world.accept(made))).toBe('ERR_TOKEN_INVALID')
  })

  it('refuses an expired token', () => {
    const rotator = world.identity('rotator', { roles: ['rotator'], expiresAtMs: T0 })
    const made = world.epoch(undefined, {}, { signer: rotator, token: rotator.token })
    expect(codeOf(() => world.accept(made, T0))).toBe('ERR_TOKEN_EXPIRED')
    expect(world.accept(made, T0 - 1000).number).toBe(1)
  })

  it('refuses an epoch of another realm', () => {
    const made = world.epoch(undefined, { realm: newAuthority().publicKey })
    expect(codeOf(() => world.accept(made))).toBe('ERR_EPOCH_INVALID')
  })

  it('refuses a rotator that the authority revoked', () => {
    world.revocations.add(world.revocation(world.rotator), T0)
    expect(codeOf(() => world.accept(first))).toBe('ERR_REVOKED')
  })

  it('does not let a mere revoker revoke a rotator', () => {
    const revoker = world.identity('guard', { roles: ['revoker'] })
    const bytes = world.revocation(world.rotator, {}, { signer: revoker, token: revoker.token })
    expect(world.revocations.add(bytes, T0)).toBeDefined()
    expect(world.accept(first).number).toBe(1)
  })

  it('refuses an epoch without a token that no authority signed', () => {
    const made = world.epoch(undefined, {}, { signer: world.rotator, token: undefined })
    expect(codeOf(() => world.accept(made))).toBe('ERR_EPOCH_INVALID')
  })
})

describe('the chain', () => {
  it('refuses a jump in the numbers', () => {
    const jump = world.epoch(first, { number: 3 })
    expect(refusalAfterFirst(jump)).toBe('ERR_ROLLBACK')
    // Nor do those between help: their numbers do not follow each other.
    const second = world.epoch(first)
    const fourth = world.epoch(second, { number: 4 })
    const all = [second.bytes, fourth.bytes]
    expect(codeOf(() => world.chain.accept(all, fourth, fourth.epoch.notBefore))).toBe('ERR_EPOCH_INVALID')
  })

  it('refuses an epoch whose prev_hash is not the floor', () => {
    expect(refusalAfterFirst(world.epoch(first, { prevHash: engine.randomBytes(32) }))).toBe('ERR_ROLLBACK')
    expect(codeOf(() => world.accept(world.epoch(first, { prevHash: FIRST_PREV_HASH })))).toBe('ERR_ROLLBACK')
  })

  it('refuses an epoch below the floor', () => {
    const [one, two, three] = world.epochs(3) as [MadeEpoch, MadeEpoch, MadeEpoch]
    const restarted = new World({ like: world, floor: three })
    for (const old of [one, two]) {
      expect(codeOf(() => restarted.chain.accept([one.bytes, two.bytes], old, T0))).toBe('ERR_ROLLBACK')
    }
    expect(restarted.chain.floor?.number).toBe(3)
    expect(restarted.kept).toEqual([])
  })

  it('refuses a second epoch of the same number: the rotator forked the realm', () => {
    const fork = world.epoch(undefined, { graceMs: 1 })
    expect(fork.hash).not.toEqual(first.hash)
    expect(refusalAfterFirst(fork)).toBe('ERR_ROLLBACK')
  })

  it('refuses a fork of the floor after a restart too', () => {
    const fork = world.epoch(undefined, { graceMs: 1 })
    const restarted = new World({ like: world, floor: first })
    expect(codeOf(() => restarted.accept(fork))).toBe('ERR_ROLLBACK')
    expect(codeOf(() => restarted.accept(world.epoch(fork)))).toBe('ERR_ROLLBACK')
  })

  it('accepts the epoch of the floor after a restart, and its predecessor with it', () => {
    const [, two, three] = world.epochs(3) as [MadeEpoch, MadeEpoch, MadeEpoch]
    const restarted = new World({ like: world, floor: three })
    restarted.chain.accept([two.bytes, three.bytes], three, three.epoch.notBefore)
    expect(restarted.chain.all().map(({ number }) => number)).toEqual([3, 2])
    expect(restarted.chain.current(three.epoch.notBefore).map(({ number }) => number)).toEqual([3, 2])
  })

  it('accepts the predecessor of the floor alone once the floor is here, and nothing older', () => {
    const [one, two, three] = world.epochs(3) as [MadeEpoch, MadeEpoch, MadeEpoch]
    const restarted = new World({ like: world, floor: three })
    const nowMs = three.epoch.notBefore
    restarted.accept(three)
    expect(codeOf(() => restarted.accept(world.epoch(one, { graceMs: 1 }), nowMs))).toBe('ERR_ROLLBACK')
    expect(restarted.accept(two, nowMs).number).toBe(2)
    expect(codeOf(() => restarted.accept(one, nowMs))).toBe('ERR_ROLLBACK')
    expect(restarted.chain.floor?.number).toBe(3)
    expect(restarted.chain.head?.number).toBe(3)
  })

  it('does not fall back to a predecessor that the authority signed', () => {
    const one = world.anchor(undefined)
    const two = world.epoch(one)
    const late = new World({ like: world })
    late.accept(two)
    expect(late.accept(one, two.epoch.notBefore).number).toBe(1)
    expect(late.chain.head?.number).toBe(2)
    expect(late.kept.map(({ number }) => number)).toEqual([2])
  })

  it('accepts a gap of many epochs by hash and number, and verifies only the newest in full', () => {
    const all = world.epochs(300)
    const [one, ...rest] = all as [MadeEpoch, ...MadeEpoch[]]
    world.accept(one)
    // Their signatures and tokens are worthless; that they hang together is what counts.
    const stripped = rest.slice(0, -1).map(({ bytes }) => {
      const { structure } = decodeStatement(WireType.epoch, bytes)
      return encodeStatement(WireType.epoch, { structure, signature: new Uint8Array(64), token: 'none' })
    })
    const newest = rest.at(-1) as MadeEpoch
    const accepted = world.chain.accept([...stripped, newest.bytes], newest, newest.epoch.notBefore)
    expect(accepted.number).toBe(300)
    expect(world.kept.map(({ number }) => number)).toEqual([1, 300])
    const { structure, token } = decodeStatement(WireType.epoch, newest.bytes)
    const forged = encodeStatement(WireType.epoch, { structure, token, signature: new Uint8Array(64) })
    const other = new World({ like: world, floor: one })
    expect(codeOf(() => other.chain.accept([...stripped, forged], newest, newest.epoch.notBefore))).toBe(
      'ERR_EPOCH_INVALID',
    )
  })

  it('refuses a gap in which one epoch was exchanged, and one that is not complete', () => {
    const all = world.epochs(5)
    world.accept(all[0] as MadeEpoch)
    const newest = all[4] as MadeEpoch
    const swapped = [all[1], world.epoch(all[1], { graceMs: 1 }), all[3], newest] as MadeEpoch[]
    const missing = [all[1], all[3], newest] as MadeEpoch[]
    for (const offered of [swapped, missing]) {
      const bytes = offered.map((made) => made.bytes)
      expect(codeOf(() => world.chain.accept(bytes, newest, newest.epoch.notBefore))).toBe('ERR_ROLLBACK')
    }
  })

  it('keeps the floor before the epoch is acted upon: where it cannot, nothing has changed', () => {
    const failing = new World({ like: world })
    const states: (number | undefined)[] = []
    failing.kept.push = () => {
      states.push(failing.chain.head?.number, failing.chain.current(T0).length)
      throw new Error('the disk is full')
    }
    expect(() => failing.accept(first)).toThrow('the disk is full')
    expect(states).toEqual([undefined, 0])
    expect(failing.chain.head).toBeUndefined()
    expect(failing.chain.current(T0)).toEqual([])
  })

  it('lists the epochs of now, newest first, and forgets those of which nothing can arrive any more', () => {
    const all = world.epochs(4)
    for (const made of all) world.accept(made)
    const overlap = (all[3] as MadeEpoch).epoch.notBefore
    expect(world.chain.current(overlap).map(({ number }) => number)).toEqual([4, 3])
    expect(world.chain.current(overlap + 5 * MINUTE).map(({ number }) => number)).toEqual([4])
    world.chain.prune(overlap)
    expect(world.chain.all().map(({ number }) => number)).toEqual([4, 3])
    world.chain.prune(overlap + 365 * DAY)
    expect(world.chain.all().map(({ number }) => number)).toEqual([4, 3])
  })
})

describe('an epoch that the authority signed', () => {
  it('replaces a fork of the same number', () => {
    world.accept(first)
    const anchor = world.anchor(undefined, { graceMs: 1 })
    expect(world.accept(anchor).byAuthority).toBe(true)
    expect(world.chain.head?.hash).toEqual(anchor.hash)
    expect(world.chain.byHash(first.hash)).toBeUndefined()
    expect(world.kept.at(-1)).toEqual({ number: 1, hash: anchor.hash })
    expect(codeOf(() => world.accept(first))).toBe('ERR_ROLLBACK')
  })

  it('bridges a gap that is lost, at any number above the floor', () => {
    world.accept(first)
    const anchor = world.anchor(undefined, {
      number: 40,
      prevHash: engine.randomBytes(32),
      notBefore: T0 + HOUR,
    })
    expect(world.accept(anchor).number).toBe(40)
    expect(world.accept(world.epoch(anchor)).number).toBe(41)
  })

  it('bridges a lost gap for an agent that was away when it came', () => {
    world.accept(first)
    const changes = { number: 40, notBefore: T0 + HOUR }
    for (const prevHash of [engine.randomBytes(32), first.hash]) {
      const away = new World({ like: world, floor: first })
      const anchor = world.anchor(undefined, { ...changes, prevHash })
      const next = world.epoch(anchor)
      const offered = [first.bytes, anchor.bytes, next.bytes]
      expect(away.chain.accept(offered, next, next.epoch.notBefore).number).toBe(41)
      expect(away.chain.all().map(({ number }) => number)).toEqual([41, 40])
    }
    // A rotator that leaves its token out is no authority.
    const fake = world.epoch(undefined, { ...changes, prevHash: first.hash }, { token: undefined })
    const next = world.epoch(fake)
    const offered = [fake.bytes, next.bytes]
    expect(codeOf(() => world.chain.accept(offered, next, next.epoch.notBefore))).toBe('ERR_ROLLBACK')
  })

  it('replaces a fork for an agent that only hears of the epoch after it', () => {
    world.accept(first)
    const anchor = world.anchor(undefined, { graceMs: 1 })
    const next = world.epoch(anchor)
    world.chain.accept([anchor.bytes, next.bytes], next, next.epoch.notBefore)
    expect(world.chain.all().map(({ hash }) => hash)).toEqual([next.hash, anchor.hash])
  })

  it('is refused below the floor', () => {
    const [, , three] = world.epochs(3) as [MadeEpoch, MadeEpoch, MadeEpoch]
    const restarted = new World({ like: world, floor: three })
    const anchor = world.anchor(undefined, { number: 2, prevHash: engine.randomBytes(32) })
    expect(codeOf(() => restarted.accept(anchor))).toBe('ERR_ROLLBACK')
  })

  it('below the floor does not open the way for a fork that comes after it', () => {
    const anchor = world.anchor(undefined)
    const kept = world.epoch(anchor)
    const fork = world.epoch(anchor, { graceMs: 1 })
    const next = world.epoch(fork)
    const restarted = new World({ like: world, floor: kept })
    const offered = [anchor.bytes, fork.bytes, next.bytes]
    expect(codeOf(() => restarted.chain.accept(offered, next, next.epoch.notBefore))).toBe('ERR_ROLLBACK')
  })

  it('is refused where another one of that number was accepted: the authority equivocates', () => {
    world.accept(world.anchor(undefined))
    expect(codeOf(() => world.accept(world.anchor(undefined, { graceMs: 1 })))).toBe('ERR_ROLLBACK')
  })

  it('is bound by the limits of an epoch as a rotator is', () => {
    expect(codeOf(() => world.accept(world.anchor(undefined, { notAfter: T0 + 2 * DAY })))).toBe(
      'ERR_EPOCH_INVALID',
    )
  })

  it('is signed by any of the pinned authorities', () => {
    expect(world.accept(world.anchor(undefined)).byAuthority).toBe(true)
    const stranger = world.epoch(undefined, {}, { signer: newAuthority(), token: undefined })
    expect(codeOf(() => new World({ like: world }).accept(stranger))).toBe('ERR_EPOCH_INVALID')
  })
})
