import { describe, expect, it } from 'vitest'
import { apart, decades, linearTicks } from '../../bench/lib/axes.mjs'
import { bars, lines, rows } from '../../bench/lib/charts.mjs'

const heading = { title: 'A < B & "C"', subtitle: 'what is shown' }
const format = (value: number) => `${value} µs`

const charts = {
  bars: (theme: string) =>
    bars(
      {
        ...heading,
        yLabel: 'ratio',
        series: ['one', 'two'],
        reference: 1,
        groups: [{ label: '128 B', bars: [{ value: 0.5, low: 0.4, high: 0.6 }, undefined] }],
      },
      theme,
    ),
  lines: (theme: string) =>
    lines(
      {
        ...heading,
        xLabel: 'agents',
        yLabel: 'time',
        scale: 'log',
        formatX: format,
        formatY: format,
        series: [{ name: 'ready', points: [1, 10, 100].map((x) => ({ x, y: 3 * x })) }],
      },
      theme,
    ),
  rows: (theme: string) =>
    rows(
      {
        ...heading,
        xLabel: 'time',
        format,
        formatTick: format,
        rows: [{ label: 'peer', kind: 'signed', figure: { value: 150 } }],
      },
      theme,
    ),
}

describe.each(Object.entries(charts))('a chart of %s', (_name, draw) => {
  it.each(['light', 'dark'])('is whole for a %s page', (theme) => {
    const svg: string = draw(theme)
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" viewBox/)
    expect(svg.trimEnd().endsWith('</svg>')).toBe(true)
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('says in words what it shows, and escapes them', () => {
    const svg: string = draw('light')
    expect(svg).toContain('<title id="t">A &lt; B &amp; &quot;C&quot;</title>')
    expect(svg).toContain('what is shown')
  })

  it('has other colours on a dark page', () => {
    expect(draw('light')).not.toBe(draw('dark'))
  })
})

describe('axes', () => {
  it('go in round steps from 0 to above the greatest value', () => {
    expect(linearTicks(0.97)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1])
    expect(linearTicks(1)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1])
    expect(linearTicks(1195).at(-1)).toBeGreaterThanOrEqual(1195)
  })

  it('go in powers of ten around the values', () => {
    expect(decades([3, 250])).toEqual([1, 10, 100, 1000])
    expect(decades([10, 1000])).toEqual([10, 100, 1000])
    expect(decades([5])).toEqual([1, 10])
  })

  it('keep labels apart, and in their order', () => {
    expect(apart([10, 100], 17)).toEqual([10, 100])
    const [a, b, c] = apart([50, 51, 50.5], 10)
    expect([a, c, b]).toEqual([a, a + 10, a + 20])
  })
})
