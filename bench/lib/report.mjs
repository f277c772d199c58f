/** @typedef {import('./stats.mjs').Spread} Spread */

/**
 * Prints rows under a title, each column as wide as its widest cell; the first is flush left, the others right.
 *
 * @param {string} title
 * @param {readonly string[]} head
 * @param {readonly (readonly string[])[]} rows
 */
export function table(title, head, rows) {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (/** @type {readonly string[]} */ row) =>
    `  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')}`
  console.log(`\n${title}`)
  console.log(line(head))
  for (const row of rows) console.log(line(row).trimEnd())
}

/** @param {string} text */
export function note(text) {
  console.log(`  ${text}`)
}

/** @param {Spread} spread */
export function ratioText({ median, lower, upper }) {
  return `${digits(median)} [${digits(lower)}..${digits(upper)}]`
}

/**
 * Three significant digits, without an exponent.
 *
 * @param {number} value
 */
export function digits(value) {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 1000) return Math.round(value).toLocaleString('en')
  if (size === 0) return '0'
  return value.toFixed(Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(size)))))
}

/**
 * @param {number} count
 * @returns {string} `128 B`, `1 KiB`
 */
export function bytes(count) {
  if (count >= 2 ** 20) return `${trimmed(count / 2 ** 20)} MiB`
  return count >= 1024 ? `${trimmed(count / 1024)} KiB` : `${count} B`
}

/**
 * A round value of an axis: `10 ms`, where {@link duration} says `10.0 ms`.
 *
 * @param {number} us
 */
export function tickDuration(us) {
  if (us >= 1e6) return `${trimmed(us / 1e6)} s`
  return us >= 1000 ? `${trimmed(us / 1000)} ms` : `${trimmed(us)} µs`
}

/** @param {number} value */
function trimmed(value) {
  return digits(value).replace(/\.0+$/, '')
}

/**
 * @param {number} us
 * @returns {string} in the unit that reads best
 */
export function duration(us) {
  if (!Number.isFinite(us)) return '–'
  if (us >= 1e6) return `${digits(us / 1e6)} s`
  return us >= 1000 ? `${digits(us / 1000)} ms` : `${digits(us)} µs`
}
