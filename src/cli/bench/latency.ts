/** How long requests took, over all samples, in their unit. */
export interface Latency {
  readonly min: number
  readonly mean: number
  readonly max: number
  readonly stdDev: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
}

/**
 * Sums up samples. A percentile is a sample, the smallest one that so many of all are not above (nearest rank): nothing
 * is averaged or interpolated.
 *
 * @returns `undefined` where there is no sample
 *
 * @example
 * ```ts
 * latencyOf([3, 1, 2])?.p50 // 2
 * ```
 */
export function latencyOf(samples: readonly number[]): Latency | undefined {
  const sorted = Float64Array.from(samples).sort()
  const [min] = sorted
  const max = sorted.at(-1)
  if (min === undefined || max === undefined) return undefined
  const mean = sorted.reduce((sum, sample) => sum + sample, 0) / sorted.length
  const variance = sorted.reduce((sum, sample) => sum + (sample - mean) ** 2, 0) / sorted.length
  // In thousandths: 99.9 / 100 is no number that a computer has, and its product could reach the next rank.
  const atRank = (thousandths: number): number =>
    sorted[Math.ceil((thousandths * sorted.length) / 1000) - 1] ?? max
  return {
    min,
    mean,
    max,
    stdDev: Math.sqrt(variance),
    p50: atRank(500),
    p90: atRank(900),
    p99: atRank(990),
    p999: atRank(999),
  }
}
