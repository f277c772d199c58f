import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex } from '../../src/base/bytes.ts'
import { type FieldReader, type Packable, pack, unpack } from '../../src/wire/msgpack.ts'
import { readVectors } from '../crypto/vectors.ts'
import { decodeLeniently, malformed, names, packables, unpackAny } from './packable.ts'

interface SuiteCase {
  readonly msgpack: readonly string[]
  readonly [kind: string]: unknown
}

const suite = readVectors<Readonly<Record<string, readonly SuiteCase[]>>>('msgpack/msgpack-test-suite.json')

const NIL = 0xc0

/** Reads bytes as the one field of an array. */
function unpackOne(encoded: Uint8Array): readonly Packable[] {
  return unpackAny(concat(Uint8Array.of(0x91), encoded))
}

function expectMalformed(bytes: Uint8Array): void {
  expect(() => unpackAny(bytes)).toThrow(malformed)
}

describe('the MessagePack test suite', () => {
  it('is read in the one form alone in which it is written: 34 values of the allowed types', () => {
    let accepted = 0
    let refused = 0
    for (const test of Object.values(suite).flat()) {
      const value = packableOf(test)
      const written = value && hex(pack([value.value]))
      for (const text of test.msgpack) {
        const encoded = fromHex(text.replaceAll('-', ''))
        if (value !== undefined && written === `91${hex(encoded)}`) {
          expect(unpackOne(encoded)).toEqual([value.value])
          accepted++
        } else {
          expect(() => unpackOne(encoded), text).toThrow(malformed)
          refused++
        }
      }
    }
    expect({ accepted, refused }).toEqual({ accepted: 34, refused: 199 })
  })
})

describe('pack', () => {
  it.each([
    [0, '9100'],
    [127, '917f'],
    [128, '91cc80'],
    [255, '91ccff'],
    [256, '91cd0100'],
    [65_535, '91cdffff'],
    [65_536, '91ce00010000'],
    [2 ** 32 - 1, '91ceffffffff'],
    [2 ** 32, '91d30000000100000000'],
    [Number.MAX_SAFE_INTEGER, '91d3001fffffffffffff'],
  ])('writes the integer %i as %s', (value, expected) => {
    expect(hex(pack([value]))).toBe(expected)
    expect(unpackAny(fromHex(expected))).toEqual([value])
  })

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -(2 ** 40)])(
    'refuses the number %d',
    (value) => {
      expect(() => pack([value])).toThrow(RangeError)
    },
  )

  it.each([31, 32, 255, 256, 65_535])('writes a string of %i bytes in its shortest form', (length) => {
    const text = 'a'.repeat(length)
    const head = length < 32 ? 1 : length < 256 ? 2 : 3
    const packed = pack([text])
    expect(packed).toHaveLength(1 + head + length)
    expect(unpackAny(packed)).toEqual([text])
  })

  it('refuses a string of 65536 bytes, and an array of 65536 items', () => {
    expect(() => pack(['a'.repeat(65_536)])).toThrow(RangeError)
    expect(() => pack([new Array(65_536).fill(0)])).toThrow(RangeError)
  })

  it.each([0, 255, 256, 65_535, 65_536, 70_000])('writes %i bytes in the shortest form', (length) => {
    const bytes = new Uint8Array(length).fill(7)
    const head = length < 256 ? 2 : length < 65_536 ? 3 : 5
    const packed = pack([bytes])
    expect(packed).toHaveLength(1 + head + length)
    expect(unpackAny(packed)).toEqual([bytes])
  })

  it.each([0, 15, 16, 255, 65_535])('writes an array of %i items in its shortest form', (count) => {
    const items = new Array<number>(count).fill(1)
    const packed = pack(items)
    expect(packed).toHaveLength((count < 16 ? 1 : 3) + count)
    expect(unpackAny(packed)).toEqual(items)
  })

  it('copies what it is given', () => {
    const bytes = Uint8Array.of(1, 2, 3)
    const packed = pack([bytes])
    bytes.fill(9)
    expect(hex(packed)).toBe('91c403010203')
  })
})

