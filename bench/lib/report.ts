import type { Spread } from './stats.ts'

/**
 * Prints rows under a title, each column as wide as its widest cell; the first is flush left, the others right.
 */
export function table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (row: readonly string[]) =>
    `  ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')}`
  console.log(`\n${title}`)
  console.log(line(head))
  for (const row of rows) console.log(line(row).trimEnd())
}

export function note(text: string): void {
  console.log(`  ${text}`)
}

export function ratioText({ median, lower, upper }: Spread): string {
  return `${digits(median)} [${digits(lower)}..${digits(upper)}]`
}

/** Three significant digits, without an exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 1000) return Math.round(value).toLocaleString('en')
  if (size === 0) return '0'
  return value.toFixed(Math.min(4, Math.max(0, 2 - Math.floor(Math.log10(size)))))
}

/** `128 B`, `1 KiB`. */
export function bytes(count: number): string {
  if (count >= 2 ** 20) return `${trimmed(count / 2 ** 20)} MiB`
  return count >= 1024 ? `${trimmed(count / 1024)} KiB` : `${count} B`
}

/** A round value of an axis: `10 ms`, where {@link duration} says `10.0 ms`. */
export function tickDuration(us: number): string {
  if (us >= 1e6) return `${trimmed(us / 1e6)} s`
  return us >= 1000 ? `${trimmed(us / 1000)} ms` : `${trimmed(us)} µs`
}

function trimmed(value: number): string {
  return digits(value).replace(/\.0+$/, '')
}

/** Microseconds, in the unit that reads best. */
export function duration(us: number): string {
  if (!Number.isFinite(us)) return '–'
  if (us >= 1e6) return `${digits(us / 1e6)} s`
  return us >= 1000 ? `${digits(us / 1000)} ms` : `${digits(us)} µs`
}
