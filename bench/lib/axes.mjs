/**
 * @param {readonly [number, number]} domain
 * @param {readonly [number, number]} range
 * @param {'linear' | 'log'} kind
 * @returns {(value: number) => number}
 */
export function scaleOf([from, to], [start, end], kind) {
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
