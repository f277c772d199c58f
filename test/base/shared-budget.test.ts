import { beforeEach, describe, expect, it } from 'vitest'
import { SharedBudget } from '../../src/base/shared-budget.ts'

let budget: SharedBudget<string>

beforeEach(() => {
  budget = new SharedBudget(60)
})

/** Has somebody work in pieces of 1 ms for as long as it may. @returns how many ms that were */
function workOf(who: string, nowMs: number): number {
  let worked = 0
  while (worked < 1000 && budget.mayWork(who, nowMs)) {
    budget.spend(who, 1)
    worked++
  }
  return worked
}

describe('a shared budget', () => {
  it('is all of it for one who is alone, and comes again in the next second', () => {
    expect([workOf('alice', 0), workOf('alice', 999), workOf('alice', 1000)]).toEqual([60, 0, 60])
  })

  it('keeps a part for those who come later, however much one has spent', () => {
    expect(workOf('mallory', 0)).toBe(60)
    expect([workOf('alice', 10), workOf('bob', 20)]).toEqual([30, 20])
  })

  it('is in equal parts from the second on in which others are known to ask', () => {
    for (const who of ['mallory', 'alice', 'bob']) workOf(who, 0)
    expect(['mallory', 'alice', 'bob'].map((who) => workOf(who, 1000))).toEqual([20, 20, 20])
    // Nobody else has asked for a second: what they leave is for who does.
    expect([workOf('mallory', 2000), workOf('mallory', 3000)]).toEqual([20, 60])
  })

  it('forgets who asked when nobody has asked for two seconds', () => {
    for (const who of ['mallory', 'alice']) workOf(who, 0)
    expect(workOf('mallory', 2000)).toBe(60)
  })

  it('is not filled by work that was measured to take less than no time', () => {
    workOf('alice', 0)
    budget.spend('alice', -100)
    expect(budget.mayWork('alice', 0)).toBe(false)
  })
})
