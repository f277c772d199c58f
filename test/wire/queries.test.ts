import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { MAX_STATEMENT_BYTES, MAX_STATEMENTS_PER_PAGE } from '../../src/base/limits.ts'
import type { Packable } from '../../src/wire/msgpack.ts'
import { encodeWire, WireType } from '../../src/wire/preamble.ts'
import {
  decodeAnswer,
  decodePage,
  decodeQuery,
  encodePage,
  encodeQuery,
  type PageHead,
  QueryKind,
  readBuckets,
  readCursor,
  readHashes,
  readPlanCursor,
  writeBuckets,
  writeCursor,
  writeHashes,
  writePlanCursor,
} from '../../src/wire/queries.ts'
import { malformed } from './packable.ts'

const bytes = (length: number) => new Uint8Array(length)
const many = <T>(count: number, item: T): readonly T[] => new Array<T>(count).fill(item)
const nonce = bytes(16)

/** How long the cursor of each kind may be. */
const longest = [
  ['tick', QueryKind.tick, 0],
  ['announcements', QueryKind.announcements, 8],
  ['revocations', QueryKind.revocations, 8],
  ['announcements by hash', QueryKind.byHash, 64 * 32],
  ['plan', QueryKind.plan, 16],
  ['buckets', QueryKind.buckets, 16],
  ['hand-over', QueryKind.handOver, 65_536],
] as const

describe('a query', () => {
  it.each(longest)('for %s is read as it was written', (_, kind, length) => {
    const cursors = length === 0 ? [undefined] : [undefined, bytes(length)]
    for (const cursor of cursors)
      expect(decodeQuery(encodeQuery({ nonce, kind, cursor }))).toEqual({ nonce, kind, cursor })
  })

  it.each(longest)('for %s is refused where its cursor is longer than that kind has', (_, kind, length) => {
    const wire = encodeQuery({ nonce, kind, cursor: bytes(length + 1) })
    expect(() => decodeQuery(wire)).toThrow(malformed)
  })

  it('for a tick has no cursor, not even an empty one', () => {
    expect(() => decodeQuery(encodeQuery({ nonce, kind: QueryKind.tick, cursor: bytes(0) }))).toThrow(
      malformed,
    )
  })

  it.each<[string, readonly Packable[]]>([
    ['the kind of epochs, which are derived', [nonce, 1, undefined]],
    ['a kind that is not known', [nonce, 8, undefined]],
    ['no kind', [nonce, undefined, undefined]],
    ['no nonce', [undefined, 0, undefined]],
    ['a short nonce', [bytes(15), 0, undefined]],
    ['a long nonce', [bytes(17), 0, undefined]],
    ['a cursor that is an integer', [nonce, 2, 1]],
    ['no place for the cursor', [nonce, 2]],
    ['a fourth field', [nonce, 2, undefined, undefined]],
  ])('is refused with %s', (_, fields) => {
    expect(() => decodeQuery(encodeWire(WireType.query, fields))).toThrow(malformed)
  })
})

describe('a page', () => {
  it('is read as it was written', () => {
    const most = many(MAX_STATEMENTS_PER_PAGE, bytes(20))
    for (const [statements, next] of [
      [[], undefined],
      [most, bytes(8)],
    ] as const) {
      const page = { nonce, kind: QueryKind.announcements, statements, next }
      expect(decodePage(encodePage(page))).toEqual(page)
    }
  })

  it('is read no further than its nonce and its kind where it was not asked for', () => {
    const asked: PageHead[] = []
    const isAsked = (head: PageHead): boolean => {
      asked.push(head)
      return false
    }
    const unreadable = encodeWire(WireType.page, [nonce, QueryKind.plan, 'no list', undefined])
    expect(decodeAnswer(unreadable, isAsked)).toBeUndefined()
    expect(asked).toEqual([{ nonce, kind: QueryKind.plan }])
    expect(() => decodeAnswer(unreadable, () => true)).toThrow(malformed)
  })

  it.each<[string, readonly Packable[]]>([
    ['no nonce', [undefined, 2, [], undefined]],
    ['a short nonce', [bytes(15), 2, [], undefined]],
    ['too many statements', [nonce, 2, many(MAX_STATEMENTS_PER_PAGE + 1, bytes(1)), undefined]],
    ['statements that are nil', [nonce, 2, undefined, undefined]],
    ['a statement that is a string', [nonce, 2, ['a'], undefined]],
    ['a statement above 64 KiB', [nonce, 2, [bytes(MAX_STATEMENT_BYTES + 1)], undefined]],
    ['a kind that is not known', [nonce, 1, [], undefined]],
    ['a cursor above that of its kind', [nonce, 2, [], bytes(9)]],
    ['no place for the cursor', [nonce, 2, []]],
    ['a fifth field', [nonce, 2, [], undefined, undefined]],
  ])('is refused with %s', (_, fields) => {
    expect(() => decodePage(encodeWire(WireType.page, fields))).toThrow(malformed)
  })
})

describe('a cursor', () => {
  it.each([0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER])('holds the place %i', (place) => {
    expect(readCursor(writeCursor(place))).toBe(place)
  })

  it('is eight bytes, big-endian', () => {
    expect(hex(writeCursor(258))).toBe('0000000000000102')
  })

  it.each([0, 7, 9, 32])('of %i bytes means the beginning', (length) => {
    expect(readCursor(bytes(length).fill(1))).toBe(0)
  })

  it('means the beginning where there is none, and is read out of a larger buffer', () => {
    expect(readCursor(undefined)).toBe(0)
    expect(readCursor(Uint8Array.from([9, 9, 0, 0, 0, 0, 0, 0, 0, 5, 9]).subarray(2, 10))).toBe(5)
  })

  it('of a plan names its version, and the place in its list', () => {
    expect(readPlanCursor(undefined)).toEqual({ version: undefined, place: 0 })
    expect(readPlanCursor(writePlanCursor(7))).toEqual({ version: 7, place: 0 })
    expect(readPlanCursor(writePlanCursor(7, 200))).toEqual({ version: 7, place: 200 })
    for (const length of [0, 7, 9, 15, 17]) expect(() => readPlanCursor(bytes(length))).toThrow(malformed)
  })

  it('of announcements by hash holds one hash or more', () => {
    const hashes = [bytes(32).fill(1), bytes(32).fill(2)]
    expect(readHashes(writeHashes(hashes))).toEqual(hashes)
    for (const cursor of [undefined, bytes(0), bytes(31), bytes(33)])
      expect(() => readHashes(cursor)).toThrow(malformed)
  })

  it('of buckets holds one or more, or asks for the hashes of all of them', () => {
    expect(readBuckets(undefined)).toBeUndefined()
    expect(readBuckets(writeBuckets([0, 255, 7]))).toEqual([0, 255, 7])
    expect(() => readBuckets(bytes(0))).toThrow(malformed)
  })
})
