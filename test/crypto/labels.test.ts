import { describe, expect, it } from 'vitest'
import { fromUtf8, hex, utf8 } from '../../src/base/bytes.ts'
import { labels } from '../../src/crypto/labels.ts'

describe('labels', () => {
  it('are those of the specification', () => {
    expect(Object.values(labels).map(fromUtf8)).toEqual([
      'subrosa/1 kid\0',
      'subrosa/1 wrap\0',
      'subrosa/1 hdr\0',
      'subrosa/1 sig\0',
      'subrosa/1 pln\0',
      'subrosa/1 epo\0',
      'subrosa/1 ntc\0',
      'subrosa/1 tic\0',
      'subrosa/1 png\0',
      'subrosa/1 rev\0',
      'subrosa/1 ann\0',
      'subrosa/1 pop\0',
      'subrosa/1 rot\0',
      'subrosa/1 sid\0',
      'subrosa/1 leaf\0',
      'subrosa/1 bat\0',
      'subrosa/1 ref\0',
      'subrosa/1 key\x01',
      'subrosa/1 com\x01',
      'subrosa/1 ses\x01',
    ])
  })

  it('never begin one another, so that no input of one can be read as that of another', () => {
    const texts = Object.values(labels).map(hex)
    for (const a of texts) expect(texts.filter((b) => b.startsWith(a))).toEqual([a])
  })

  it('end in a byte that their names do not hold', () => {
    for (const label of Object.values(labels)) {
      expect([0, 1]).toContain(label.at(-1))
      expect(label.subarray(0, -1).every((byte) => byte >= 0x20 && byte < 0x7f)).toBe(true)
      expect(label.subarray(0, 10)).toEqual(utf8('subrosa/1 '))
    }
  })
})
