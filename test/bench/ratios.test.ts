import { describe, expect, it } from 'vitest'
import { medianInterval, ratioOf, verdictOf } from '../../bench/against/ratios.ts'

const pairs = (ratios: readonly number[]) => ratios.map((ratio) => ({ before: 200, after: 200 * ratio }))

/** How many of so many values lie below the median, at most so many: exact, by counting. */
function shareBelow(count: number, atMost: number): number {
  let ways = 0
  for (let mask = 0; mask < 2 ** count; mask++) {
    let heads = 0
    for (let bit = 0; bit < count; bit++) heads += (mask >> bit) & 1
    if (heads <= atMost) ways++
  }
  return ways / 2 ** count
}

describe('the interval of a median', () => {
  it.each([6, 7, 8, 9, 10, 11, 12, 15])(
    'holds the median of %i values at 95 %, and is as narrow as can be',
    (count) => {
      const { low, high } = medianInterval(Array.from({ length: count }, (_, i) => count - i))
      const left = low - 1
      expect(high).toBe(count - left)
      expect(2 * shareBelow(count, left)).toBeLessThanOrEqual(0.05)
      expect(2 * shareBelow(count, left + 1)).toBeGreaterThan(0.05)
    },
  )

  it('is all of the values where they are too few for 95 %', () => {
    expect(medianInterval([3, 1, 5, 2, 4])).toEqual({ low: 1, high: 5 })
    expect(medianInterval([7])).toEqual({ low: 7, high: 7 })
  })

  it('is not moved by one value that is far out', () => {
    expect(medianInterval([1, 2, 3, 4, 5, 6, 7, 8, 1e9])).toEqual({ low: 2, high: 8 })
  })

  it('does not exist for no values, nor where one of them failed', () => {
    expect(medianInterval([])).toEqual({ low: Number.NaN, high: Number.NaN })
    expect(medianInterval([1, Number.NaN, 2]).low).toBeNaN()
  })

  it('leaves the values in their order', () => {
    const values = [3, 1, 2]
    medianInterval(values)
    expect(values).toEqual([3, 1, 2])
  })
})

describe('the ratio of two checkouts', () => {
  it('is after ÷ before in each round, so that what disturbs a round disturbs no ratio', () => {
    const disturbed = [1, 10, 0.1, 3, 1, 7].map((factor) => ({ before: 100 * factor, after: 25 * factor }))
    expect(ratioOf(disturbed)).toMatchObject({ median: 0.25, min: 0.25, max: 0.25, count: 6 })
  })

  it('is 1 where neither has anything', () => {
    expect(ratioOf([{ before: 0, after: 0 }])).toMatchObject({ median: 1, min: 1, max: 1 })
  })
})

describe('the verdict on a ratio', () => {
  const around = [0.9, 1.1, 0.95, 1.05, 1.2, 0.8]
  const above = [1.1, 1.2, 1.15, 1.1, 1.05, 1.12]

  it('is noise where the interval includes 1', () => {
    expect(verdictOf(ratioOf(pairs(around)), 'lower')).toBe('noise')
  })

  it('is noise where the interval only touches 1', () => {
    expect(verdictOf(ratioOf(pairs([1, 1.1, 1.2, 1.3, 1.4, 1.5])), 'lower')).toBe('noise')
  })

  it.each([
    { ratios: 'above 1', better: 'higher', verdict: 'better' },
    { ratios: 'above 1', better: 'lower', verdict: 'worse' },
    { ratios: 'below 1', better: 'higher', verdict: 'worse' },
    { ratios: 'below 1', better: 'lower', verdict: 'better' },
  ] as const)('is $verdict for ratios $ratios of what is better $better', ({ ratios, better, verdict }) => {
    const values = ratios === 'above 1' ? above : above.map((ratio) => 1 / ratio)
    expect(verdictOf(ratioOf(pairs(values)), better)).toBe(verdict)
  })

  it('is not changed by one round that says otherwise, once there are nine', () => {
    expect(verdictOf(ratioOf(pairs([...above, 1.1, 1.13, 0.5])), 'higher')).toBe('better')
  })

  it('is the same where no round differs', () => {
    expect(verdictOf(ratioOf(pairs([1, 1, 1])), 'lower')).toBe('same')
  })

  it('is noise where a round failed', () => {
    expect(verdictOf(ratioOf(pairs([...above, Number.NaN])), 'higher')).toBe('noise')
  })
})
