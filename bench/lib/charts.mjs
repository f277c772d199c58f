import { apart, decades, linearTicks, scaleOf } from './axes.mjs'
import { axisLabel, gridLine, legend, mark, n, page, short, THEMES, textAt, WIDTH, whisker } from './svg.mjs'

/**
 * A small writer of charts in SVG: grouped bars, lines, and bars side by side, each for a light and for a dark page.
 *
 * @typedef {import('./svg.mjs').Theme} Theme
 * @typedef {import('./svg.mjs').Heading} Heading
 * @typedef {{ readonly value: number, readonly low?: number, readonly high?: number }} Figure `low` and `high`: quartiles
 *
 * @typedef {Heading & {
 *   readonly yLabel: string, readonly series: readonly string[], readonly reference?: number,
 *   readonly groups: readonly { readonly label: string, readonly bars: readonly (Figure | undefined)[] }[],
 * }} Bars
 *
 * @typedef {Heading & {
 *   readonly xLabel: string, readonly yLabel: string, readonly scale: 'linear' | 'log',
 *   readonly xScale?: 'linear' | 'log',
 *   readonly xTicks?: readonly number[],
 *   readonly formatX: (x: number) => string, readonly formatY: (y: number) => string,
 *   readonly series: readonly { readonly name: string, readonly points: readonly { readonly x: number, readonly y: number }[] }[],
 * }} Lines
 *
 * @typedef {Heading & {
 *   readonly xLabel: string, readonly format: (value: number) => string,
 *   readonly formatTick: (value: number) => string,
 *   readonly rows: readonly { readonly label: string, readonly kind: string, readonly figure: Figure }[],
 * }} Rows
 */

const HEIGHT = 420
const MARKS = ['circle', 'square', 'diamond', 'triangle']
const ROW_HEIGHT = 26

/**
 * @param {Bars} chart
 * @param {Theme} theme
 */
export function bars(chart, theme) {
  const { groups, series, yLabel, reference } = chart
  const plot = { left: 64, right: WIDTH - 20, top: 96, bottom: HEIGHT - 48 }
  const values = groups.flatMap((group) => group.bars.map((bar) => bar?.high ?? bar?.value ?? 0))
  const ticks = linearTicks(Math.max(...values, reference ?? 0))
  const y = scaleOf([0, ticks.at(-1) ?? 1], [plot.bottom, plot.top], 'linear')
  const { text, faint, grid, colours } = THEMES[theme]
  const groupWidth = (plot.right - plot.left) / groups.length
  const barWidth = Math.min(48, (groupWidth * 0.84) / series.length)
  const parts = ticks.map((tick) => gridLine(theme, plot, { at: y(tick), label: `${tick}` }))
  for (const [g, { label, bars: figures }] of groups.entries()) {
    const middle = plot.left + groupWidth * (g + 0.5)
    parts.push(textAt(middle, plot.bottom + 20, label, { fill: text, anchor: 'middle' }))
    for (const [s, figure] of figures.entries()) {
      if (figure === undefined) continue
      const x = middle + (s - series.length / 2) * barWidth
      const top = y(figure.value)
      const height = Math.max(0.5, plot.bottom - top)
      parts.push(
        `<rect x="${n(x + 1)}" y="${n(top)}" width="${n(barWidth - 2)}" height="${n(height)}" fill="${colours[s]}"/>`,
        ...whisker(x + barWidth / 2, [y(figure.low ?? figure.value), y(figure.high ?? figure.value)], text),
        textAt(x + barWidth / 2, y(figure.high ?? figure.value) - 5, short(figure.value), {
          fill: text,
          anchor: 'middle',
          size: 10.5,
        }),
      )
    }
  }
  if (reference !== undefined)
    parts.push(
      `<line x1="${plot.left}" x2="${plot.right}" y1="${n(y(reference))}" y2="${n(y(reference))}" stroke="${faint}" stroke-dasharray="5 4"/>`,
    )
  parts.push(
    axisLabel(plot, yLabel, faint),
    `<path d="M${plot.left} ${plot.bottom}H${plot.right}" stroke="${grid}"/>`,
  )
  return page(theme, chart, { height: HEIGHT, body: [...legend(series, theme), ...parts] })
}

/**
 * @param {Lines} chart
 * @param {Theme} theme
 */
