import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { printable, printableJson } from '../../src/base/printable.ts'
import { note, reportError, reportHint } from '../../src/cli/terminal/terminal.ts'
import { terminalThat } from '../cli/run.ts'
import { UNPRINTABLE } from '../cli/unprintable.ts'

describe('printable', () => {
  it.each([
    ['an escape sequence', '\u001b[31mred', '\\u001b[31mred'],
    ['the eight-bit form of one', '\u009b31m', '\\u009b31m'],
    ['a line end', 'a\nb\r', 'a\\u000ab\\u000d'],
    ['a bell, a backspace, a delete', '\u0007\b\u007f', '\\u0007\\u0008\\u007f'],
    ['text that would run backwards', '\u202etxt.exe', '\\u202etxt.exe'],
    ['what cannot be seen', 'a\u200bb\ufeff', 'a\\u200bb\\ufeff'],
    ['separators of lines and paragraphs', '\u2028\u2029', '\\u2028\\u2029'],
    ['half a character', 'a\ud800b', 'a\\ud800b'],
    ['tags beyond the first plane', '\u{e0041}', '\\udb40\\udc41'],
  ])('shows %s as an escape', (_what, text, shown) => {
    expect(printable(text)).toBe(shown)
  })

  it('leaves alone what people write', () => {
    for (const text of ['orders.new', 'C:\\temp', 'Größe 漢字 🙂', '']) expect(printable(text)).toBe(text)
  })

  it('lets nothing through that a terminal obeys', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(text)).not.toMatch(UNPRINTABLE)
      }),
    )
  })
})

describe('printableJson', () => {
  it('shows as escapes what JSON leaves as it is', () => {
    expect(printableJson({ a: '\u009b\u007f\u202e' })).toBe('{\n  "a": "\\u009b\\u007f\\u202e"\n}')
  })

  it('reads back as the same value, and lets nothing through but line ends', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        const text = printableJson(value)
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)))
        expect(text.replaceAll('\n', '')).not.toMatch(UNPRINTABLE)
      }),
    )
  })
})

describe('what is said to people', () => {
  it.each([note, reportError, reportHint])('shows escapes, one line each', (say) => {
    const said: string[] = []
    say(terminalThat({ say: (line) => void said.push(line) }), 'one\u001b[2J\ntwo\u009b')
    expect(said).toHaveLength(2)
    expect(said.join('')).toContain('one\\u001b[2J')
    expect(said.join('')).not.toMatch(UNPRINTABLE)
  })
})
