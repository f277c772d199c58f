import { beforeEach, describe, expect, it, vi } from 'vitest'
import { PlanChoice } from '../../../src/bus/realm/plan-choice.ts'
import type { KeptPlan } from '../../../src/keys/plan-book.ts'
import { WireType } from '../../../src/wire/preamble.ts'
import { decodeStatement, encodeStatement } from '../../../src/wire/statements.ts'
import { engine } from '../../support/identities.ts'
import { codeOf, DAY, T0, World } from '../../support/statements.ts'

let world: World
let choice: PlanChoice

beforeEach(() => {
  world = new World({ rotators: 3 })
  choice = new PlanChoice({ engine, trust: world.trust })
})

/** An answer to a question of its own. */
function offer(
  { plan, list }: KeptPlan,
  next?: Uint8Array,
  to = choice,
  nonce = engine.randomBytes(16),
): void {
  to.offer({ nonce, statements: [plan, ...list], next }, T0)
}

describe('the plan of somebody who has none', () => {
  it('is the highest version that comes, in whatever order', () => {
    for (const version of [2, 5, 3]) offer(world.plan({ version }))
    expect(choice.best?.plan.version).toBe(5)
    expect(choice.best?.list).toEqual([])
  })

  it('is decided when as many questions are answered with it as services must count under it', () => {
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

  it('is decided by no number of answers to one question: somebody repeats himself', () => {
    const kept = world.plan()
    const nonce = engine.randomBytes(16)
    for (let i = 0; i < 5; i++) offer(kept, undefined, choice, nonce)
    expect(choice.isDecided).toBe(false)
    offer(kept)
    expect(choice.isDecided).toBe(true)
  })

  it('is none of another realm, of another authority, or below the floor', () => {
    expect(codeOf(() => offer(new World().plan()))).toBe('ERR_PLAN_INVALID')
    expect(codeOf(() => offer(world.plan({ made: T0 + DAY })))).toBe('ERR_PLAN_INVALID')
    const floor = new PlanChoice({ engine, trust: world.trust }, { floor: 3 })
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

  it('has the list whose signatures hold, whatever others came before it', () => {
    const revocation = world.revocation(world.identity('gone'), { since: T0 - 1 })
    const kept = world.plan({ list: [revocation] })
    const statement = decodeStatement(WireType.revocation, revocation)
    const signature = statement.signature.map((byte, i) => (i === 3 ? byte ^ 1 : byte))
    offer({ ...kept, list: [encodeStatement(WireType.revocation, { ...statement, signature })] })
    expect([choice.best?.plan.version, choice.best?.list]).toEqual([1, undefined])
    offer(kept)
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
    verify.mockRestore()
  })

  it('finds a place among eight, whatever older ones came before it: the lowest version gives way', () => {
    for (let version = 1; version < 40; version++) offer(world.plan({ version }))
    const verify = vi.spyOn(engine, 'verify')
    for (let version = 1; version < 31; version++) offer(world.plan({ version }))
    expect(verify).not.toHaveBeenCalled()
    verify.mockRestore()
    offer(world.plan({ version: 50 }))
    const versions: (number | undefined)[] = []
    for (let { best } = choice; best !== undefined; best = choice.best) {
      versions.push(best.plan.version)
      choice.drop(best)
    }
    expect(versions).toEqual([50, 39, 38, 37, 36, 35, 34, 33])
  })

  it('finds a place whatever came that is of no use', () => {
    const floor = new PlanChoice({ engine, trust: world.trust }, { floor: 5 })
    for (let i = 0; i < 100; i++) {
      expect(codeOf(() => offer(world.plan({ version: (i % 4) + 1 }), undefined, floor))).toBe('ERR_ROLLBACK')
      expect(codeOf(() => offer(new World().plan({ version: 9 }), undefined, floor))).toBe('ERR_PLAN_INVALID')
    }
    offer(world.plan({ version: 5 }), undefined, floor)
    expect(floor.best?.plan.version).toBe(5)
  })

  it('is above the one that is held: of others no signature is checked', () => {
    const newer = new PlanChoice({ engine, trust: world.trust }, { held: 3 })
    const verify = vi.spyOn(engine, 'verify')
    for (const version of [1, 2, 3]) offer(world.plan({ version }), undefined, newer)
    expect([newer.best, verify.mock.calls]).toEqual([undefined, []])
    verify.mockRestore()
    offer(world.plan({ version: 4 }), undefined, newer)
    expect(newer.best?.plan.version).toBe(4)
  })

  it('is nothing of an empty page', () => {
    choice.offer({ nonce: engine.randomBytes(16), statements: [], next: undefined }, T0)
    expect([choice.best, choice.isDecided]).toEqual([undefined, false])
  })
})
