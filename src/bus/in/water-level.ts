/**
 * The highest level at which shares that are cut down to it sum to no more than `total`: who has less keeps all, and
 * those who have more have the same.
 *
 * @example
 * ```ts
 * waterLevel([10, 4, 9], 16) // 6: 6, 4 and 6
 * ```
 */
export function waterLevel(shares: readonly number[], total: number): number {
  const ascending = [...shares].sort((a, b) => a - b)
  let left = total
  for (const [i, share] of ascending.entries()) {
    const others = ascending.length - i
    if (share * others >= left) return left / others
    left -= share
  }
  return Number.POSITIVE_INFINITY
}
