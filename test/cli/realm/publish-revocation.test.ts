import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { publishRevocation } from '../../../src/cli/realm/publish-revocation.ts'
import { ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { Visited } from './visits.ts'

let clock: ManualClock
let visited: Visited
let statement: Uint8Array
beforeEach(async () => {
  clock = new ManualClock()
  visited = await Visited.start(clock)
  const [first] = visited.hands
  if (first === undefined) throw new Error('there is no rotation service')
  statement = first.world.revocation(visited.realm.identity('mallory'), { since: clock.now() })
})
afterEach(() => visited.realm.stop())

/** Has these services hold the revocation. */
function hold(...which: readonly number[]): void {
  for (const [i, hand] of visited.hands.entries()) hand.revocations = which.includes(i) ? [statement] : []
}

const publish = (options: Parameters<Visited['visit']>[1] = {}) =>
  visited.visit((operator) => publishRevocation(operator, visited.held(), statement), options)

const UNCONFIRMED = { isConfirmed: false }
const CONFIRMED = { isConfirmed: true }

describe('a revocation', () => {
  it('is confirmed once as many services hold it as must answer', async () => {
    hold(0)
    expect(await publish()).toMatchObject({ ...UNCONFIRMED, holders: [visited.key(0)] })
    hold(0, 2)
    const { isConfirmed, holders } = await publish()
    expect(isConfirmed).toBe(true)
    expect(new Set(holders)).toEqual(new Set([visited.key(0), visited.key(2)]))
  })

  it('is published until it is confirmed', async () => {
    hold(0, 1)
    const seen = await visited.realm.tap(`${visited.realm.root}.revoke`)
    await publish()
    expect(seen.map(({ data }) => data)).toEqual([statement, statement])
    await publish({ timeoutMs: 2000, plans: [] })
    expect(seen.length).toBeGreaterThan(3)
  })

  it('is not confirmed by being shown, where a tick names another set', async () => {
    hold(0, 1, 2)
    for (const hand of visited.hands.slice(1)) hand.namedRevocations = []
    expect(await publish()).toMatchObject({ ...UNCONFIRMED, holders: [visited.key(0)] })
  })

  it('is not confirmed by a tick whose set does not come', async () => {
    hold(0, 1, 2)
    const [first] = visited.hands
    const other = first?.world.revocation(visited.realm.identity('guest'), { since: clock.now() })
    for (const hand of visited.hands.slice(1)) {
      hand.revocations = [...hand.revocations, ...(other === undefined ? [] : [other])]
      hand.isAnswering = false
    }
    expect(await publish()).toMatchObject({ ...UNCONFIRMED, holders: [visited.key(0)] })
  })

  it('is not confirmed by processes of which each answers once', async () => {
    hold(0, 1, 2)
    for (const hand of visited.hands)
      Object.defineProperty(hand, 'changes', { get: () => ({ process: engine.randomBytes(8) }) })
    expect(await publish()).toMatchObject({ ...UNCONFIRMED, holders: expect.any(Array) })
  })

  it('is not confirmed by services that hand over, act on another plan, or have another time', async () => {
    hold(0, 1, 2)
    const others = visited.hands.slice(1)
    for (const changes of [
      { standing: 0 as const },
      { planVersion: 2 },
      { planVersion: 0 },
      { now: clock.now() - 300_000 },
    ]) {
      for (const hand of others) hand.changes = changes
      expect(await publish({ timeoutMs: 2000 }), JSON.stringify(changes)).toMatchObject(UNCONFIRMED)
    }
    for (const hand of others) hand.changes = {}
    expect(await publish()).toMatchObject(CONFIRMED)
  })

  it('is not confirmed by services that are revoked', async () => {
    hold(0, 1)
    const isRevoked = (rotator: string): boolean => rotator === visited.key(0)
    expect(await publish({ isRevoked })).toMatchObject({ ...UNCONFIRMED, holders: [visited.key(1)] })
  })

  it('is not confirmed by a service of another plan, whose key the one in force does not name', async () => {
    hold(0, 1)
    const { kept } = visited.realm
    const other = visited.realm.nextPlan({
      rotators: [visited.key(2)],
      threshold: 1,
      version: 1,
      former: undefined,
    })
    expect(
      await visited.visit((operator) => publishRevocation(operator, visited.held(other), statement), {
        plans: [visited.held(kept), visited.held(other)],
      }),
    ).toMatchObject({ ...UNCONFIRMED, holders: [] })
  })

  it('is not confirmed by answers from before', async () => {
    hold(0, 1)
    const [first] = visited.hands
    // It repeats the answer to another question, and never one of its own.
    const old = first?.answer(engine.randomBytes(16)) ?? new Uint8Array(0)
    if (first !== undefined) first.answer = () => old
    expect(await publish()).toMatchObject({ ...UNCONFIRMED, holders: [visited.key(1)] })
  })

  it('is confirmed also while another one is in force whose revoker’s token has ended', async () => {
    const { world } = visited.hands[0] ?? {}
    const guard = visited.realm.identity('guard', { roles: ['revoker'], expiresAtMs: clock.now() + 1000 })
    const earlier = world?.revocation(
      visited.realm.identity('intern'),
      { since: clock.now() },
      { signer: guard, token: guard.token },
    )
    clock.advance(2000)
    for (const hand of visited.hands) hand.revocations = earlier === undefined ? [] : [earlier, statement]
    expect(await publish()).toMatchObject(CONFIRMED)
  })
})
