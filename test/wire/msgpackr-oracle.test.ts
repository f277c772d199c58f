import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { Packr } from 'msgpackr/pack'
import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import { mutationsOf } from './mutations.ts'
import { malformed, packables, unpackAny } from './packable.ts'

/** A codec that others use, written by others: what this protocol says is what it says. */
const oracle = new Packr({ useRecords: false, int64AsType: 'number' })

/** As msgpackr takes it: nil is null, and it writes integers of 2^32 and more as floats where they are no BigInt. */
function forOracle(value: Packable): unknown {
  if (value === undefined) return null
  if (typeof value === 'number') return value < 2 ** 32 ? value : BigInt(value)
  return Array.isArray(value) ? value.map(forOracle) : value
}

/** What msgpackr read, as this codec has it; a type that is none of the protocol's fails the test. */
function fromOracle(value: unknown): Packable {
  if (value === null) return undefined
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return new Uint8Array(value)
  if (Array.isArray(value)) return value.map(fromOracle)
  throw new Error(`msgpackr reads ${typeof value}`)
}

function fieldsByOracle(bytes: Uint8Array): readonly Packable[] {
  const fields = fromOracle(oracle.unpack(bytes))
  if (!Array.isArray(fields)) throw new Error('msgpackr reads no array')
  return fields
}

/** As `toEqual`, which takes seconds for arrays of thousands of items. */
function expectSame(fields: readonly Packable[], expected: readonly Packable[]): void {
  if (!isDeepStrictEqual(fields, expected)) expect(fields).toEqual(expected)
}

function tryToUnpack(bytes: Uint8Array): readonly Packable[] | undefined {
  try {
    return unpackAny(bytes)
  } catch (error) {
    expect(error).toEqual(malformed)
    return undefined
  }
}

const boundaries = [0, 2 ** 7, 2 ** 8, 2 ** 16, 2 ** 31, 2 ** 32, 2 ** 48, 2 ** 53]
  .flatMap((limit) => [limit - 1, limit, limit + 1])
  .filter((value) => value >= 0 && Number.isSafeInteger(value))

describe('msgpackr, as an oracle', () => {
  it('reads everything that this codec writes to the same values', () => {
    fc.assert(
      fc.property(packables(3), (fields) => {
        expectSame(fieldsByOracle(pack(fields)), fields)
      }),
      { numRuns: 150 },
    )
  })

  it('writes the same bytes for every value of the allowed types, and this codec reads them', () => {
    fc.assert(
      fc.property(packables(3), (fields) => {
        const written = new Uint8Array(oracle.pack(forOracle(fields)))
        expect(hex(written)).toBe(hex(pack(fields)))
        expectSame(unpackAny(written), fields)
      }),
      { numRuns: 150 },
    )
  })

  it('writes the same bytes at the boundaries of integers, strings, bytes and arrays', () => {
    const lengths = [0, 15, 16, 31, 32, 255, 256, 65_534, 65_535]
    const values: readonly Packable[] = [
      ...boundaries,
      ...lengths.flatMap((length) => ['a'.repeat(length), 'é'.repeat(length >> 1)]),
      ...[...lengths, 65_536, 70_000].map((length) => new Uint8Array(length).fill(7)),
      ...lengths.map((length) => new Array<number>(length).fill(1)),
    ]
    for (const value of values)
      expect(hex(new Uint8Array(oracle.pack([forOracle(value)])))).toBe(hex(pack([value])))
  })

  it('reads the same values from whatever changed bytes this codec accepts', () => {
    const samples = [
      pack([1, 300, 70_000, 2 ** 32, Number.MAX_SAFE_INTEGER, undefined]),
      pack(['text', 'ä€𝄞'.repeat(9), new Uint8Array(40), new Uint8Array(300), '']),
      pack([['a', [2 ** 40, []], [[1]]], new Array<number>(20).fill(5), 2 ** 31]),
    ]
    let accepted = 0
    fc.assert(
      fc.property(mutationsOf(samples), (bytes) => {
        const fields = tryToUnpack(bytes)
        if (fields === undefined) return
        accepted++
        expectSame(fields, fieldsByOracle(bytes))
        expect(hex(pack(fields))).toBe(hex(bytes))
      }),
      { numRuns: 4000 },
    )
    expect(accepted).toBeGreaterThan(200)
  })
})
