import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { FreshKeys } from '../../../src/bus/realm/fresh-keys.ts'
import type { Signer } from '../../../src/identity/signing-key.ts'
import { signOrder } from '../../../src/keys/orders.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { MINUTE, T0, World } from '../../support/statements.ts'

let world: World
let machine: ManualClock
let clock: HouseClock
/** When keys were renewed, and of which order. */
let renewed: { readonly number: number; readonly at: number; readonly after: number }[]
let hasKeys: boolean
let keys: FreshKeys

beforeEach(() => {
  world = new World({ rotators: 2 })
  machine = new ManualClock(T0)
  clock = houseClock(machine)
  world.epochs.current(T0)
  renewed = []
  hasKeys = true
  keys = new FreshKeys({
    engine,
    trust: world.trust,
    clock,
    timers: clock,
    epochs: world.epochs,
    revocations: world.revocations,
    plan: () => world.held,
    hasKeys: () => hasKeys,
    renew: ({ number }, at) => renewed.push({ number, at, after: clock.now() - at }),
  })
})

function order(by: Signer = world.authority, at = clock.now(), number = 1): Uint8Array {
  const { hash: epochHash } = world.epoch(number)
  return signOrder(by, { realm: world.realm, number, epochHash, at })
}

/** Lets every delay pass. */
const pass = (): void => machine.advance(30_000)

describe('an order for fresh keys', () => {
  it('of the authority is followed beside those of a thief of a rotation service’s key', () => {
    for (let i = 0; i < 5; i++) {
      for (const thief of world.rotators) keys.take(order(thief, clock.now() + 2 * MINUTE))
      machine.advance(MINUTE)
    }
    const given = clock.now()
    keys.take(order())
    pass()
    expect(renewed).toHaveLength(3)
    expect(renewed.at(-1)?.at).toBe(given)
  })

  it('of an authority, or of a rotation service of the plan, is followed within half a minute', () => {
    const delays: number[] = []
    for (const by of [world.authority, ...world.rotators]) {
      keys.take(order(by))
      pass()
      delays.push(renewed.at(-1)?.after ?? -1)
      machine.advance(MINUTE)
    }
    expect(renewed.map(({ number }) => number)).toEqual([1, 1, 1])
    for (const delay of delays) expect(delay).toBeLessThanOrEqual(30_000)
    expect(new Set(delays).size).toBe(3)
  })

  it('has the time of the order as the sequence number of the announcement', () => {
    keys.take(order(world.authority, T0 + 7))
    pass()
    expect(renewed.map(({ at }) => at)).toEqual([T0 + 7])
  })

  it('of anybody else is not followed, nor of a rotation service that an authority has revoked', () => {
    keys.take(order(world.identity('mallory')))
    world.revocations.add(world.revocation(world.rotator), T0)
    keys.take(order(world.rotator))
    pass()
    expect(renewed).toEqual([])
  })

  it('is followed three times in an epoch, a minute apart, and not again when it is played again', () => {
    const orders: Uint8Array[] = []
    for (let i = 0; i < 20; i++) {
      orders.push(order())
      for (const one of orders) keys.take(one)
      machine.advance(31_000)
    }
    expect(renewed).toHaveLength(3)
    const [first, second, third] = renewed.map(({ at }) => at)
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(MINUTE)
    expect((third ?? 0) - (second ?? 0)).toBeGreaterThanOrEqual(MINUTE)
  })

  it('is followed for the epoch that it names alone, at its time, where there are keys', () => {
    const verify = vi.spyOn(engine, 'verify')
    keys.take(order(world.authority, T0 - 2 * MINUTE - 1))
    keys.take(order(world.authority, T0 + 2 * MINUTE + 1))
    keys.take(order(world.authority, T0, 40))
    hasKeys = false
    keys.take(order())
    expect(verify.mock.calls.length).toBe(0)
    verify.mockRestore()
    pass()
    expect(renewed).toEqual([])
  })

  it('finds a budget of working time', () => {
    machine.workMs = 1
    const verify = vi.spyOn(engine, 'verify')
    for (let i = 0; i < 200; i++) keys.take(order(world.identity('mallory')))
    const { length } = verify.mock.calls
    verify.mockRestore()
    // Each tries the keys of the authority and of both rotation services.
    expect(length).toBe(3 * 25)
  })
})
