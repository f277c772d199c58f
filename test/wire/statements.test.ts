import { describe, expect, it } from 'vitest'
import { MAX_STATEMENT_BYTES } from '../../src/base/limits.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import { encodeWire, WireType } from '../../src/wire/preamble.ts'
import {
  decodeAnnouncement,
  decodeOrder,
  decodeRevocation,
  decodeSignedAnnouncement,
  decodeStatement,
  encodeAnnouncement,
  encodeOrder,
  encodeRevocation,
  encodeSignedAnnouncement,
  encodeStatement,
} from '../../src/wire/statements.ts'
import { malformed } from './packable.ts'
import { announcement, order, revocation } from './samples.ts'

const bytes = (length: number) => new Uint8Array(length)
const many = <T>(count: number, item: T): readonly T[] => new Array<T>(count).fill(item)
const signature = bytes(64)
const short = 'A'.repeat(55)
const long = 'A'.repeat(57)

describe('a revocation', () => {
  it('is read as it was written', () => {
    for (const written of [
      revocation(),
      revocation({ reason: '' }),
      revocation({ reason: 'é'.repeat(100) }),
      revocation({ past: 1 }),
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

  it('is refused where it says something else of the past, or nothing', () => {
    const { realm, identity, since, until, reason } = revocation()
    for (const past of [2, 255, '0', undefined])
      expect(() => decodeRevocation(pack([realm, identity, since, until, reason, past]))).toThrow(malformed)
    expect(() => decodeRevocation(pack([realm, identity, since, until, reason]))).toThrow(malformed)
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

  it('is refused with a fifth field, and without the fourth', () => {
    const { realm, number, epochHash, at } = order()
    expect(decodeOrder(pack([realm, number, epochHash, at]))).toEqual(order())
    expect(() => decodeOrder(pack([realm, number, epochHash, at, 1]))).toThrow(malformed)
    expect(() => decodeOrder(pack([realm, number, epochHash]))).toThrow(malformed)
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
  const types = [WireType.notice, WireType.revocation, WireType.order, WireType.plan] as const
  const unnamed = [WireType.notice, WireType.order, WireType.plan] as const

  it.each(types)('of type %i is read as it was written', (type) => {
    const written = { structure: bytes(40), signature, token: undefined }
    expect(decodeStatement(type, encodeStatement(type, written))).toEqual(written)
  })

  it('names its signer by a token as a revocation, and as nothing else', () => {
    const written = { structure: bytes(40), signature, token: 'a.b.c' }
    const wire = encodeStatement(WireType.revocation, written)
    expect(decodeStatement(WireType.revocation, wire)).toEqual(written)
    for (const type of unnamed) {
      for (const token of ['a.b.c', ''])
        expect(() => decodeStatement(type, encodeStatement(type, { ...written, token }))).toThrow(malformed)
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

  it('is refused above 64 KiB', () => {
    const large = { structure: bytes(MAX_STATEMENT_BYTES), signature, token: undefined }
    for (const type of types)
      expect(() => decodeStatement(type, encodeStatement(type, large))).toThrow(malformed)
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
    expect(() => decodeStatement(WireType.revocation, encodeWire(WireType.revocation, fields))).toThrow(
      malformed,
    )
  })

  it('shares no memory with the bytes that it was read from', () => {
    const wire = encodeStatement(WireType.order, { structure: bytes(40), signature, token: undefined })
    const read = decodeStatement(WireType.order, wire)
    wire.fill(0xff)
    expect(read.structure).toEqual(bytes(40))
    expect(read.signature).toEqual(bytes(64))
  })
})
