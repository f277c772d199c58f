import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { splitWords } from '../../../src/cli/messages/shell-words.ts'

describe('splitWords', () => {
  it.each([
    ['jq .', ['jq', '.']],
    ['  a\t b\n', ['a', 'b']],
    [`jq -r '.a[0] | "x"'`, ['jq', '-r', '.a[0] | "x"']],
    ['"a b"c\'d e\'', ['a bcd e']],
    ['"say \\"hi\\" \\$x \\n"', ['say "hi" $x \\n']],
    ['a\\ b \\"c', ['a b', '"c']],
    [`'' ""`, ['', '']],
    ['$HOME `id` $(id) * ~ ; | &', ['$HOME', '`id`', '$(id)', '*', '~', ';', '|', '&']],
  ])('splits %s', (text, words) => {
    expect(splitWords(text)).toEqual(words)
  })

  it.each(["'a", '"a', 'a\\', '"a\\"', `x 'y`])('refuses %s, which does not end', (text) => {
    expect(() => splitWords(text)).toThrow(/is not closed/)
  })

  it.each(['', ' ', '\n'])('refuses nothing', (text) => {
    expect(() => splitWords(text)).toThrow(/is empty/)
  })

  it('gives back what is quoted for a shell, as a shell does', () => {
    const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme' }), { minLength: 1 }), (words) => {
        expect(splitWords(words.map(quote).join(' '))).toEqual(words)
      }),
    )
    const text = `a'b "c'"d \\" e"f\\ g`
    const shell = execFileSync('/bin/sh', ['-c', `printf '%s\\n' ${text}`])
      .toString()
      .trimEnd()
      .split('\n')
    expect(splitWords(text)).toEqual(shell)
  })
})
