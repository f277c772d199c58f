import { describe, expect, it } from 'vitest'
import { isPlainText } from '../../../src/mcp/pipes/plain-text.ts'

describe('plain text', () => {
  it.each([
    ['nothing', ''],
    ['letters', 'read_file.v2/x-y'],
    ['a blank inside', 'read file'],
    ['accents, composed', 'caf\u00e9'],
    ['accents, decomposed', 'cafe\u0301'],
    ['other scripts', '読む_ملف_файл'],
    ['an emoji of several characters', '\u{1F469}\u200D\u{1F52C}'],
    ['8192 characters', 'x'.repeat(8192)],
  ])('is %s', (_, text) => {
    expect(isPlainText(text)).toBe(true)
  })

  it.each([
    ['NUL', 'read\0'],
    ['a tab', 'read\tfile'],
    ['a line end', 'read\nfile'],
    ['a carriage return', 'read\rfile'],
    ['an escape character', '\u001b[2J'],
    ['a control character of the upper half', 'read\u0085'],
    ['the first half of a pair of surrogates', 'read\ud83d'],
    ['the second half of a pair of surrogates', '\udd2cread'],
    ['a blank before', ' read'],
    ['a blank behind', 'read '],
    ['a byte order mark before', '\ufeffread'],
    ['a space that does not break', 'read\u00a0file'],
    ['wide letters', '\uff52ead'],
    ['a wide full stop', 'a/\uff0e\uff0e/b'],
    ['a full stop that is a leader', 'a/\u2024./b'],
    ['a ligature', 'read_\ufb01le'],
    ['8193 characters', 'x'.repeat(8193)],
  ])('has none of %s', (_, text) => {
    expect(isPlainText(text)).toBe(false)
  })
})
