import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import {
  MAX_NONCES_PER_TICK,
  MAX_REVOCATIONS,
  MAX_STATEMENT_BYTES,
  MAX_STATEMENTS_PER_PAGE,
  MAX_SUITES,
} from '../../src/base/limits.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import { encodeWire, WireType } from '../../src/wire/preamble.ts'
import {
  decodeAnnouncement,
  decodeAnswer,
  decodeEpoch,
  decodeOrder,
  decodePage,
  decodeQuery,
  decodeRevocation,
  decodeSignedAnnouncement,
  decodeStatement,
  decodeTick,
  encodeAnnouncement,
  encodeEpoch,
  encodeOrder,
  encodePage,
  encodeQuery,
  encodeRevocation,
  encodeSignedAnnouncement,
  encodeStatement,
  encodeTick,
  type PageHead,
  QueryKind,
  readCursor,
  writeCursor,
} from '../../src/wire/statements.ts'
import { malformed } from './packable.ts'
import { announcement, epoch, order, revocation, tick } from './samples.ts'

const bytes = (length: number) => new Uint8Array(length)
const many = <T>(count: number, item: T): readonly T[] => new Array<T>(count).fill(item)
const signature = bytes(64)
const short = 'A'.repeat(55)
const long = 'A'.repeat(57)

describe('an epoch', () => {
  it('is read as it was written', () => {
    for (const written of [epoch(), epoch({ suites: [], revocations: [bytes(3), bytes(300)] })]) {
      expect(decodeEpoch(encodeEpoch(written))).toEqual(written)
    }
  })

  it('holds as many suites and revocations as the limits say', () => {
    const most = epoch({ suites: many(MAX_SUITES, 1), revocations: many(MAX_REVOCATIONS, bytes(1)) })
    expect(decodeEpoch(encodeEpoch(most))).toEqual(most)
  })

  it.each<[string, Parameters<typeof epoch>[0]]>([
    ['a realm that is too short', { realm: short }],
    ['a realm that is too long', { realm: long }],
    ['a short previous hash', { prevHash: bytes(31) }],
    ['a long previous hash', { prevHash: bytes(33) }],
    ['too many suites', { suites: many(MAX_SUITES + 1, 1) }],
    ['a suite above one byte', { suites: [256] }],
    ['too many revocations', { revocations: many(MAX_REVOCATIONS + 1, bytes(1)) }],
    ['a revocation that is too large', { revocations: [bytes(MAX_STATEMENT_BYTES + 1)] }],
  ])('is refused with %s', (_, changes) => {
    expect(() => decodeEpoch(encodeEpoch(epoch(changes)))).toThrow(malformed)
  })

  it('shares no memory with the bytes that it was read from', () => {
    const encoded = encodeEpoch(epoch({ revocations: [bytes(3)] }))
    const read = decodeEpoch(encoded)
    encoded.fill(0xff)
    expect(read).toEqual(epoch({ revocations: [bytes(3)] }))
  })
})

describe('a tick', () => {
  it('is read as it was written', () => {
    const most = tick({ nonces: many(MAX_NONCES_PER_TICK, bytes(16)) })
    for (const written of [tick(), most]) expect(decodeTick(encodeTick(written))).toEqual(written)
  })

  it.each<[string, Parameters<typeof tick>[0]]>([
    ['a realm that is too short', { realm: short }],
    ['a short epoch hash', { epochHash: bytes(31) }],
    ['a short revocations hash', { revocationsHash: bytes(0) }],
    ['a short nonce', { nonces: [bytes(15)] }],
    ['a long nonce', { nonces: [bytes(17)] }],
    ['too many nonces', { nonces: many(MAX_NONCES_PER_TICK + 1, bytes(16)) }],
  ])('is refused with %s', (_, changes) => {
    expect(() => decodeTick(encodeTick(tick(changes)))).toThrow(malformed)
  })
})

describe('a revocation', () => {
  it('is read as it was written', () => {
    for (const written of [
      revocation(),
      revocation({ reason: '' }),
      revocation({ reason: 'é'.repeat(100) }),
    ]) {
      expect(decodeRevocation(encodeRevocation(written))).toEqual(written)
    }
  })

  it.each<[string, Parameters<typeof revocation>[0]]>([
    ['a realm that is too long', { realm: long }],
    ['an identity that is too short', { identity: short }],
    ['a reason above 256 bytes', { reason: 'a'.repeat(257) }],
  ])('is refused with %s', (_, changes) => {
    expect(() => decodeRevocation(encodeRevocation(revocation(changes)))).toThrow(malformed)
  })
})

