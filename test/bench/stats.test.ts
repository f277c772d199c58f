import { describe, expect, it } from 'vitest'
import { line, median, power, quantile, spread } from '../../bench/lib/stats.ts'

describe('what is said of many values', () => {
  it('takes the middle one, or the mean of the two in the middle', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 3, 2])).toBe(2.5)
  })

  it('is not moved by one value that is far out', () => {
    expect(median([1, 2, 3, 4, 1e9])).toBe(3)
  })

  it('interpolates the quartiles', () => {
    expect(quantile([1, 2, 3, 4, 5], 0.25)).toBe(2)
    expect(quantile([1, 2, 3, 4], 0.25)).toBe(1.75)
    expect(quantile([1, 2, 3, 4], 1)).toBe(4)
  })

  it('leaves the values in their order', () => {
    const values = [3, 1, 2]
    spread(values)
    expect(values).toEqual([3, 1, 2])
  })

  it('gives median, quartiles, extremes and how many there were', () => {
    expect(spread([5, 1, 4, 2, 3])).toEqual({ median: 3, lower: 2, upper: 4, min: 1, max: 5, count: 5 })
  })

  it('knows no middle of nothing, nor of what failed once', () => {
    expect(median([])).toBeNaN()
    expect(spread([1, Number.NaN, 2]).median).toBeNaN()
  })
})

describe('how something grows', () => {
  const xs = [1, 10, 100, 1000]

  it.each([
    { name: 'not at all', y: () => 7, slope: 0 },
    { name: 'in proportion', y: (x: number) => 3 * x, slope: 1 },
    { name: 'with the square', y: (x: number) => 0.5 * x * x, slope: 2 },
    { name: 'with the root', y: (x: number) => Math.sqrt(x), slope: 0.5 },
  ])('says so by the power: $name', ({ y, slope }) => {
    expect(power(xs.map((x) => ({ x, y: y(x) })))).toBeCloseTo(slope, 9)
  })

  it('finds the line through points that scatter about it', () => {
    const { slope, intercept } = line(
      [0, 1, 2, 3].map((x) => ({ x, y: 5 + 2 * x + (x % 2 === 0 ? 0.1 : -0.1) })),
    )
    expect(slope).toBeCloseTo(2, 0)
    expect(intercept).toBeCloseTo(5, 0)
  })

  it('shows a leak of a few bytes among megabytes', () => {
    const samples = Array.from({ length: 20 }, (_, i) => ({ x: i * 1e5, y: 13e6 + 8 * i * 1e5 }))
    expect(line(samples).slope).toBeCloseTo(8, 6)
  })

  it('knows no slope of a single place', () => {
    expect(line([{ x: 1, y: 1 }]).slope).toBeNaN()
  })
})
