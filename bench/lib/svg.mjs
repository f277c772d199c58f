/**
 * The parts of a chart in SVG. Colours are those of Okabe and Ito, lightened for dark pages; no figure is told by colour
 * alone.
 *
 * @typedef {'light' | 'dark'} Theme
 * @typedef {{ readonly title: string, readonly subtitle: string }} Heading
 */

export const THEMES = {
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

export const WIDTH = 760
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

/**
 * @param {Theme} theme
 * @param {Heading} heading
 * @param {{ readonly height: number, readonly body: readonly string[] }} content
 */
export function page(theme, { title, subtitle }, { height, body }) {
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
export function legend(names, theme) {
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
export function gridLine(theme, plot, { at, label }) {
  const { grid, faint } = THEMES[theme]
  const line = `<path d="M${plot.left} ${n(at)}H${plot.right}" stroke="${grid}" stroke-width="0.7"/>`
  return line + textAt(plot.left - 8, at + 4, label, { fill: faint, anchor: 'end', size: 12 })
}

/**
 * @param {{ readonly top: number, readonly bottom: number }} plot
 * @param {string} label
 * @param {string} fill
 */
export function axisLabel(plot, label, fill) {
  const y = (plot.top + plot.bottom) / 2
  return `<text transform="translate(16 ${n(y)}) rotate(-90)" text-anchor="middle" font-size="12" fill="${fill}">${escaped(label)}</text>`
}

/**
 * @param {number} x
 * @param {readonly [number, number]} between
 * @param {string} colour
 */
export function whisker(x, [low, high], colour) {
  return Math.abs(low - high) < 1
    ? []
    : [`<path d="M${n(x)} ${n(low)}V${n(high)}" stroke="${colour}" stroke-width="1.3"/>`]
}

/**
 * @param {string} shape
 * @param {{ readonly x: number, readonly y: number, readonly colour: string }} at
 */
export function mark(shape, { x, y, colour }) {
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
export function textAt(x, y, text, { fill, anchor, size = 13, weight = 400 }) {
  return `<text x="${n(x)}" y="${n(y)}" text-anchor="${anchor}" font-size="${size}" font-weight="${weight}" fill="${fill}">${escaped(text)}</text>`
}

/** @param {number} value */
export function short(value) {
  if (value >= 100 || Number.isInteger(value)) return value.toFixed(0)
  return value >= 10 ? value.toFixed(1) : value.toFixed(value < 0.095 ? 3 : 2)
}

/** @param {number} value */
export function n(value) {
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