describe('an order', () => {
  it('is read as it was written', () => {
    for (const written of [order(), order({ number: 0 })]) {
      expect(decodeOrder(encodeOrder(written))).toEqual(written)
    }
  })

  it.each<[string, Parameters<typeof order>[0]]>([
    ['a realm that is too short', { realm: short }],
    ['a realm that is too long', { realm: long }],
    ['a short epoch hash', { epochHash: bytes(31) }],
    ['a long epoch hash', { epochHash: bytes(33) }],
  ])('is refused with %s', (_, changes) => {
    expect(() => decodeOrder(encodeOrder(order(changes)))).toThrow(malformed)
  })

  it('is refused with a fourth field, and without the third', () => {
    const { realm, number, epochHash } = order()
    expect(decodeOrder(pack([realm, number, epochHash]))).toEqual(order())
    expect(() => decodeOrder(pack([realm, number, epochHash, 1]))).toThrow(malformed)
    expect(() => decodeOrder(pack([realm, number]))).toThrow(malformed)
  })
})

describe('an announcement', () => {
  const key = { suite: 1, use: 0, publicKey: bytes(32) }

  it('is read as it was written, retirements among them', () => {
    const written = [
      announcement(),
      announcement({ keys: many(8, { suite: 2, use: 1, publicKey: bytes(1216) }) }),
      announcement({ keys: [], messageKey: bytes(0) }),
    ]
    for (const each of written) expect(decodeAnnouncement(encodeAnnouncement(each))).toEqual(each)
  })

  it.each<[string, Parameters<typeof announcement>[0]]>([
    ['a realm that is too short', { realm: short }],
    ['a name above 64 bytes', { agent: 'a'.repeat(65) }],
    ['a short instance', { instance: bytes(7) }],
    ['a short epoch hash', { epochHash: bytes(31) }],
    ['an identity that is too long', { identity: long }],
    ['a short message key', { messageKey: bytes(31) }],
    ['a long message key', { messageKey: bytes(33) }],
    ['keys and no message key', { messageKey: bytes(0) }],
    ['a message key and no keys', { keys: [] }],
    ['too many keys', { keys: many(9, key) }],
    ['a key of a suite above one byte', { keys: [{ ...key, suite: 256 }] }],
    ['a key that is too large', { keys: [{ ...key, publicKey: bytes(1217) }] }],
    ['a token that is too large', { token: 'a'.repeat(16_385) }],
  ])('is refused with %s', (_, changes) => {
    expect(() => decodeAnnouncement(encodeAnnouncement(announcement(changes)))).toThrow(malformed)
  })

  it('is refused with a fourth field in a key', () => {
    const withKeys = (keys: Packable): Uint8Array => {
      const { realm, agent, instance, epochHash, identity, messageKey, token } = announcement()
      return pack([realm, agent, instance, 7, epochHash, identity, messageKey, keys, 1, 2, 0, 1, token])
    }
    expect(decodeAnnouncement(withKeys([[1, 0, bytes(32)]])).keys).toEqual([key])
    expect(() => decodeAnnouncement(withKeys([[1, 0, bytes(32), undefined]]))).toThrow(malformed)
    expect(() => decodeAnnouncement(withKeys([[1, 0]]))).toThrow(malformed)
    expect(() => decodeAnnouncement(withKeys(undefined))).toThrow(malformed)
  })

  it('is read from the wire with both signatures, or with one and no proof', () => {
    const structure = encodeAnnouncement(announcement())
    for (const proof of [bytes(64), undefined]) {
      const wire = encodeSignedAnnouncement({ structure, signature, proof })
      expect(decodeSignedAnnouncement(wire)).toEqual({ structure, signature, proof })
    }
  })

  it.each<[string, readonly Packable[]]>([
    ['a short signature', [bytes(9), bytes(63), bytes(64), undefined]],
    ['no signature', [bytes(9), undefined, bytes(64), undefined]],
    ['a long proof', [bytes(9), bytes(64), bytes(65), undefined]],
    ['a token behind the signatures', [bytes(9), bytes(64), bytes(64), 'token']],
    ['an empty token behind the signatures', [bytes(9), bytes(64), bytes(64), '']],
    ['nothing behind the signatures', [bytes(9), bytes(64), bytes(64)]],
    ['a fifth field', [bytes(9), bytes(64), bytes(64), undefined, undefined]],
    ['a structure that is an array', [[1], bytes(64), bytes(64), undefined]],
  ])('is refused on the wire with %s', (_, fields) => {
    expect(() => decodeSignedAnnouncement(encodeWire(WireType.announcement, fields))).toThrow(malformed)
  })

  it('is refused on the wire above 64 KiB', () => {
    const wire = encodeSignedAnnouncement({
      structure: bytes(MAX_STATEMENT_BYTES),
      signature,
      proof: undefined,
    })
    expect(() => decodeSignedAnnouncement(wire)).toThrow(malformed)
  })
})

