import { InvalidArgumentError } from 'commander'
import { describe, expect, test } from 'vitest'
import { collectPatterns, parseCount, parseDuration, parsePort } from '../../../src/cli/terminal/options.ts'

describe('parseDuration', () => {
  test.each([
    ['250ms', 250],
    ['15s', 15_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['90d', 7_776_000_000],
    ['2w', 1_209_600_000],
    ['1h30m', 5_400_000],
    ['1m500ms', 60_500],
  ])('reads %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  test.each(['', '5', 'm', '-5m', '1.5h', '5 m', '5M', '0s', '5mm', 'm5', '99999999999999w'])(
    'refuses "%s"',
    (text) => {
      expect(() => parseDuration(text)).toThrow(InvalidArgumentError)
    },
  )
})

test('parsePort reads ports', () => {
  expect(parsePort('4222')).toBe(4222)
  for (const text of ['0', '65536', '-1', '1e3', '0x10', ' 1', '']) expect(() => parsePort(text)).toThrow()
})

test('parseCount reads whole numbers above zero', () => {
  expect(parseCount('16')).toBe(16)
  for (const text of ['0', '1.5', 'x', '']) expect(() => parseCount(text)).toThrow()
})

test('collectPatterns adds one pattern to those before it', () => {
  expect(collectPatterns('b.>', collectPatterns('a', undefined))).toEqual(['a', 'b.>'])
  for (const text of ['', 'a b', '>.a', 'a..b']) expect(() => collectPatterns(text, [])).toThrow()
})
