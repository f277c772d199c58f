import { describe, expect, it } from 'vitest'
import { HouseClock } from '../../src/base/house-clock.ts'
import { Trust } from '../../src/identity/trust.ts'
import { Epochs } from '../../src/keys/epochs.ts'
import { type HeldPlan, verifyPlan } from '../../src/keys/plan.ts'
import { RevocationSet } from '../../src/keys/revocations.ts'
import type { EpochTimes } from '../../src/keys/schedules.ts'
import { pinnedPlan } from '../../src/rotation/pinned-plans.ts'
import { ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'
import { selfSigned } from '../support/pinned.ts'
import { DAY, HOUR, MINUTE } from '../support/statements.ts'

const identity = selfSigned('rotator')

/** A service that signs its own plans, and takes up each of them. */
function service(times: Partial<EpochTimes> = {}) {
  const clock = new ManualClock()
  const trust = new Trust(engine, { realm: identity.publicKey, pins: {} })
  const revocations = new RevocationSet({ engine, trust })
  const house = new HouseClock(clock, () => {})
  const state = { plan: undefined as HeldPlan | undefined, times, highestHeard: 0 }
  const next = (): HeldPlan | undefined => {
    const kept = pinnedPlan({
      engine,
      identity,
      clock: house,
      record: { plan: state.plan, revocations },
      times: state.times,
      highestHeard: () => state.highestHeard,
    })
    if (kept === undefined) return undefined
    state.plan = verifyPlan({ engine, trust }, kept.plan, clock.now())
    return state.plan
  }
  return { clock, state, next }
}

const epochsOf = (plan: HeldPlan): Epochs => {
  const epochs = new Epochs({ engine })
  epochs.adopt(plan)
  return epochs
}

describe('under pins a rotation service signs its own plan', () => {
  it('once, of which it is the only service', () => {
    const { clock, next } = service()
    expect(next()).toMatchObject({
      version: 1,
      made: clock.now(),
      until: clock.now() + 400 * DAY,
      rotators: [identity.publicKey],
      threshold: 1,
      former: undefined,
      schedules: [{ first: 1, originMs: clock.now(), periodMs: 55 * MINUTE, leadMs: 5 * MINUTE }],
    })
    expect(next()).toBeUndefined()
  })

  it('and renews it in the last quarter of its life, with a new salt for epochs that everybody hears of in time', () => {
    const { clock, next } = service()
    const first = next()
    clock.jump(299 * DAY)
    expect(next()).toBeUndefined()
    clock.jump(2 * DAY)
    const second = next()
    if (first === undefined || second === undefined) throw new Error('no plan')
    expect(second.version).toBe(2)
    const [running, pending] = second.schedules
    expect(running).toEqual(first.schedules[0])
    expect(pending?.salt).not.toEqual(running?.salt)
    expect((pending?.originMs ?? 0) - clock.now()).toBeGreaterThanOrEqual(HOUR)
    expect(epochsOf(second).at(clock.now())?.hash).toEqual(epochsOf(first).at(clock.now())?.hash)
    expect(next()).toBeUndefined()
  })

  it('with the times that it is given, and follows when they are others', () => {
    const { clock, state, next } = service({ periodMs: 10 * MINUTE, leadMs: MINUTE })
    expect(next()?.schedules[0]).toMatchObject({ periodMs: 10 * MINUTE, leadMs: MINUTE, graceMs: 5 * MINUTE })
    state.times = {}
    expect(next()).toBeUndefined()
    state.times = { periodMs: 20 * MINUTE }
    expect(next()).toMatchObject({
      version: 2,
      schedules: [{ periodMs: 10 * MINUTE }, { periodMs: 20 * MINUTE }],
    })
    // Two are under way: what is wanted now has to wait.
    state.times = { periodMs: 30 * MINUTE }
    expect(next()).toBeUndefined()
    clock.jump(2 * HOUR)
    expect(next()?.schedules.map(({ periodMs }) => periodMs)).toEqual([20 * MINUTE, 30 * MINUTE])
  })

  it('anew when its clock was ahead: nobody takes a plan from the future', () => {
    const { clock, next } = service()
    clock.jump(365 * DAY)
    expect(next()?.version).toBe(1)
    clock.jump(-365 * DAY)
    const second = next()
    expect(second).toMatchObject({ version: 2, made: clock.now() })
    expect(second?.schedules).toMatchObject([{ first: 2, originMs: clock.now() }])
    expect(next()).toBeUndefined()
  })

  it('anew when it was ahead while it renewed: the epochs of now stay what they were', () => {
    const { clock, next } = service()
    const first = next()
    clock.jump(365 * DAY)
    expect(next()?.version).toBe(2)
    clock.jump(-365 * DAY)
    const third = next()
    if (first === undefined || third === undefined) throw new Error('no plan')
    expect(third).toMatchObject({ version: 3, made: clock.now() })
    expect(epochsOf(third).at(clock.now())?.hash).toEqual(epochsOf(first).at(clock.now())?.hash)
  })

  it('of a higher version than any that others have: its record was lost', () => {
    const { state, next } = service()
    state.highestHeard = 7
    expect(next()?.version).toBe(8)
    state.highestHeard = 8
    expect(next()?.version).toBe(9)
    expect(next()).toBeUndefined()
  })
})
