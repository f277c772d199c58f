import { describe, expect, it } from 'vitest'
import {
  DER_INTEGER,
  DER_SEQUENCE,
  readDer,
  readDerOnly,
  readDerSequence,
} from '../../../src/identity/keyfiles/der.ts'

const bytes = (...values: readonly number[]) => Uint8Array.from(values)

describe('DER', () => {
  it('is read in the order in which it stands', () => {
    expect(readDer(bytes(2, 1, 7, 4, 2, 8, 9))).toEqual([
      { tag: 2, content: bytes(7) },
      { tag: 4, content: bytes(8, 9) },
    ])
    expect(readDer(bytes())).toEqual([])
  })

  it('may have lengths of up to three bytes', () => {
    for (const header of [bytes(4, 0x81, 200), bytes(4, 0x82, 0, 200), bytes(4, 0x83, 0, 0, 200)]) {
      const [element] = readDer(Uint8Array.from([...header, ...new Uint8Array(200)])) ?? []
      expect(element?.content).toHaveLength(200)
    }
  })

  it.each([
    ['a tag without a length', [2]],
    ['content that is cut off', [2, 2, 7]],
    ['a length that is cut off', [4, 0x82, 0]],
    ['a length without end', [0x30, 0x80, 2, 1, 7, 0, 0]],
    ['a length of four bytes', [4, 0x84, 0, 0, 0, 1, 7]],
    ['a tag of several bytes', [0x1f, 0x81, 1, 7]],
  ])('is not %s', (_, values) => {
    expect(readDer(bytes(...values))).toBeUndefined()
  })

  it('is one element where one is asked for', () => {
    expect(readDerOnly(bytes(2, 1, 7), DER_INTEGER)).toEqual(bytes(7))
    expect(readDerOnly(bytes(2, 1, 7, 2, 1, 7), DER_INTEGER)).toBeUndefined()
    expect(readDerOnly(bytes(2, 1, 7), DER_SEQUENCE)).toBeUndefined()
    expect(readDerOnly(bytes(), DER_SEQUENCE)).toBeUndefined()
    expect(readDerSequence(bytes(0x30, 3, 2, 1, 7))).toEqual([{ tag: 2, content: bytes(7) }])
    expect(readDerSequence(bytes(0x30, 1, 2))).toBeUndefined()
  })
})