describe('unpack', () => {
  it('reads back what pack wrote, byte for byte', () => {
    fc.assert(
      fc.property(packables(3), (fields) => {
        const packed = pack(fields)
        expect(unpackAny(packed)).toEqual(fields)
        expect(decodeLeniently(packed)).toEqual(fields)
      }),
      { numRuns: 500 },
    )
  })

  it('throws nothing but ERR_MALFORMED on random bytes, and what it reads packs to the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expectStrict(bytes)
      }),
      { numRuns: 5000 },
    )
  })

  it('throws nothing but ERR_MALFORMED on arrays of random bytes', () => {
    const tags = fc.constantFrom(
      0x90,
      0x91,
      0x92,
      0x9f,
      0xa1,
      0xbf,
      NIL,
      0xc4,
      0xcc,
      0xcd,
      0xd9,
      0xda,
      0xdc,
      1,
    )
    fc.assert(
      fc.property(fc.array(tags, { maxLength: 24 }), (bytes) => {
        expectStrict(Uint8Array.from([0x94, ...bytes]))
      }),
      { numRuns: 5000 },
    )
  })

  it.each([
    ['nothing', ''],
    ['an integer', '01'],
    ['nil', 'c0'],
    ['bytes', 'c40101'],
    ['a string', 'a161'],
  ])('refuses %s where an array must stand', (_, text) => {
    expectMalformed(fromHex(text))
  })

  it.each([
    ['an array and one byte', '9000'],
    ['an array and a nil', '90c0'],
    ['two arrays', '9090'],
    ['a field more than the count', '910101'],
  ])('refuses %s', (_, text) => {
    expectMalformed(fromHex(text))
  })

  it.each([
    ['false', 'c2'],
    ['true', 'c3'],
    ['the byte that is never used', 'c1'],
    ['a float', 'ca3f800000'],
    ['a double', 'cb3ff0000000000000'],
    ['a negative fixint', 'ff'],
    ['an int8', 'd0ff'],
    ['a positive int8', 'd001'],
    ['an int16', 'd100ff'],
    ['an int32', 'd200010000'],
    ['a uint64', 'cf0000000100000000'],
    ['the largest uint64', 'cfffffffffffffffff'],
    ['a negative int64', 'd3ffffffff00000000'],
    ['an empty fixmap', '80'],
    ['a fixmap', '81a16101'],
    ['a map16', 'de0000'],
    ['a map32', 'df00000000'],
    ['a fixext', 'd40110'],
    ['an ext8', 'c70006'],
    ['an ext16', 'c8000006'],
    ['an ext32', 'c90000000006'],
    ['a timestamp', 'd6ff5a4af6a5'],
    ['a str32', `db00010000${'61'.repeat(65_536)}`],
    ['an array32', `dd00010000${'01'.repeat(65_536)}`],
  ])('refuses %s', (_, text) => {
    expect(() => unpackOne(fromHex(text))).toThrow(malformed)
  })

  it.each([
    ['an integer below 128 in one byte', 'cc7f'],
    ['an integer below 256 in two bytes', 'cd00ff'],
    ['an integer below 65536 in four bytes', 'ce0000ffff'],
    ['an integer below 2^32 in eight bytes', 'd300000000ffffffff'],
    ['an integer of 2^53', 'd30020000000000000'],
    ['an integer of 2^53 + 1, which would be rounded', 'd30020000000000001'],
    ['the largest integer of 63 bits', 'd37fffffffffffffff'],
    ['a short string with a length byte', 'd90161'],
    ['a string below 256 with two length bytes', 'da002061'],
    ['bytes below 256 with two length bytes', 'c5000101'],
    ['bytes below 65536 with four length bytes', 'c60000000101'],
    ['an array below 16 with two length bytes', 'dc000101'],
  ])('refuses %s', (_, text) => {
    expect(() => unpackOne(fromHex(text))).toThrow(malformed)
  })

  it.each([
    ['four gigabytes of bytes', 'c6ffffffff'],
    ['65535 bytes', 'c5ffff'],
    ['a string of 65535 bytes', 'daffff'],
    ['an array of 65535 items', 'dcffff'],
    ['an array of 65535 items and a few', 'dcffff01010101'],
    ['one byte too few', 'c4020a'],
    ['half an integer', 'cd01'],
  ])('refuses %s that are not there, at once', (_, text) => {
    const start = performance.now()
    expect(() => unpackOne(fromHex(text))).toThrow(malformed)
    expect(performance.now() - start).toBeLessThan(100)
  })

  it('refuses every truncation of a message', () => {
    const packed = pack([1, 300, 'text', new Uint8Array(40), ['a', [2 ** 40]], undefined])
    for (let length = 0; length < packed.length; length++) expectMalformed(packed.subarray(0, length))
  })

  it.each([
    ['a lone continuation byte', 'a180'],
    ['a cut sequence', 'a1c3'],
    ['an overlong slash', 'a2c0af'],
    ['a surrogate', 'a3eda080'],
    ['a code point above U+10FFFF', 'a4f4908080'],
    ['the byte ff', 'a1ff'],
  ])('refuses a string with %s', (_, text) => {
    expect(() => unpackOne(fromHex(text))).toThrow(malformed)
  })

  it('keeps a byte order mark, so that a string has one encoding', () => {
    expect(unpackOne(fromHex('a4efbbbf61'))).toEqual(['\uFEFFa'])
  })

  it('names what was read and quotes none of it', () => {
    const bytes = concat(pack(['hunter2']), Uint8Array.of(0))
    const reader = unpack(bytes, 'tick', ['password'])
    reader.string(9)
    expect(() => reader.end()).toThrow(/^malformed tick: something follows its 9 bytes$/)
    expect(() => unpack(bytes, 'tick', ['password']).string(6)).toThrow(/^malformed tick: password$/)
  })

  it('takes an array of one of several forms, and no number of fields between them', () => {
    const shapes = [names(2), names(4)] as const
    for (const count of [2, 4]) {
      const reader = unpack(pack(new Array(count).fill(1)), 'test', ...shapes)
      for (let i = 0; i < count; i++) reader.uint()
      reader.end()
    }
    const read = (count: number) => () => unpack(pack(new Array(count).fill(1)), 'test', ...shapes)
    expect(read(3)).toThrow(/^malformed test: item 4 is missing$/)
    expect(read(6)).toThrow(/^malformed test: 2 fields too many$/)
    expect(read(0)).toThrow(malformed)
  })
})