describe('a signed statement', () => {
  const types = [WireType.epoch, WireType.tick, WireType.revocation, WireType.order] as const

  it.each(types)('of type %i is read as it was written, with a token and without', (type) => {
    for (const token of ['a.b.c', undefined]) {
      const written = { structure: bytes(40), signature, token }
      expect(decodeStatement(type, encodeStatement(type, written))).toEqual(written)
    }
  })

  it('is never read as one of another type', () => {
    for (const written of types) {
      for (const wanted of types) {
        if (written === wanted) continue
        const wire = encodeStatement(written, { structure: bytes(40), signature, token: undefined })
        expect(() => decodeStatement(wanted, wire)).toThrow(malformed)
      }
    }
  })

  it('may be larger than 64 KiB as an epoch only', () => {
    const large = { structure: bytes(MAX_STATEMENT_BYTES), signature, token: undefined }
    expect(decodeStatement(WireType.epoch, encodeStatement(WireType.epoch, large))).toEqual(large)
    for (const type of [WireType.tick, WireType.revocation, WireType.order] as const) {
      expect(() => decodeStatement(type, encodeStatement(type, large))).toThrow(malformed)
    }
  })

  it('is refused as an epoch above 1 MiB', () => {
    const wire = encodeStatement(WireType.epoch, {
      structure: bytes(1024 * 1024),
      signature,
      token: undefined,
    })
    expect(() => decodeStatement(WireType.epoch, wire)).toThrow(malformed)
  })

  it.each<[string, readonly Packable[]]>([
    ['a short signature', [bytes(9), bytes(63), undefined]],
    ['a long signature', [bytes(9), bytes(65), undefined]],
    ['no signature', [bytes(9), undefined, undefined]],
    ['a structure that is a string', ['abc', bytes(64), undefined]],
    ['a token that is bytes', [bytes(9), bytes(64), bytes(3)]],
    ['a token that is too large', [bytes(9), bytes(64), 'a'.repeat(16_385)]],
    ['no place for the token', [bytes(9), bytes(64)]],
    ['a fourth field', [bytes(9), bytes(64), undefined, undefined]],
  ])('is refused with %s', (_, fields) => {
    expect(() => decodeStatement(WireType.tick, encodeWire(WireType.tick, fields))).toThrow(malformed)
  })

  it('shares no memory with the bytes that it was read from', () => {
    const wire = encodeStatement(WireType.tick, { structure: bytes(40), signature, token: undefined })
    const read = decodeStatement(WireType.tick, wire)
    wire.fill(0xff)
    expect(read.structure).toEqual(bytes(40))
    expect(read.signature).toEqual(bytes(64))
  })
})

describe('a query', () => {
  it.each(Object.entries(QueryKind))('for %s is read as it was written', (_, kind) => {
    const nonce = bytes(16)
    for (const cursor of [undefined, bytes(32)])
      expect(decodeQuery(encodeQuery({ nonce, kind, cursor }))).toEqual({ nonce, kind, cursor })
  })

  it.each<[string, readonly Packable[]]>([
    ['a kind that is not known', [bytes(16), 5, undefined]],
    ['no kind', [bytes(16), undefined, undefined]],
    ['no nonce', [undefined, 0, undefined]],
    ['a short nonce', [bytes(15), 0, undefined]],
    ['a long nonce', [bytes(17), 0, undefined]],
    ['a cursor above 64 bytes', [bytes(16), 1, bytes(65)]],
    ['a cursor that is an integer', [bytes(16), 1, 1]],
    ['no place for the cursor', [bytes(16), 1]],
    ['a fourth field', [bytes(16), 1, undefined, undefined]],
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
      const page = { nonce: bytes(16), kind: QueryKind.epochs, statements, next }
      expect(decodePage(encodePage(page))).toEqual(page)
    }
  })

  it('is read no further than its nonce and its kind where it was not asked for', () => {
    const asked: PageHead[] = []
    const isAsked = (head: PageHead): boolean => {
      asked.push(head)
      return false
    }
    const unreadable = encodeWire(WireType.page, [bytes(16), QueryKind.epochs, 'no list', undefined])
    expect(decodeAnswer(unreadable, isAsked)).toBeUndefined()
    expect(asked).toEqual([{ nonce: bytes(16), kind: QueryKind.epochs }])
    expect(() => decodeAnswer(unreadable, () => true)).toThrow(malformed)
  })

  it.each<[string, readonly Packable[]]>([
    ['no nonce', [undefined, 1, [], undefined]],
    ['a short nonce', [bytes(15), 1, [], undefined]],
    ['too many statements', [bytes(16), 1, many(MAX_STATEMENTS_PER_PAGE + 1, bytes(1)), undefined]],
    ['statements that are nil', [bytes(16), 1, undefined, undefined]],
    ['a statement that is a string', [bytes(16), 1, ['a'], undefined]],
    ['a statement above 1 MiB', [bytes(16), 1, [bytes(1024 * 1024 + 1)], undefined]],
    ['a kind that is not known', [bytes(16), 5, [], undefined]],
    ['a cursor above 64 bytes', [bytes(16), 1, [], bytes(65)]],
    ['no place for the cursor', [bytes(16), 1, []]],
    ['a fifth field', [bytes(16), 1, [], undefined, undefined]],
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
})
