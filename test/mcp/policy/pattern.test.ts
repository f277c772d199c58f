import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { matches, patternOf } from '../../../src/mcp/policy/pattern.ts'

function covers(pattern: string, text: string): boolean {
  return matches(patternOf(pattern), text)
}

describe('a pattern', () => {
  it.each([
    ['read', 'read'],
    ['read_*', 'read_'],
    ['read_*', 'read_file'],
    ['*_file', 'read_file'],
    ['*', ''],
    ['*', 'anything at all: /?#*'],
    ['**', 'x'],
    ['a*b*c', 'abc'],
    ['a*b*c', 'a-b-b-c-c'],
    ['*a*', 'xax'],
    ['a*a', 'aa'],
    ['*.md', '.md.md'],
    ['read.[a-z]+', 'read.[a-z]+'],
    ['', ''],
  ])('%j covers %j', (pattern, text) => {
    expect(covers(pattern, text)).toBe(true)
  })

  it.each([
    ['read', 'reader'],
    ['read', 'xread'],
    ['read', 'Read'],
    ['read_*', 'read'],
    ['*_file', 'read_files'],
    ['a*b*c', 'acb'],
    ['a*a', 'a'],
    ['ab*bc', 'abc'],
    ['a*bc*cd', 'abcd'],
    ['re.d', 'read'],
    ['rea?', 'read'],
    ['[a-z]*', 'read'],
    ['', 'x'],
  ])('%j does not cover %j', (pattern, text) => {
    expect(covers(pattern, text)).toBe(false)
  })

  it('covers what the regular expression of the same meaning does', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '\n', '*'), maxLength: 12 })
    fc.assert(
      fc.property(text, text, (pattern, subject) => {
        const pieces = pattern.split('*').map((piece) => piece.replaceAll('.', '\\.'))
        expect(covers(pattern, subject)).toBe(new RegExp(`^${pieces.join('[^]*')}$`).test(subject))
      }),
      { numRuns: 2000 },
    )
  })

  it('is done at once with text that makes others turn back', () => {
    const start = performance.now()
    expect(covers(`${'a*'.repeat(512)}b`, 'a'.repeat(8192))).toBe(false)
    expect(covers(`*${'a'.repeat(500)}b*`, 'a'.repeat(8192))).toBe(false)
    expect(performance.now() - start).toBeLessThan(2000)
  })
})