describe('FieldReader', () => {
  const read = (fields: readonly Packable[], take: (reader: FieldReader) => unknown) => () =>
    take(unpack(pack(fields), 'test', names(fields.length)))

  it.each<[string, readonly Packable[], (reader: FieldReader) => unknown]>([
    ['an integer above its limit', [256], (reader) => reader.uint(255)],
    ['a string for an integer', ['1'], (reader) => reader.uint()],
    ['nil for an integer', [undefined], (reader) => reader.uint()],
    ['a string above its limit', ['abc'], (reader) => reader.string(2)],
    ['a string above its limit in bytes, not in characters', ['é€𝄞'], (reader) => reader.string(8)],
    ['bytes for a string', [new Uint8Array(1)], (reader) => reader.string(10)],
    ['too few bytes', [new Uint8Array(31)], (reader) => reader.bytes(32)],
    ['too many bytes', [new Uint8Array(33)], (reader) => reader.bytes(32)],
    ['a string for bytes', ['a'], (reader) => reader.bytes(1)],
    ['bytes above their limit', [new Uint8Array(3)], (reader) => reader.bytesUpTo(2)],
    ['nil for bytes', [undefined], (reader) => reader.bytesUpTo(2)],
    ['a list above its limit', [[1, 2, 3]], (reader) => reader.list(2, (item) => item.uint())],
    ['a list below its least length', [[1]], (reader) => reader.list(2, (item) => item.uint(), 2)],
    ['a wrong item of a list', [[1, 'a']], (reader) => reader.list(2, (item) => item.uint())],
    ['an integer for a list', [1], (reader) => reader.list(2, (item) => item.uint())],
    ['bytes for a list', [new Uint8Array(2)], (reader) => reader.list(2, (item) => item.uint())],
    ['nil for a tuple', [undefined], (reader) => reader.tuple(['a'])],
    ['a tuple with a field too few', [['a']], (reader) => reader.tuple(['a', 'b'])],
    ['a tuple with a field too many', [['a', 'b', 'c']], (reader) => reader.tuple(['a', 'b'])],
    ['a wrong type for an optional field', ['a'], (reader) => reader.optional((field) => field.uint())],
    ['a field that is not there', [], (reader) => reader.uint()],
    ['an optional field that is not there', [], (reader) => reader.optional((field) => field.uint())],
    ['a field that is left', [1], (reader) => reader.end()],
    ['a nil that is left', [undefined], (reader) => reader.end()],
  ])('refuses %s', (_, fields, take) => {
    expect(read(fields, take)).toThrow(malformed)
  })

  it('names the field that is wrong, also inside of another, and quotes none', () => {
    const failing = (take: (reader: FieldReader) => unknown) => () => {
      const fields = [1, ['x', 'secret'], [[2]]]
      const reader = unpack(pack(fields), 'test', ['first', 'second', 'third'])
      take(reader)
    }
    const second = (reader: FieldReader) => {
      reader.uint()
      return reader.list(2, (item) => item.string(5))
    }
    const third = (reader: FieldReader) => {
      reader.uint()
      reader.list(2, (item) => item.string(6))
      return reader.list(9, (item) => item.tuple(['inner']).string(5))
    }
    expect(failing((reader) => reader.string(9))).toThrow(/^malformed test: first$/)
    expect(failing(second)).toThrow(/^malformed test: second, item 2$/)
    expect(failing(third)).toThrow(/^malformed test: third, item 1, inner$/)
    expect(read([], (reader) => reader.uint())).toThrow(/^malformed test: item 1 is missing$/)
  })

  it.each([
    ['a cut array', '92c4', 'it ends too early'],
    ['a count without items', '9301', 'it ends too early'],
    ['a map', '9180', 'item 1'],
    ['no array', '01', 'no array'],
    ['a second value', '90c0', 'something follows its 1 bytes'],
  ])('says of %s where it stops', (_what, bytes, where) => {
    expect(() => unpackAny(fromHex(bytes))).toThrow(`malformed test: ${where}`)
  })

  it('counts the limit of a string in bytes', () => {
    expect(read(['é€𝄞'], (reader) => reader.string(9))()).toBe('é€𝄞')
    expect(read(['€'.repeat(10)], (reader) => reader.string(30))()).toHaveLength(10)
    expect(read(['€'.repeat(10)], (reader) => reader.string(29))).toThrow(malformed)
  })

  it('takes fields in order', () => {
    const fields = [7, 'a', new Uint8Array(2), undefined, 8, [1, 2], ['x', 3]]
    const reader = unpack(pack(fields), 'test', names(fields.length))
    expect(reader.uint(7)).toBe(7)
    expect(reader.string(1)).toBe('a')
    expect(reader.bytes(2)).toEqual(new Uint8Array(2))
    expect(reader.optional((field) => field.uint())).toBeUndefined()
    expect(reader.optional((field) => field.uint())).toBe(8)
    expect(reader.list(2, (item) => item.uint())).toEqual([1, 2])
    const pair = reader.tuple(names(2))
    expect([pair.string(1), pair.uint()]).toEqual(['x', 3])
    pair.end()
    reader.end()
  })
})

/** Unpacking fails with ERR_MALFORMED, or the bytes are what `pack` writes for what they say. */
function expectStrict(bytes: Uint8Array): void {
  let fields: readonly Packable[]
  try {
    fields = unpackAny(bytes)
  } catch (error) {
    expect(error).toEqual(malformed)
    return
  }
  expect(fields).toEqual(decodeLeniently(bytes))
  expect(pack(fields)).toEqual(bytes)
}

/** The value of a case, in a wrapper, where this codec allows its type. */
function packableOf(test: SuiteCase): { readonly value: Packable } | undefined {
  if ('nil' in test) return { value: undefined }
  if ('binary' in test) return { value: fromHex(String(test['binary']).replaceAll('-', '')) }
  if ('string' in test) return { value: String(test['string']) }
  if ('bignum' in test || 'number' in test) {
    const value = Number(test['bignum'] ?? test['number'])
    return Number.isSafeInteger(value) && value >= 0 ? { value } : undefined
  }
  return 'array' in test && isPackable(test['array']) ? { value: test['array'] } : undefined
}

function isPackable(value: unknown): value is Packable {
  if (Array.isArray(value)) return value.every(isPackable)
  return typeof value === 'string' || (typeof value === 'number' && value >= 0)
}
