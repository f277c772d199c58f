/**
 * A small writer of charts in SVG: grouped bars, lines, and bars side by side, each for a light and for a dark page.
 * Colours are those of Okabe and Ito, lightened for dark pages; no figure is told by colour alone.
 *
 * @typedef {'light' | 'dark'} Theme
 * @typedef {{ readonly value: number, readonly low?: number, readonly high?: number }} Figure `low` and `high`: quartiles
 * @typedef {{ readonly title: string, readonly subtitle: string }} Heading
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

const THEMES = {
  light: {
    page: '#ffffff',
    text: '#1f2328',
    faint: '#59636e',
    grid: '#d1d9e0',
    colours: [
      '#0072b2',
      '#d55e00',
      '#00795a',
      '#a8508a',
      '#946200',
      '#2f7fb5',
      '#5b4bb7',
      '#6b6b6b',
      '#b3261e',
    ],
  },
  dark: {
    page: '#0d1117',
    text: '#f0f6fc',
    faint: '#9198a1',
    grid: '#3d444d',
    colours: [
      '#56b4e9',
      '#f0883e',
      '#2fc49a',
      '#e29bc8',
      '#e6c229',
      '#9cd3f5',
      '#b3a6ff',
      '#b0b0b0',
      '#ff8f87',
    ],
  },
}
const WIDTH = 760
const HEIGHT = 420
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
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

/**
 * @param {Theme} theme
 * @param {Heading} heading
 * @param {{ readonly height: number, readonly body: readonly string[] }} content
 */
function page(theme, { title, subtitle }, { height, body }) {
  const { page: fill, text, faint } = THEMES[theme]
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="t d" font-family="${FONT}">`,
    `<title id="t">${escaped(title)}</title><desc id="d">${escaped(subtitle)}</desc>`,
    `<rect width="${WIDTH}" height="${height}" fill="${fill}"/>`,
    textAt(20, 30, title, { fill: text, anchor: 'start', size: 17, weight: 600 }),
    textAt(20, 51, subtitle, { fill: faint, anchor: 'start', size: 12.5 }),
    ...body,
    '</svg>',
  ].join('\n')}\n`
}

/**
 * @param {readonly string[]} names
 * @param {Theme} theme
 */
function legend(names, theme) {
  const { text, colours } = THEMES[theme]
  let x = 20
  return names.flatMap((name, i) => {
    const at = x
    x += 34 + name.length * 6.6
    return [
      `<rect x="${n(at)}" y="64" width="12" height="12" fill="${colours[i]}"/>`,
      textAt(at + 17, 74.5, name, { fill: text, anchor: 'start', size: 12.5 }),
    ]
  })
}

/**
 * @param {Theme} theme
 * @param {{ readonly left: number, readonly right: number }} plot
 * @param {{ readonly at: number, readonly label: string }} tick
 */
function gridLine(theme, plot, { at, label }) {
  const { grid, faint } = THEMES[theme]
  const line = `<path d="M${plot.left} ${n(at)}H${plot.right}" stroke="${grid}" stroke-width="0.7"/>`
  return line + textAt(plot.left - 8, at + 4, label, { fill: faint, anchor: 'end', size: 12 })
}

/**
 * @param {{ readonly top: number, readonly bottom: number }} plot
 * @param {string} label
 * @param {string} fill
 */
function axisLabel(plot, label, fill) {
  const y = (plot.top + plot.bottom) / 2
  return `<text transform="translate(16 ${n(y)}) rotate(-90)" text-anchor="middle" font-size="12" fill="${fill}">${escaped(label)}</text>`
}

/**
 * @param {number} x
 * @param {readonly [number, number]} between
 * @param {string} colour
 */
function whisker(x, [low, high], colour) {
  return Math.abs(low - high) < 1
    ? []
    : [`<path d="M${n(x)} ${n(low)}V${n(high)}" stroke="${colour}" stroke-width="1.3"/>`]
}

/**
 * @param {string} shape
 * @param {{ readonly x: number, readonly y: number, readonly colour: string }} at
 */
function mark(shape, { x, y, colour }) {
  if (shape === 'square')
    return `<rect x="${n(x - 3.5)}" y="${n(y - 3.5)}" width="7" height="7" fill="${colour}"/>`
  if (shape === 'diamond') return `<path d="M${n(x)} ${n(y - 5)}l5 5l-5 5l-5 -5z" fill="${colour}"/>`
  if (shape === 'triangle') return `<path d="M${n(x)} ${n(y - 4.5)}l4.8 8.4h-9.6z" fill="${colour}"/>`
  return `<circle cx="${n(x)}" cy="${n(y)}" r="3.8" fill="${colour}"/>`
}

/**
 * @param {number} x
 * @param {number} y
 * @param {string} text
 * @param {{ readonly fill: string, readonly anchor: string, readonly size?: number, readonly weight?: number }} style
 */
function textAt(x, y, text, { fill, anchor, size = 13, weight = 400 }) {
  return `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}" fill="${fill}">${escaped(text)}</text>`
}

/**
 * @param {readonly [number, number]} domain
 * @param {readonly [number, number]} range
 * @param {'linear' | 'log'} kind
 * @returns {(value: number) => number}
 */
function scaleOf([from, to], [start, end], kind) {
  const at = kind === 'log' ? Math.log10 : (/** @type {number} */ value) => value
  return (value) => start + ((at(value) - at(from)) / (at(to) - at(from))) * (end - start)
}

/**
 * Round values from 0 to just above the greatest.
 *
 * @param {number} greatest
 */
export function linearTicks(greatest) {
  const rough = greatest / 5
  const unit = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 2.5, 5, 10].find((factor) => factor * unit >= rough) ?? 10) * unit
  return Array.from({ length: Math.ceil(greatest / step - 1e-9) + 1 }, (_, i) =>
    Number((i * step).toPrecision(6)),
  )
}

/**
 * The powers of ten around the values.
 *
 * @param {readonly number[]} values
 */
export function decades(values) {
  const first = Math.floor(Math.log10(Math.min(...values)) + 1e-9)
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values)) - 1e-9))
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i))
}

/**
 * Heights at least `gap` apart, in the same order, as near as can be to where they were.
 *
 * @param {readonly number[]} heights
 * @param {number} gap
 */
export function apart(heights, gap) {
  const order = heights.map((height, i) => ({ height, i })).sort((a, b) => a.height - b.height)
  const shift = order.map(({ height }, rank) => height - rank * gap)
  // The nearest increasing sequence: neighbours that collide share the mean of where they were.
  /** @type {{ sum: number, count: number }[]} */
  const blocks = []
  for (const value of shift) {
    let block = { sum: value, count: 1 }
    for (let last = blocks.at(-1); last !== undefined; last = blocks.at(-1)) {
      if (last.sum / last.count <= block.sum / block.count) break
      block = { sum: block.sum + last.sum, count: block.count + last.count }
      blocks.pop()
    }
    blocks.push(block)
  }
  const flat = blocks.flatMap(({ sum, count }) => new Array(count).fill(sum / count))
  const placed = new Array(heights.length).fill(0)
  for (const [rank, { i }] of order.entries()) placed[i] = flat[rank] + rank * gap
  return placed
}

/** @param {number} value */
function short(value) {
  if (value >= 100 || Number.isInteger(value)) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(value < 0.095 ? 3 : 2)
}

/** @param {number} value */
function n(value) {
  return `${Math.round(value * 10) / 10}`
}

/** @param {string} text */
function escaped(text) {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
