import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { editMessage, type JsonEdit } from '../../src/json/edit.ts'

function edit(text: string, ...edits: JsonEdit[]): string | undefined {
  return fromUtf8(editMessage(utf8(text), edits))
}

describe('a message that is changed', () => {
  it('has all else as it was written', () => {
    const text = ' { "a" :\t{"b": 1.50, "c":[1e2 , 9007199254740993, "\\u0041" , {} ]} , "d":-0 }'
    expect(edit(text, { path: ['a', 'b'], change: { value: { x: null } } })).toBe(
      ' { "a" :\t{"b": {"x":null}, "c":[1e2 , 9007199254740993, "\\u0041" , {} ]} , "d":-0 }',
    )
    expect(edit(text, { path: ['a', 'c'], change: { keep: (item) => item !== 0 && item !== 3 } })).toBe(
      ' { "a" :\t{"b": 1.50, "c":[9007199254740993,"\\u0041"]} , "d":-0 }',
    )
  })

  it('takes several changes in any order', () => {
    const text = '{"a":[1,2],"b":"x","c":[3]}'
    const edits: JsonEdit[] = [
      { path: ['c'], change: { keep: () => false } },
      { path: ['a'], change: { keep: (item) => item === 1 } },
      { path: ['b'], change: { value: 'y' } },
    ]
    expect(edit(text, ...edits)).toBe('{"a":[2],"b":"y","c":[]}')
    expect(edit(text, ...edits.toReversed())).toBe('{"a":[2],"b":"y","c":[]}')
  })

  it.each([[['x']], [['a', 'x']], [['a', 'b', 'x']], [['c', 'x']], [['c', '0']]])(
    'stays as it is where %j leads to nothing',
    (path) => {
      const text = '{"a":{"b":1},"c":[{"x":1}]}'
      expect(edit(text, { path, change: { value: 2 } })).toBe(text)
    },
  )

  it('has the value of what is read and written anew', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.jsonValue(), fc.array(fc.boolean()), (list, other, keep) => {
        const text = JSON.stringify({ other, in: { list } }, undefined, 1)
        const edited = edit(text, { path: ['in', 'list'], change: { keep: (item) => keep[item] === true } })
        const kept = list.filter((_, item) => keep[item] === true)
        expect(JSON.parse(edited ?? '')).toEqual(JSON.parse(JSON.stringify({ other, in: { list: kept } })))
      }),
    )
  })
})
