import { beforeEach, describe, expect, it, vi } from 'vitest'
import { PlanChoice } from '../../../src/bus/realm/plan-choice.ts'
import type { KeptPlan } from '../../../src/keys/plan-book.ts'
import { engine } from '../../support/identities.ts'
import { codeOf, DAY, T0, World } from '../../support/statements.ts'

let world: World
let choice: PlanChoice

beforeEach(() => {
  world = new World({ rotators: 3 })
  choice = new PlanChoice({ engine, trust: world.trust }, 0)
})

function offer({ plan, list }: KeptPlan, next?: Uint8Array, to = choice): void {
  to.offer({ statements: [plan, ...list], next }, T0)
}

describe('the plan of somebody who has none', () => {
  it('is the highest version that comes, in whatever order', () => {
    for (const version of [2, 5, 3]) offer(world.plan({ version }))
    expect(choice.best?.plan.version).toBe(5)
    expect(choice.best?.list).toEqual([])
  })

  it('is decided when as many bring it as must count under it', () => {
    const old = world.plan()
    const newest = world.plan({ version: 2 })
    offer(old)
    expect(choice.isDecided).toBe(false)
    offer(newest)
    offer(old)
    expect(choice.isDecided).toBe(false)
    offer(newest)
    expect([choice.isDecided, choice.best?.plan.version]).toEqual([true, 2])
  })

  it('is none of another realm, of another authority, or below the floor', () => {
    expect(codeOf(() => offer(new World().plan()))).toBe('ERR_PLAN_INVALID')
    expect(codeOf(() => offer(world.plan({ made: T0 + DAY })))).toBe('ERR_PLAN_INVALID')
    const floor = new PlanChoice({ engine, trust: world.trust }, 3)
    expect(codeOf(() => offer(world.plan({ version: 2 }), undefined, floor))).toBe('ERR_ROLLBACK')
    expect([choice.best, floor.best]).toEqual([undefined, undefined])
  })

  it('has its list only where that is whole and the one that it names', () => {
    const revocation = world.revocation(world.identity('gone'), { since: T0 - 1 })
    const kept = world.plan({ list: [revocation] })
    offer({ ...kept, list: [] })
    expect(choice.best?.list).toBeUndefined()
    offer(kept, new Uint8Array(16))
    expect(choice.best?.list).toBeUndefined()
    offer(kept)
    expect(choice.best?.list).toEqual([revocation])
    offer({ ...kept, list: [] })
    expect(choice.best?.list).toEqual([revocation])
  })

  it('gives way to the next one where it turns out to be of no use', () => {
    offer(world.plan({ version: 1 }))
    offer(world.plan({ version: 2 }))
    const { best } = choice
    if (best !== undefined) choice.drop(best)
    expect(choice.best?.plan.version).toBe(1)
  })

  it('costs one signature however often it comes, and few whatever comes', () => {
    const verify = vi.spyOn(engine, 'verify')
    const kept = world.plan()
    for (let i = 0; i < 10; i++) offer(kept)
    expect(verify).toHaveBeenCalledTimes(1)
    for (let version = 2; version < 100; version++) offer(world.plan({ version }))
    expect(verify.mock.calls.length).toBeLessThanOrEqual(8)
    verify.mockRestore()
  })

  it('takes no answers any more once there were many', () => {
    for (let i = 0; i < 32; i++) offer(world.plan())
    offer(world.plan({ version: 9 }))
    expect(choice.best?.plan.version).toBe(1)
  })

  it('is nothing of an empty page', () => {
    choice.offer({ statements: [], next: undefined }, T0)
    expect([choice.best, choice.isDecided]).toEqual([undefined, false])
  })
})
