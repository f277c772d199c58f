import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { encodeWire, WireType, wireBody, wireType } from '../../src/wire/preamble.ts'
import { malformed } from './packable.ts'

describe('the preamble', () => {
  it('is magic, version and type before one array', () => {
    expect(hex(encodeWire(WireType.tick, [1, 'a']))).toBe('c101049201a161')
  })

  it('has the thirteen types of the specification', () => {
    expect(Object.values(WireType)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13])
    for (const type of Object.values(WireType)) expect(wireType(Uint8Array.of(0xc1, 0x01, type))).toBe(type)
  })

  it.each([
    ['nothing', []],
    ['the magic alone', [0xc1]],
    ['no type', [0xc1, 0x01]],
    ['another magic', [0xc0, 0x01, 0x00]],
    ['version 0', [0xc1, 0x00, 0x00]],
    ['version 2', [0xc1, 0x02, 0x00]],
    ['the reserved type 12', [0xc1, 0x01, 0x0c]],
    ['the type 14', [0xc1, 0x01, 0x0e]],
    ['the type 255', [0xc1, 0x01, 0xff]],
    ['a JSON text', [0x7b, 0x7d, 0x0a]],
  ])('knows no type in %s', (_, bytes) => {
    expect(wireType(Uint8Array.from(bytes))).toBeUndefined()
  })

  it('gives what follows, and copies nothing', () => {
    const wire = encodeWire(WireType.query, [1])
    const body = wireBody(wire, WireType.query, 100, 'query')
    expect(hex(body)).toBe('9101')
    expect(body.buffer).toBe(wire.buffer)
  })

  it('refuses another type, so that one statement is never read as another', () => {
    const types = Object.values(WireType)
    for (const written of types) {
      for (const wanted of types) {
        if (written === wanted) continue
        expect(() => wireBody(encodeWire(written, []), wanted, 100, 'query')).toThrow(malformed)
      }
    }
  })

  it('refuses a message above its limit, and takes one at it', () => {
    const wire = encodeWire(WireType.query, [1])
    expect(hex(wireBody(wire, WireType.query, wire.length, 'query'))).toBe('9101')
    expect(() => wireBody(wire, WireType.query, wire.length - 1, 'query')).toThrow(malformed)
  })
})
