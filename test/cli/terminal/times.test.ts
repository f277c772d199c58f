import { expect, it } from 'vitest'
import { durationShown, MAX_DATE_MS, whenShown } from '../../../src/cli/terminal/times.ts'

it.each([
  [0, '0ms'],
  [-5, '0ms'],
  [999, '999ms'],
  [1000, '1s'],
  [59_999, '59s'],
  [60_000, '1m'],
  [125_000, '2m5s'],
  [3_600_000, '1h'],
  [3_605_000, '1h'],
  [3_900_000, '1h5m'],
  [90_000_000, '1d1h'],
  [30 * 86_400_000, '30d'],
])('shows %d ms as %s', (ms, shown) => {
  expect(durationShown(ms)).toBe(shown)
})

it('shows any time that can be written, also one that has no date', () => {
  expect(whenShown(1_800_000_000_000)).toBe('2027-01-15T08:00:00.000Z')
  expect(whenShown(MAX_DATE_MS)).toBe('+275760-09-13T00:00:00.000Z')
  expect(whenShown(MAX_DATE_MS + 1)).toContain('beyond')
  expect(whenShown(Number.MAX_SAFE_INTEGER * 1000)).toContain('beyond')
})
