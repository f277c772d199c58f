import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { itemsOf, type JsonSpan, membersOf, outlineJson } from '../../src/json/text.ts'

/** JSON with space wherever it may be. */
function spaced(value: unknown): string {
  const gap = ' \t\r\n'
  if (Array.isArray(value)) return `[${gap}${value.map(spaced).join(`${gap},${gap}`)}${gap}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(
    ([key, member]) => `${JSON.stringify(key)}${gap}:${gap}${spaced(member)}`,
  )
  return `{${gap}${members.join(`${gap},${gap}`)}${gap}}`
}

function whole(text: string): JsonSpan {
  return { start: 0, end: text.length }
}

function parsed(text: string, { start, end }: JsonSpan): unknown {
  return JSON.parse(text.slice(start, end))
}

const WRITERS = [JSON.stringify, spaced, (value: unknown) => JSON.stringify(value, undefined, 2)]

describe('the text of JSON', () => {
  it('shows where each member of an object is, however it is written', () => {
    const strings = fc.string({
      unit: fc.constantFrom('"', '\\', '{', '}', ',', ':', ' ', 'a', '\u0000', 'é'),
    })
    fc.assert(
      fc.property(
        fc.dictionary(strings, fc.oneof(strings, fc.jsonValue())),
        fc.constantFrom(...WRITERS),
        (value, write) => {
          const text = ` ${write(value)} `
          const members = [...membersOf(text, whole(text))].map(([key, span]) => [key, parsed(text, span)])
          expect(new Map(members.map(([key, member]) => [key, member]))).toEqual(
            new Map(Object.entries(JSON.parse(text))),
          )
        },
      ),
      { numRuns: 300 },
    )
  })

  it('shows where each item of a list is, however it is written', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.constantFrom(...WRITERS), (value, write) => {
        const text = ` ${write(value)} `
        expect(itemsOf(text, whole(text)).map((span) => parsed(text, span))).toEqual(JSON.parse(text))
      }),
      { numRuns: 300 },
    )
  })

  it.each(['1', 'true', '"{}"', 'null', '[{"a":1}]'])('has no members in %s', (text) => {
    expect(membersOf(text, whole(text)).size).toBe(0)
  })

  it.each(['1', 'false', '"[]"', 'null', '{"a":[1]}'])('has no items in %s', (text) => {
    expect(itemsOf(text, whole(text))).toEqual([])
  })

  it.each([
    ['1', 0],
    ['{}', 1],
    ['[]', 1],
    ['{"a":[{}],"b":1}', 3],
    ['[[],[[]],[]]', 3],
    ['{"[[[[":"{{{{"}', 1],
  ])('of %s is nested so deep', (text, depth) => {
    expect(outlineJson(text).depth).toBe(depth)
  })

  it('tells the first key that is named twice in one object', () => {
    expect(outlineJson('{"a":{"b":1},"c":{"b":1,"d":2,"d":3,"b":4},"a":5}').repeatedKey).toBe('d')
    expect(outlineJson('{"a":{"a":[{"a":1},{"a":1}]}}').repeatedKey).toBeUndefined()
  })
})
