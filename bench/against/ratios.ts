import { spread } from '../lib/stats.ts'

/** What was measured of both checkouts in one round. */
export interface Pair<Value> {
  /** Of the commit that is compared with. */
  readonly before: Value
  /** Of the working tree. */
  readonly after: Value
}

/** Where the ratios of all rounds lie. */
export interface Ratio {
  readonly median: number
  readonly interval: Interval
  readonly min: number
  readonly max: number
  /** How many rounds there were. */
  readonly count: number
}

interface Interval {
  readonly low: number
  readonly high: number
}

export type Verdict = 'noise' | 'same' | 'better' | 'worse'

const CONFIDENCE = 0.95

/** After ÷ before, computed for each round by itself: what disturbs a round disturbs both. */
export function ratioOf(pairs: readonly Pair<number>[]): Ratio {
  const ratios = pairs.map(({ before, after }) => (before === after ? 1 : after / before))
  const { median, min, max, count } = spread(ratios)
  return { median, interval: medianInterval(ratios), min, max, count }
}

/**
 * Where the true median lies with a probability of at least 95 %, whatever the distribution of the values: between the
 * k-th from below and the k-th from above. A value is below the median as often as a coin shows heads, so the number of
 * those below is binomial, which says how great k may be. Fewer than six values are not enough for that: then all of
 * them are the interval. NaN of none, and where one of them is NaN.
 */
export function medianInterval(values: readonly number[]): Interval {
  if (values.length === 0 || values.some(Number.isNaN)) return { low: Number.NaN, high: Number.NaN }
  const sorted = values.toSorted((a, b) => a - b)
  const left = leftOut(values.length)
  return { low: sorted[left] ?? Number.NaN, high: sorted[sorted.length - 1 - left] ?? Number.NaN }
}

/** How many of so many values the interval may leave out at each end. */
function leftOut(count: number): number {
  let share = 0.5 ** count
  let below = share
  let left = 0
  while (below <= (1 - CONFIDENCE) / 2) {
    left++
    share *= (count - left + 1) / left
    below += share
  }
  return Math.max(0, left - 1)
}

/** What the ratio says: nothing where its interval includes 1. */
export function verdictOf({ interval: { low, high }, min, max }: Ratio, better: 'higher' | 'lower'): Verdict {
  if (min === 1 && max === 1) return 'same'
  if (!(low > 1 || high < 1)) return 'noise'
  return low > 1 === (better === 'higher') ? 'better' : 'worse'
}
