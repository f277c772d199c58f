import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LIST_REST_PER_MS, MAX_REVOCATION_LISTS } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { listHash } from '../../src/keys/plan.ts'
import { RevocationSet, type RevocationSetOptions } from '../../src/keys/revocations.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeStatement, encodeStatement } from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, may } from '../support/identities.ts'
import { DAY, HOUR, T0, World } from '../support/statements.ts'

const [X, Y] = ['UX', 'UY']
let world: World
let clock: ManualClock
let alice: Identity
let bob: Identity
let guard: Identity
let mallory: Identity
let mallet: Identity
let set: RevocationSet

beforeEach(() => {
  world = new World()
  clock = new ManualClock(T0)
  alice = world.identity('alice')
  bob = world.identity('bob')
  guard = world.identity('guard', { roles: ['revoker'], permissions: may(['a'.repeat(100)], []) })
  mallet = world.identity('mallet', { roles: ['revoker'] })
  // With a token that is nearly as long as one can be: few of its revocations are as many bytes as are held.
  const many = Array.from({ length: 150 }, (_, i) => `subject.${i}.${'x'.repeat(60)}`)
  mallory = world.identity('mallory', { roles: ['revoker'], permissions: may([], many) })
  set = newSet()
})
afterEach(() => {
  vi.restoreAllMocks()
})

function newSet(rest: Partial<RevocationSetOptions> = {}): RevocationSet {
  return new RevocationSet({ engine, trust: world.trust, clock, ...rest })
}

function signedBy(signer: Identity, identity: Identity, changes = {}): Uint8Array {
  return world.revocation(identity, changes, { signer, token: signer.token })
}

/** What a tick of a service says that holds this list. */
function named(rotator: string, list: readonly Uint8Array[], now = T0) {
  return { rotator, revocationsHash: listHash(engine, list), now }
}

/** Has a set hold a list that a service names. */
function hold(rotator: string, list: readonly Uint8Array[], now = T0, into = set) {
  return into.hold(list, named(rotator, list, now))
}

/** As many revocations by a revoker in the wrong hands as any set holds of revokers. */
function mostOfMallory(reason = 'junk'): readonly Uint8Array[] {
  const scratch = newSet()
  // Short ones where no long one has room any more.
  for (const signer of [mallory, mallet])
    for (let i = 0; ; i++) {
      const one = signedBy(signer, alice, {
        since: 0,
        until: T0 + DAY,
        reason: `${reason} ${signer.name}${i}`,
      })
      if (scratch.take(one, T0) === undefined) break
    }
  return scratch.all().map(({ bytes }) => bytes)
}

/** A copy of a statement with a signature that does not fit. */
function forged(statement: Uint8Array): Uint8Array {
  const { structure, token } = decodeStatement(WireType.revocation, statement)
  return encodeStatement(WireType.revocation, { structure, token, signature: new Uint8Array(64) })
}

