import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson } from '../../src/json/strict.ts'

describe('strict JSON', () => {
  it('reads what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 2), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent)
        expect(parseStrictJson(text)).toEqual(JSON.parse(text))
      }),
      { numRuns: 500 },
    )
  })

  it.each([
    ['a repeated key', '{"a":1,"a":1}'],
    ['a repeated key with another between', '{"a":1,"b":2,"a":3}'],
    ['a repeated key in an inner object', '{"x":{"a":1,"a":2}}'],
    ['a repeated key in an object in a list', '[{"a":1},{"a":1,"a":2}]'],
    ['a repeated key behind an inner object', '{"a":{"b":1},"a":2}'],
    ['a key repeated with an escape', '{"a":1,"\\u0061":2}'],
    ['a key repeated with an escaped slash', '{"a/b":1,"a\\/b":2}'],
    ['a repeated empty key', '{"":1,"":2}'],
    ['a repeated key with white space before the colon', '{"a" :1,"a"\n:2}'],
    ['a repeated __proto__', '{"__proto__":1,"__proto__":2}'],
    ['a repeated key with braces inside', '{"}{":1,"}{":2}'],
  ])('refuses %s', (_, text) => {
    expect(() => JSON.parse(text)).not.toThrow()
    expect(parseStrictJson(text)).toBeUndefined()
  })

  it.each([
    ['a key that is also a value', '{"a":"b","b":"a"}'],
    ['the same key at two depths', '{"a":{"a":{"a":1}}}'],
    ['the same key in two objects of a list', '[{"a":1},{"a":1}]'],
    ['a string that looks like a repeated key', '{"a":"\\"a\\":1","b":["a","a"]}'],
    ['a string with braces', '{"a":"}","b":"{"}'],
    ['a string that ends in a backslash', '{"a":"\\\\","b":1}'],
    ['keys that differ in case', '{"a":1,"A":2}'],
  ])('takes %s', (_, text) => {
    expect(parseStrictJson(text)).toEqual(JSON.parse(text))
  })

  it.each(['', '{', '{"a":1}x', "{'a':1}", '{"a":1,}', '{a:1}', 'undefined', '\uFEFF{}', '{"a":"\n"}'])(
    'refuses what is no JSON: %j',
    (text) => {
      expect(parseStrictJson(text)).toBeUndefined()
    },
  )

  it('is done at once with a long string of backslashes and quotes', () => {
    const start = performance.now()
    parseStrictJson(`{"${'\\\\'.repeat(8000)}":"${'\\"'.repeat(8000)}"}`)
    parseStrictJson(`{"${'\\\\'.repeat(8000)}`)
    expect(performance.now() - start).toBeLessThan(500)
  })

  it('reads a string of ten million characters', () => {
    const text = JSON.stringify({ a: 'x'.repeat(10_000_000) })
    expect(parseStrictJson(text)).toEqual(JSON.parse(text))
  })
})
