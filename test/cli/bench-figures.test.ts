import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatCsv } from '../../src/cli/bench/csv.ts'
import { latencyOf } from '../../src/cli/bench/latency.ts'
import { formatResults } from '../../src/cli/bench/results.ts'
import { shareOf } from '../../src/cli/bench/run.ts'
import { parseSize, sizeShown } from '../../src/cli/bench/sizes.ts'
import { Tally } from '../../src/cli/bench/tally.ts'

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1)

describe('percentiles', () => {
  it.each([
    [[7], { min: 7, mean: 7, max: 7, stdDev: 0, p50: 7, p90: 7, p99: 7, p999: 7 }],
    [[4, 2], { min: 2, mean: 3, max: 4, stdDev: 1, p50: 2, p90: 4, p99: 4, p999: 4 }],
    [[3, 1, 2], { min: 1, mean: 2, max: 3, p50: 2, p90: 3, p99: 3, p999: 3 }],
    [upTo(10), { p50: 5, p90: 9, p99: 10, p999: 10 }],
    [upTo(100), { mean: 50.5, p50: 50, p90: 90, p99: 99, p999: 100 }],
    [upTo(1000), { p50: 500, p90: 900, p99: 990, p999: 999, max: 1000 }],
    [upTo(10_000).reverse(), { p50: 5000, p90: 9000, p99: 9900, p999: 9990, max: 10_000 }],
  ])('of known samples are known (%#)', (samples, expected) => {
    expect(latencyOf(samples)).toMatchObject(expected)
  })

  it('sort numbers as numbers', () => {
    expect(latencyOf([100, 9, 20])).toMatchObject({ min: 9, p50: 20, max: 100 })
  })

  it('of nothing are nothing', () => {
    expect(latencyOf([])).toBeUndefined()
  })

  it('are samples, in order, and leave the samples as they are', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1 }), (samples) => {
        const before = [...samples]
        const { min, p50, p90, p99, p999, max } = latencyOf(samples) ?? expect.fail('no figures')
        const figures = [min, p50, p90, p99, p999, max]
        expect(samples).toEqual(before)
        expect(figures).toEqual([...figures].sort((a, b) => a - b))
        for (const figure of figures) expect(samples).toContain(figure)
        const notAbove = samples.filter((sample) => sample <= p90).length
        expect(notAbove).toBeGreaterThanOrEqual(0.9 * samples.length - 1e-9)
      }),
    )
  })
})

describe('a total', () => {
  it('has every sample of every client, and no average of averages', () => {
    const [quick, slow] = [new Tally(), new Tally()]
    const now = process.hrtime.bigint()
    quick.begin()
    slow.begin()
    for (let i = 0; i < 3; i++) quick.answered(now, 10)
    slow.answered(now - 60_000_000_000n, 20)
    const { msgs, bytes, latencies } = Tally.total([quick, slow])
    expect({ msgs, bytes, samples: latencies.length }).toEqual({ msgs: 4, bytes: 50, samples: 4 })
    expect(latencyOf(latencies)?.max).toBeGreaterThan(60_000_000)
    expect(latencyOf(latencies)?.p50).toBeLessThan(60_000_000)
  })

  it('goes from the first beginning to the last end, and leaves out who did nothing', () => {
    const [idle, first, second] = [new Tally(), new Tally(), new Tally()]
    idle.begin()
    for (const tally of [first, second]) {
      tally.begin()
      tally.add(1, 1)
    }
    const { seconds } = Tally.total([idle, second, first])
    expect(seconds).toBeGreaterThanOrEqual(Math.max(first.count().seconds, second.count().seconds))
    expect(idle.count()).toMatchObject({ msgs: 0, seconds: 0 })
  })

  it('of one message that came has no rate, and no division by nothing', () => {
    const tally = new Tally()
    const csv = formatCsv({ runId: 'x', mode: 'plain', tallies: [tally] })
    expect(csv.split('\n')[2]).toBe('x,all,0,0,,,0.000000,,,,,,,,,plain')
    expect(formatResults([tally], 5)).toEqual(['all 0 msgs in 0.00us (5 were asked for)'])
  })
})

describe('a share', () => {
  it('is one of as many as there are clients, and all are done once', () => {
    expect([0, 1, 2].map((index) => shareOf(50, 3, index))).toEqual([17, 17, 16])
    expect([0, 1, 2].map((index) => shareOf(1, 3, index))).toEqual([1, 0, 0])
  })
})

describe('a size', () => {
  it.each([
    ['1', 1],
    ['128', 128],
    ['128B', 128],
    ['1K', 1024],
    ['1KB', 1024],
    ['1kb', 1024],
    ['1KiB', 1024],
    ['2MB', 2_097_152],
  ])('of %s is understood as nats does', (text, bytes) => expect(parseSize(text)).toBe(bytes))

  it.each(['', '0', '-1', '1.5KB', '1 KB', 'KB', '1GB', '1XB', '65MB', '1KB2', '0x10'])(
    'of %j is none',
    (text) => {
      expect(() => parseSize(text)).toThrow(/Use a size|A message has/)
    },
  )

  it('is shown in the unit that fits', () => {
    expect([0, 1023, 1024, 1536, 1_572_864, 3 * 1024 ** 3].map(sizeShown)).toEqual([
      '0 B',
      '1023 B',
      '1 KiB',
      '1.5 KiB',
      '1.5 MiB',
      '3 GiB',
    ])
  })
})
