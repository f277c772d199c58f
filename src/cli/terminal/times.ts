/** The last time that has a date. */
export const MAX_DATE_MS = 8_640_000_000_000_000

const UNITS = [
  { unit: 'd', ms: 86_400_000 },
  { unit: 'h', ms: 3_600_000 },
  { unit: 'm', ms: 60_000 },
  { unit: 's', ms: 1000 },
] as const

/** A time in milliseconds since 1970 for people and programs, whoever wrote it. */
export function whenShown(timeMs: number): string {
  return timeMs > MAX_DATE_MS ? `${timeMs} ms, beyond every calendar` : new Date(timeMs).toISOString()
}

/** A span of time in its two largest units, such as `1h5m`; below a second in milliseconds. */
export function durationShown(spanMs: number): string {
  if (spanMs < 1000) return `${Math.max(0, Math.round(spanMs))}ms`
  const first = UNITS.findIndex(({ ms }) => spanMs >= ms)
  let left = spanMs
  return UNITS.slice(first, first + 2)
    .map(({ unit, ms }) => {
      const count = Math.floor(left / ms)
      left -= count * ms
      return count === 0 ? '' : `${count}${unit}`
    })
    .join('')
}