describe('the set that a rotation service names', () => {
  it('is held by whoever holds it all, and more does not matter', () => {
    const list = ['a', 'b'].map((reason) => world.revocation(alice, { reason, until: T0 + DAY }))
    const own = world.revocation(bob, { until: T0 + DAY })
    set.add(own, T0)
    expect(set.holds(named(X, []))).toBe(false)
    expect(hold(X, [])).toEqual({ added: [], isHeld: true })
    expect([set.holds(named(X, [])), set.holds(named(Y, []))]).toEqual([true, false])
    expect([set.owns(named(X, [])), set.owns(named(Y, []))]).toEqual([true, false])
    expect(set.beyond(named(X, [])).map(({ bytes }) => bytes)).toEqual([own])
    expect(set.holds(named(X, list))).toBe(false)
    expect(set.beyond(named(X, list))).toEqual([])
    expect(hold(X, list).added).toHaveLength(2)
    expect([set.holds(named(X, list)), set.holds(named(X, []))]).toEqual([true, false])
    expect(set.beyond(named(X, list)).map(({ bytes }) => bytes)).toEqual([own])
    expect(set.holds(named(X, [...list, own]))).toBe(true)
    expect(set.beyond(named(X, [...list, own]))).toEqual([])
    expect(hold(X, list)).toEqual({ added: [], isHeld: true })
  })

  it('is compared as of the time at which it is named', () => {
    const list = [world.revocation(alice), world.revocation(bob, { until: T0 + HOUR })]
    set.add(world.revocation(alice, { reason: 'own' }), T0)
    expect(hold(X, list).isHeld).toBe(true)
    const later = named(X, list.slice(0, 1), T0 + HOUR)
    expect([set.holds(later), set.holds({ ...later, now: T0 })]).toEqual([true, false])
    expect(set.beyond(later)).toHaveLength(1)
  })

  it('is believed of a revoker whose token has ended since', () => {
    const short = world.identity('guard', { roles: ['revoker'], expiresAtMs: T0 + HOUR })
    const list = [signedBy(short, alice)]
    expect(hold(X, list, T0 + DAY).isHeld).toBe(true)
    expect(set.isRevoked(alice.claims)).toBe(true)
  })

  it('is nothing else than what it names: of another list nothing is verified, and nothing changes', () => {
    const verify = vi.spyOn(engine, 'verify')
    const list = [world.revocation(alice), world.revocation(bob)]
    for (const sent of [list.slice(0, 1), [...list, world.revocation(world.rotator)], []])
      expect(set.hold(sent, named(X, list))).toEqual({ added: [], isHeld: false })
    expect(verify).not.toHaveBeenCalled()
    expect(set.all()).toEqual([])
    // In any order, and said twice: it is a set.
    expect(set.hold([...list, ...list].reverse(), named(X, list)).isHeld).toBe(true)
  })

  it('is not held where one of it is not signed by anybody who may revoke; what is proved before that is', () => {
    const stranger = world.identity('stranger')
    const list = [
      forged(signedBy(guard, alice, { reason: 'forged' })),
      signedBy(stranger, alice),
      signedBy(guard, bob, { reason: 'behind it' }),
      world.revocation(bob),
    ]
    const { added, isHeld } = hold(X, list)
    expect([isHeld, added.map(({ revocation }) => revocation.reason)]).toEqual([false, ['lost']])
    expect([set.holds(named(X, list)), set.isRevoked(bob.claims)]).toEqual([false, true])
    expect(set.isRevoked(alice.claims)).toBe(false)
  })

  it('has one by its words: a copy with the authority’s signature counts for more', () => {
    const { rotator } = world
    hold(X, [signedBy(guard, rotator)])
    expect(set.revokedByAuthority(rotator.publicKey)).toBe(false)
    expect(hold(Y, [world.revocation(rotator)]).added).toHaveLength(1)
    expect(set.revokedByAuthority(rotator.publicKey)).toBe(true)
    // A broker that puts another signature in its place changes nothing for who holds it.
    expect(hold(Y, [forged(world.revocation(rotator))]).isHeld).toBe(true)
  })
})

