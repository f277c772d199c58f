import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { Packable } from '../../src/wire/msgpack.ts'
import { encodeWire, WireType } from '../../src/wire/preamble.ts'
import { decodeRefusal, encodeRefusal, RefusalReason } from '../../src/wire/refusal.ts'
import { malformed } from './packable.ts'

const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill)
const fields: readonly Packable[] = [bytes(16, 1), bytes(16, 2), 1, bytes(16, 3)]

describe('a refusal of a session on the wire', () => {
  it('is sid, kid, reason and tag after the preamble of type 13', () => {
    const [sid, kid, tag] = [bytes(16, 1), bytes(16, 2), bytes(16, 3)]
    for (const reason of Object.values(RefusalReason)) {
      const wire = encodeRefusal({ sid, kid, reason, tag })
      expect(hex(wire)).toBe(
        `c1010d94c410${'01'.repeat(16)}c410${'02'.repeat(16)}0${reason}c410${'03'.repeat(16)}`,
      )
      expect(decodeRefusal(wire)).toEqual({ sid, kid, reason, tag })
    }
  })

  it.each<[string, number, Packable]>([
    ['a short sid', 0, bytes(15, 1)],
    ['a long sid', 0, bytes(17, 1)],
    ['a kid of 8 bytes', 1, bytes(8, 2)],
    ['no kid', 1, undefined],
    ['a reason that is not known', 2, 3],
    ['a reason that is text', 2, 'ended'],
    ['no reason', 2, undefined],
    ['a tag that is not cut', 3, bytes(32, 3)],
    ['no tag', 3, undefined],
  ])('is refused with %s', (_, place, value) => {
    const changed = fields.map((field, i) => (i === place ? value : field))
    expect(() => decodeRefusal(encodeWire(WireType.refusal, changed))).toThrow(malformed)
  })

  it('is refused with a field too few or too many, with bytes behind it, and as another type', () => {
    expect(decodeRefusal(encodeWire(WireType.refusal, fields)).reason).toBe(RefusalReason.ended)
    expect(() => decodeRefusal(encodeWire(WireType.refusal, fields.slice(0, 3)))).toThrow(malformed)
    expect(() => decodeRefusal(encodeWire(WireType.refusal, [...fields, undefined]))).toThrow(malformed)
    expect(() => decodeRefusal(encodeWire(WireType.sessionRequest, fields))).toThrow(malformed)
    const longer = Uint8Array.from([...encodeWire(WireType.refusal, fields), 0])
    expect(() => decodeRefusal(longer)).toThrow(malformed)
  })
})
