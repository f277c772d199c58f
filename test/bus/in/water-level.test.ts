import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { waterLevel } from '../../../src/bus/in/water-level.ts'

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0)

describe('the level to which shares are cut', () => {
  it('takes from those who have most, until all fits', () => {
    expect(waterLevel([10, 4, 9], 16)).toBe(6)
    expect(waterLevel([10, 4, 9], 23)).toBe(10)
    expect(waterLevel([10, 4, 9], 24)).toBe(Number.POSITIVE_INFINITY)
    expect(waterLevel([10, 4, 9], 0)).toBe(0)
    expect(waterLevel([], 5)).toBe(Number.POSITIVE_INFINITY)
  })

  it('uses all that there is, whatever the shares are', () => {
    const shares = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(shares, fc.integer({ min: 0, max: 20_000 }), (all, total) => {
        const level = waterLevel(all, total)
        const left = sum(all.map((share) => Math.min(share, level)))
        expect(left).toBeCloseTo(Math.min(total, sum(all)), 6)
      }),
    )
  })
})