describe('a service and a revoker in the wrong hands', () => {
  it('cannot fill what an agent holds so that it lacks what another service names', () => {
    const junk = mostOfMallory()
    const genuine = signedBy(guard, bob)
    expect(hold(X, junk).isHeld).toBe(true)
    expect(set.owns(named(X, junk))).toBe(true)
    expect(set.take(genuine, T0)).toBeUndefined()
    expect(hold(Y, [genuine])).toMatchObject({ isHeld: true, added: [expect.anything()] })
    // What finds no room in the own set is not what this one would name itself.
    expect([set.holds(named(Y, [genuine])), set.owns(named(Y, [genuine]))]).toEqual([true, false])
    expect([set.isRevoked(bob.claims), set.covers({ ...bob.claims, isRotator: false })]).toEqual([true, true])
    // And goes on to: whatever the first one names next.
    expect(hold(X, mostOfMallory('other')).isHeld).toBe(true)
    expect(hold(X, []).isHeld).toBe(true)
    expect([set.holds(named(X, [])), set.holds(named(Y, [genuine])), set.isRevoked(bob.claims)]).toEqual([
      true,
      true,
      true,
    ])
    expect(set.knows(genuine)).toBe(true)
    expect(set.all().map(({ bytes }) => bytes)).toContainEqual(genuine)
  })

  it('keep the authority’s word out neither of the set nor of a list', () => {
    hold(X, mostOfMallory())
    const [single, listed] = [world.revocation(bob), world.revocation(alice)]
    expect(set.add(single, T0)).toBeDefined()
    expect(hold(Y, [listed]).isHeld).toBe(true)
    expect(set.owns(named(Y, [listed]))).toBe(true)
    expect([alice, bob].every(({ claims }) => set.isRevoked(claims))).toBe(true)
    expect(
      set
        .all()
        .slice(0, 2)
        .every(({ byAuthority }) => byAuthority),
    ).toBe(true)
  })

  it('make no list that is too long for anybody the end of what the authority says in it', () => {
    const list = [...mostOfMallory(), ...mostOfMallory('more').slice(0, 10), world.revocation(bob)]
    const { added, isHeld } = hold(X, list)
    expect(isHeld).toBe(false)
    expect(added[0]?.byAuthority).toBe(true)
    expect(set.isRevoked(bob.claims)).toBe(true)
    // Beside it, all others are counted.
    expect(hold(Y, [world.revocation(bob)]).isHeld).toBe(true)
  })

  it('make nobody forget: what only a former list named is in the set once there is room', () => {
    hold(X, mostOfMallory())
    const genuine = signedBy(guard, bob)
    hold(Y, [genuine])
    set.prune(T0 + DAY + 200_000)
    expect(set.inForce(T0 + DAY)).toEqual([])
    hold(Y, [], T0 + DAY)
    expect(set.isRevoked(bob.claims)).toBe(true)
    expect(set.inForce(T0 + DAY).map(({ bytes }) => bytes)).toEqual([genuine])
  })

  it('cost an agent a part of its time: after a list that took long the next one of the same service waits', () => {
    clock.workMs = 100
    const lists = ['a', 'b', 'c'].map((reason) => [signedBy(guard, alice, { reason })])
    const [first = [], second = [], third = []] = lists
    expect(hold(X, first).isHeld).toBe(true)
    expect(hold(X, second).isHeld).toBe(false)
    // What is known needs no time, and others do not wait.
    expect(hold(X, first).isHeld).toBe(true)
    expect(hold(Y, third).isHeld).toBe(true)
    clock.advance(100 * LIST_REST_PER_MS)
    expect(hold(X, second).isHeld).toBe(true)
  })

  it('leave a bounded number of lists, the last ones', () => {
    hold(X, mostOfMallory())
    const genuine = [signedBy(guard, bob)]
    for (let i = 0; i < MAX_REVOCATION_LISTS; i++) hold(`U${i}`, i === 0 ? genuine : [])
    expect([set.holds(named('U0', genuine)), set.holds(named('U1', []))]).toEqual([true, true])
    hold('U new', [])
    expect([set.holds(named('U0', genuine)), set.holds(named('U1', []))]).toEqual([false, true])
  })
})

describe('the list beside a plan', () => {
  const plan = (list: readonly Uint8Array[]) => ({ made: T0, revocationsHash: listHash(engine, list) })

  it('is held, however full the set is, and does not wait', () => {
    hold(X, mostOfMallory())
    clock.workMs = 1000
    const list = [signedBy(guard, bob)]
    expect(set.holdPlan(list, plan(list)).isHeld).toBe(true)
    const next = [...list, signedBy(guard, alice)]
    expect(set.holdPlan(next, plan(next)).isHeld).toBe(true)
    expect([alice, bob].every(({ claims }) => set.isRevoked(claims))).toBe(true)
  })

  it('stays, however many services there are', () => {
    hold(X, mostOfMallory())
    const list = [signedBy(guard, bob)]
    set.holdPlan(list, plan(list))
    for (let i = 0; i < 2 * MAX_REVOCATION_LISTS; i++) hold(`U${i}`, [])
    expect(set.isRevoked(bob.claims)).toBe(true)
  })

  it('is judged as of when the plan was made', () => {
    const list = [world.revocation(alice, { until: T0 + HOUR })]
    clock.jump(DAY)
    expect(set.holdPlan(list, plan(list)).isHeld).toBe(true)
    expect(newSet().holdPlan(list, { ...plan(list), made: T0 + HOUR }).isHeld).toBe(false)
  })
})