export function lines(chart, theme) {
  const { series, scale, xScale = scale, formatX, formatY, xLabel, yLabel } = chart
  const plot = { left: 84, right: WIDTH - 190, top: 76, bottom: HEIGHT - 58 }
  const points = series.flatMap((one) => one.points)
  const xs = points.map((point) => point.x)
  const ys = points.map((point) => point.y)
  const xTicks = chart.xTicks ?? (xScale === 'log' ? decades(xs) : linearTicks(Math.max(...xs)))
  const yTicks = scale === 'log' ? decades(ys) : linearTicks(Math.max(...ys))
  const x = scaleOf([xTicks[0] ?? 0, xTicks.at(-1) ?? 1], [plot.left, plot.right], xScale)
  const y = scaleOf([yTicks[0] ?? 0, yTicks.at(-1) ?? 1], [plot.bottom, plot.top], scale)
  const { faint, text, colours } = THEMES[theme]
  const parts = [
    ...yTicks.map((tick) => gridLine(theme, plot, { at: y(tick), label: formatY(tick) })),
    ...xTicks.map((tick) =>
      textAt(x(tick), plot.bottom + 20, formatX(tick), { fill: faint, anchor: 'middle', size: 12 }),
    ),
    textAt((plot.left + plot.right) / 2, plot.bottom + 42, xLabel, {
      fill: faint,
      anchor: 'middle',
      size: 12,
    }),
    axisLabel(plot, yLabel, faint),
  ]
  const ends = series.map(({ points: own }) => y(own.at(-1)?.y ?? 1))
  const labelled = apart(ends, 17)
  for (const [s, { name, points: own }] of series.entries()) {
    const colour = colours[s % colours.length] ?? text
    const path = own.map((point, i) => `${i === 0 ? 'M' : 'L'}${n(x(point.x))} ${n(y(point.y))}`).join('')
    const endX = x(own.at(-1)?.x ?? 1)
    parts.push(
      `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...own.map((point) =>
        mark(MARKS[s % MARKS.length] ?? 'circle', { x: x(point.x), y: y(point.y), colour }),
      ),
      `<path d="M${n(endX + 6)} ${n(ends[s] ?? 0)}L${n(plot.right + 12)} ${n(labelled[s] ?? 0)}" stroke="${colour}" stroke-width="0.8"/>`,
      textAt(plot.right + 16, (labelled[s] ?? 0) + 4, name, { fill: colour, anchor: 'start', size: 12 }),
    )
  }
  return page(theme, chart, { height: HEIGHT, body: parts })
}

/**
 * Bars from left to right on a logarithmic axis, one in a row.
 *
 * @param {Rows} chart
 * @param {Theme} theme
 */
export function rows(chart, theme) {
  const { rows: all, xLabel, format, formatTick } = chart
  const kinds = [...new Set(all.map(({ kind }) => kind))]
  const plot = { left: 250, right: WIDTH - 80, top: 96, bottom: 96 + all.length * ROW_HEIGHT }
  const ticks = decades(all.map(({ figure }) => figure.value))
  const x = scaleOf([ticks[0] ?? 1, ticks.at(-1) ?? 10], [plot.left, plot.right], 'log')
  const { text, faint, grid, colours } = THEMES[theme]
  const parts = ticks.flatMap((tick) => [
    `<path d="M${n(x(tick))} ${plot.top - 6}V${plot.bottom}" stroke="${grid}" stroke-width="0.7"/>`,
    textAt(x(tick), plot.bottom + 20, formatTick(tick), { fill: faint, anchor: 'middle', size: 12 }),
  ])
  for (const [i, { label, kind, figure }] of all.entries()) {
    const top = plot.top + i * ROW_HEIGHT
    const width = Math.max(1, x(figure.value) - plot.left)
    parts.push(
      textAt(plot.left - 8, top + 16, label, { fill: text, anchor: 'end', size: 12.5 }),
      `<rect x="${plot.left}" y="${top + 3}" width="${n(width)}" height="${ROW_HEIGHT - 8}" fill="${colours[kinds.indexOf(kind)]}"/>`,
      textAt(plot.left + width + 6, top + 16, format(figure.value), {
        fill: text,
        anchor: 'start',
        size: 12,
      }),
    )
  }
  parts.push(
    textAt((plot.left + plot.right) / 2, plot.bottom + 42, xLabel, {
      fill: faint,
      anchor: 'middle',
      size: 12,
    }),
  )
  return page(theme, chart, { height: plot.bottom + 58, body: [...legend(kinds, theme), ...parts] })
}
