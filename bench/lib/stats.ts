/** What is said of many measured values: the middle, and how far they lie apart. */
export interface Spread {
  readonly median: number
  /** The quartiles. */
  readonly lower: number
  readonly upper: number
  readonly min: number
  readonly max: number
  readonly count: number
}

interface Point {
  readonly x: number
  readonly y: number
}

/**
 * The value below which `share` of the values lie, interpolated between neighbours; NaN of none, and where one of them
 * is NaN: what failed once has no middle.
 *
 * @param share 0 to 1
 */
export function quantile(values: readonly number[], share: number): number {
  if (values.some(Number.isNaN)) return Number.NaN
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)] ?? Number.NaN
  const above = sorted[Math.ceil(at)] ?? Number.NaN
  return below + (above - below) * (at - Math.floor(at))
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The median, the quartiles and the extremes. */
export function spread(values: readonly number[]): Spread {
  return {
    median: median(values),
    lower: quantile(values, 0.25),
    upper: quantile(values, 0.75),
    min: Math.min(...values),
    max: Math.max(...values),
    count: values.length,
  }
}

/** The straight line through the points by least squares; NaN for fewer than two different x. */
export function line(points: readonly Point[]): { readonly slope: number; readonly intercept: number } {
  const n = points.length
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / n
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / n
  const across = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0)
  const along = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0)
  const slope = along === 0 ? Number.NaN : across / along
  return { slope, intercept: meanY - slope * meanX }
}

/**
 * By which power of x the values of y grow: the slope of the line through the logarithms. 1 is proportional, 0 does
 * not grow, 2 is quadratic.
 *
 * @param points all above 0
 */
export function power(points: readonly Point[]): number {
  return line(points.map(({ x, y }) => ({ x: Math.log(x), y: Math.log(y) }))).slope
}
