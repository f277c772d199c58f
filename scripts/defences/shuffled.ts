/**
 * The same values in an order that the seed alone decides.
 *
 * @param seed any integer
 */
export function shuffled<T>(values: readonly T[], seed: number): readonly T[] {
  let state = seed >>> 0
  // Marsaglia's xorshift with a Weyl sequence: enough to choose rows.
  const random = () => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
    return ((mixed ^ (mixed >>> 16)) >>> 0) / 2 ** 32
  }
  return values
    .map((value) => ({ value, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ value }) => value)
}
