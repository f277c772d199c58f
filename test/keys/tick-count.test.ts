import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type CountedPlan, TickCount } from '../../src/keys/tick-count.ts'

const plan = (rotators: string, threshold: number): CountedPlan => ({ rotators: [...rotators], threshold })

function counting(of: CountedPlan): TickCount {
  const count = new TickCount()
  count.adopt(of)
  return count
}

describe('the count of ticks', () => {
  it('is nothing before so many rotation services have answered', () => {
    const count = counting(plan('abc', 2))
    expect(count.freshFrom(2)).toBeUndefined()
    count.count('a', 10)
    count.count('a', 20)
    expect(count.freshFrom(2)).toBeUndefined()
    count.count('b', 5)
    expect(count.freshFrom(2)).toBe(5)
  })

  it('is when the last of the newest was asked', () => {
    const count = counting(plan('abc', 2))
    for (const [rotator, at] of [
      ['a', 10],
      ['b', 30],
      ['c', 20],
    ] as const)
      count.count(rotator, at)
    expect(count.freshFrom(2)).toBe(20)
    expect(count.freshFrom(1)).toBe(30)
    expect(count.freshFrom(3)).toBe(10)
  })

  it('never goes back by a tick that comes late', () => {
    const count = counting(plan('a', 1))
    count.count('a', 20)
    count.count('a', 10)
    expect(count.freshFrom(1)).toBe(20)
  })

  it('takes nobody who is not in the plan', () => {
    const count = counting(plan('ab', 1))
    count.count('z', 100)
    expect(count.freshFrom(1)).toBeUndefined()
  })

  it('begins anew with another plan, and keeps what was reached', () => {
    const count = counting(plan('a', 1))
    count.count('a', 50)
    count.adopt(plan('abc', 2))
    expect(count.freshFrom(2)).toBe(50)
    count.count('a', 90)
    expect(count.freshFrom(2)).toBe(50)
    count.count('b', 80)
    expect(count.freshFrom(2)).toBe(80)
  })

  it('reaches nothing under a plan that asks for more by what was answered under one that asked for less', () => {
    const count = counting(plan('abc', 2))
    count.count('a', 50)
    count.adopt(plan('abc', 2))
    count.count('b', 60)
    expect(count.freshFrom(2)).toBeUndefined()
  })

  it('leaves out a rotation service that is revoked, under this plan', () => {
    const count = counting(plan('abc', 2))
    count.count('a', 50)
    count.count('b', 40)
    count.drop('a')
    expect(count.freshFrom(2)).toBeUndefined()
    count.count('a', 60)
    expect(count.freshFrom(2)).toBeUndefined()
    count.count('c', 30)
    expect(count.freshFrom(2)).toBe(30)
    count.adopt(plan('ab', 2))
    expect(count.freshFrom(2)).toBe(30)
  })

  it('never goes back, never mixes two plans, and is the highest that any plan has reached by itself', () => {
    const rotators = ['a', 'b', 'c', 'd']
    const event = fc.oneof(
      { weight: 5, arbitrary: fc.record({ rotator: fc.constantFrom(...rotators), at: fc.nat(1000) }) },
      {
        weight: 1,
        arbitrary: fc
          .subarray(rotators, { minLength: 1 })
          .chain((of) =>
            fc.record({ rotators: fc.constant(of), threshold: fc.integer({ min: 1, max: of.length }) }),
          ),
      },
    )
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const count = new TickCount()
        let held: CountedPlan = { rotators: [], threshold: 1 }
        let answers: { readonly rotator: string; readonly at: number }[] = []
        let reached = -1
        for (const one of events) {
          const before = count.freshFrom(held.threshold) ?? -1
          if ('threshold' in one) {
            held = one
            answers = []
            count.adopt(one)
          } else {
            count.count(one.rotator, one.at)
            if (held.rotators.includes(one.rotator)) answers.push(one)
          }
          const newest = held.rotators
            .map((rotator) =>
              Math.max(-1, ...answers.filter((a) => a.rotator === rotator).map(({ at }) => at)),
            )
            .sort((a, b) => b - a)
          reached = Math.max(reached, newest[held.threshold - 1] ?? -1)
          const now = count.freshFrom(held.threshold) ?? -1
          expect(now).toBe(reached)
          expect(now).toBeGreaterThanOrEqual(before)
        }
      }),
    )
  })
})
