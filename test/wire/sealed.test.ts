import { describe, expect, it } from 'vitest'
import { concat, hex } from '../../src/base/bytes.ts'
import { MAX_HEADERS, MAX_RECIPIENTS } from '../../src/base/limits.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import { encodeWire, WireType } from '../../src/wire/preamble.ts'
import {
  decodeContent,
  decodeSealed,
  encodeContent,
  encodeSealed,
  encodeSealedHeader,
  findWrap,
  makeMid,
  midTime,
  packWraps,
  recipientCount,
  type SealedHeader,
  splitWraps,
} from '../../src/wire/sealed.ts'
import { engine } from '../support/identities.ts'
import { malformed } from './packable.ts'
import { content, header } from './samples.ts'
import { badSubjects } from './subjects.ts'

const BODY = new Uint8Array(32 + 64 + 4 + 16).fill(9)

/** The fields of H as they are packed, to change one of them. */
function headerFields(from: SealedHeader): readonly Packable[] {
  return [from.type, from.suite, from.epoch, from.mid, from.enc, from.packedWraps]
}

function withField(fields: readonly Packable[], place: number, value: Packable): readonly Packable[] {
  return fields.map((field, i) => (i === place ? value : field))
}

function sealedWith(headerBytes: Uint8Array, body = BODY): Uint8Array {
  return encodeSealed(WireType.sealed, headerBytes, body)
}

describe('a sealed message on the wire', () => {
  it.each([1, 2, 3, 200])('is read as it was written, with %i recipients', (recipients) => {
    const written = header({ recipients })
    const headerBytes = encodeSealedHeader(written)
    const read = decodeSealed(sealedWith(headerBytes))
    expect(read.header).toEqual(written)
    expect(read.headerBytes).toEqual(headerBytes)
    expect(concat(read.commitment, read.ciphertext)).toEqual(BODY)
  })

  it('holds as many recipients as the limit says, and no more', () => {
    const wrapsOf = (count: number) => {
      const bytes = new Uint8Array(64 * count)
      for (let i = 0; i < count; i++) new DataView(bytes.buffer).setUint32(64 * i, i)
      return bytes
    }
    const fields = headerFields(header())
    const most = sealedWith(pack(withField(fields, 5, wrapsOf(MAX_RECIPIENTS))))
    expect(recipientCount(decodeSealed(most).header)).toBe(MAX_RECIPIENTS)
    const more = sealedWith(pack(withField(fields, 5, wrapsOf(MAX_RECIPIENTS + 1))))
    expect(() => decodeSealed(more)).toThrow(malformed)
  })

  it.each<[string, number, Packable]>([
    ['the type of a handshake', 0, 1],
    ['a type that is none of a sealed message', 0, 3],
    ['a type that is a string', 0, '0'],
    ['a suite above one byte', 1, 256],
    ['no suite', 1, undefined],
    ['an epoch that is a string', 2, '7'],
    ['no epoch', 2, undefined],
    ['a short mid', 3, new Uint8Array(15)],
    ['a long mid', 3, new Uint8Array(17)],
    ['a short enc', 4, new Uint8Array(31)],
    ['a long enc', 4, new Uint8Array(33)],
    ['no enc', 4, undefined],
    ['no recipients', 5, new Uint8Array(0)],
    ['a wrap that is a byte short', 5, new Uint8Array(63)],
    ['a wrap that is a byte long', 5, new Uint8Array(65)],
    ['one wrap and a half', 5, new Uint8Array(96)],
    ['wraps that are an array', 5, [new Uint8Array(64)]],
    ['wraps with the kids of 8 bytes that were once', 5, new Uint8Array(56)],
  ])('is refused with %s', (_, place, value) => {
    const fields = withField(headerFields(header()), place, value)
    expect(() => decodeSealed(sealedWith(pack(fields)))).toThrow(malformed)
  })

  it('is refused with a field too few or too many in the header', () => {
    const fields = headerFields(header())
    expect(() => decodeSealed(sealedWith(pack(fields.slice(0, 5))))).toThrow(malformed)
    expect(() => decodeSealed(sealedWith(pack([...fields, undefined])))).toThrow(malformed)
  })

  it('is refused with bytes behind the fields of the header', () => {
    const headerBytes = concat(encodeSealedHeader(header()), Uint8Array.of(0))
    expect(() => decodeSealed(sealedWith(headerBytes))).toThrow(malformed)
  })

  it('is refused with a field too few or too many outside', () => {
    const headerBytes = encodeSealedHeader(header())
    expect(() => decodeSealed(encodeWire(WireType.sealed, [headerBytes]))).toThrow(malformed)
    expect(() => decodeSealed(encodeWire(WireType.sealed, [headerBytes, BODY, undefined]))).toThrow(malformed)
    expect(() => decodeSealed(encodeWire(WireType.sealed, [headerBytes, undefined]))).toThrow(malformed)
    expect(() => decodeSealed(encodeWire(WireType.sealed, [undefined, BODY]))).toThrow(malformed)
  })

  it('is refused with a body that cannot hold commitment, signature, length and tag', () => {
    const headerBytes = encodeSealedHeader(header())
    expect(decodeSealed(sealedWith(headerBytes)).ciphertext).toHaveLength(84)
    expect(() => decodeSealed(sealedWith(headerBytes, BODY.subarray(1)))).toThrow(malformed)
    expect(() => decodeSealed(sealedWith(headerBytes, new Uint8Array(0)))).toThrow(malformed)
  })

  it('is refused where the preamble says another type than the header', () => {
    const asSealed = encodeSealedHeader(header({ type: WireType.sealed }))
    const asHandshake = encodeSealedHeader(header({ type: WireType.handshake }))
    expect(decodeSealed(encodeSealed(WireType.handshake, asHandshake, BODY)).header.type).toBe(1)
    expect(() => decodeSealed(encodeSealed(WireType.handshake, asSealed, BODY))).toThrow(malformed)
    expect(() => decodeSealed(encodeSealed(WireType.sealed, asHandshake, BODY))).toThrow(malformed)
  })

  it.each([2, 3, 4, 5, 6, 7, 8, 9])('is refused as a message of type %i', (type) => {
    const wire = sealedWith(encodeSealedHeader(header()))
    wire[2] = type
    expect(() => decodeSealed(wire)).toThrow(malformed)
  })
})

describe('the wraps of a header', () => {
  const key = (fill: number) => ({ kid: new Uint8Array(16).fill(fill) })
  const wrapsOf = (...fills: readonly number[]) =>
    packWraps(fills.map((fill, i) => ({ ...key(fill), wrap: new Uint8Array(48).fill(100 + i) })))
  const found = (packed: Uint8Array, ...keys: readonly { readonly kid: Uint8Array }[]) => {
    const own = findWrap(packed, keys)
    return own && [own.key.kid[0], own.wrap[0]]
  }

  it('are taken apart as they were put together', () => {
    expect(
      splitWraps(wrapsOf(1, 2)).map(({ kid, wrap }) => [kid[0], kid.length, wrap[0], wrap.length]),
    ).toEqual([
      [1, 16, 100, 48],
      [2, 16, 101, 48],
    ])
  })

  it('hold the first one that is for a key of the receiver', () => {
    expect(found(wrapsOf(1, 2, 3), key(3))).toEqual([3, 102])
    expect(found(wrapsOf(1, 2, 3), key(9), key(3), key(2))).toEqual([2, 101])
    expect(found(wrapsOf(1, 2, 3), key(9))).toBeUndefined()
    expect(found(wrapsOf(1, 2, 3))).toBeUndefined()
  })

  it('are compared by all 16 bytes of a kid', () => {
    for (let at = 0; at < 16; at++) {
      const near = wrapsOf(7)
      near[at] = 8
      expect(found(near, key(7))).toBeUndefined()
    }
    expect(found(wrapsOf(0xff), key(0xff))).toEqual([0xff, 100])
  })

  it('are refused where a kid of the receiver occurs twice, wherever, and not where one of others does', () => {
    for (const fills of [
      [1, 1, 2],
      [1, 2, 1],
      [2, 1, 1],
      [1, 1, 1],
    ])
      expect(() => findWrap(wrapsOf(...fills), [key(9), key(1)])).toThrow(malformed)
    expect(found(wrapsOf(2, 2, 1), key(1))).toEqual([1, 102])
  })

  it('of 16,384 strangers cost less than hashing them, also where they begin as an own kid does', () => {
    const [own, other] = [{ kid: engine.randomBytes(16) }, { kid: engine.randomBytes(16) }]
    const packed = engine.randomBytes(64 * MAX_RECIPIENTS)
    for (let i = 0; i < MAX_RECIPIENTS; i++) packed.set(own.kid.subarray(0, 12), 64 * i)
    const fastest = (task: () => unknown): number => {
      const times = Array.from({ length: 40 }, () => {
        const start = performance.now()
        task()
        return performance.now() - start
      })
      return Math.min(...times)
    }
    // Tens of microseconds beside hundreds; text for each kid took tens of thousands.
    expect(fastest(() => findWrap(packed, [own, other]))).toBeLessThan(fastest(() => engine.sha256(packed)))
  })

  it('are found in a view into other memory', () => {
    const memory = concat(new Uint8Array(3), wrapsOf(1, 2))
    expect(found(memory.subarray(3), key(2))).toEqual([2, 101])
  })
})

describe('the content of a sealed message', () => {
  const full = content({
    reply: '_INBOX.abc',
    inReplyTo: new Uint8Array(40).fill(1),
    ttlMs: 30_000,
    headers: [
      { name: 'Trace', value: 'ä€𝄞' },
      { name: 'Trace', value: '' },
    ],
    clearHeaders: [{ name: 'Nats-Msg-Id', value: '1' }],
    payload: new Uint8Array(70_000).fill(2),
  })
  const fields: readonly Packable[] = [
    full.sender,
    full.seq,
    full.subject,
    full.reply,
    full.inReplyTo,
    full.ttlMs,
    [['Trace', 'x']],
    [],
    full.payload,
  ]

  it('is read as it was written', () => {
    for (const written of [content(), full, content({ payload: new Uint8Array(0) })]) {
      expect(decodeContent(encodeContent(written))).toEqual(written)
    }
  })

  it.each(Object.entries(badSubjects))(
    'is refused with %s as its subject or as its reply subject',
    (_, text) => {
      expect(() => decodeContent(encodeContent(content({ subject: text })))).toThrow(malformed)
      expect(() => decodeContent(encodeContent(content({ reply: text })))).toThrow(malformed)
    },
  )

  it('holds as many headers as the limit says', () => {
    const headers = Array.from({ length: MAX_HEADERS }, (_, i) => ({ name: `h${i}`, value: '' }))
    expect(decodeContent(encodeContent(content({ headers }))).headers).toHaveLength(MAX_HEADERS)
    const more = [...headers, { name: 'one', value: 'more' }]
    expect(() => decodeContent(encodeContent(content({ headers: more })))).toThrow(malformed)
    expect(() => decodeContent(encodeContent(content({ clearHeaders: more })))).toThrow(malformed)
  })

  it.each<[string, number, Packable]>([
    ['a short sender', 0, new Uint8Array(31)],
    ['a sender that is a string', 0, 'x'.repeat(32)],
    ['no seq', 1, undefined],
    ['a subject that is bytes', 2, new Uint8Array(4)],
    ['no subject', 2, undefined],
    ['a subject above 1024 bytes', 2, 'a'.repeat(1025)],
    ['a reply that is an integer', 3, 1],
    ['a reply above 1024 bytes', 3, 'a'.repeat(1025)],
    ['an in_reply_to that is a string', 4, 'abc'],
    ['an in_reply_to above 64 bytes', 4, new Uint8Array(65)],
    ['no time to live', 5, undefined],
    ['headers that are nil', 6, undefined],
    ['a header with a name alone', 6, [['Trace']]],
    ['a header with two values', 6, [['Trace', 'x', 'y']]],
    ['a header that is no pair', 6, ['Trace']],
    ['a header whose value is an integer', 6, [['Trace', 1]]],
    ['clear headers that are nil', 7, undefined],
    ['a payload that is a string', 8, 'payload'],
    ['no payload', 8, undefined],
  ])('is refused with %s', (_, place, value) => {
    expect(decodeContent(pack(fields)).headers).toHaveLength(1)
    expect(() => decodeContent(pack(withField(fields, place, value)))).toThrow(malformed)
  })

  it('is refused with a field too few or too many', () => {
    expect(() => decodeContent(pack(fields.slice(0, 8)))).toThrow(malformed)
    expect(() => decodeContent(pack([...fields, undefined]))).toThrow(malformed)
  })
})

describe('a message id', () => {
  it('is a UUIDv7 as in the example of RFC 9562', () => {
    // Appendix A.6: 017F22E2-79B0-7CC3-98C4-DC0C0C07398F
    const random = Uint8Array.from([0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f])
    expect(hex(makeMid(0x017f22e279b0, random))).toBe('017f22e279b07cc398c4dc0c0c07398f')
  })

  it.each([0, 1, 2 ** 32 - 1, 2 ** 32, 1_800_000_000_123, 2 ** 48 - 1])('carries the time %i', (time) => {
    expect(midTime(makeMid(time, new Uint8Array(10).fill(0xff)))).toBe(time)
    expect(midTime(makeMid(time, new Uint8Array(10)))).toBe(time)
  })

  it('has no time with another version or variant', () => {
    const mid = makeMid(1_800_000_000_000, new Uint8Array(10))
    for (let version = 0; version < 16; version++) {
      const other = new Uint8Array(mid)
      other[6] = version << 4
      expect(midTime(other) === undefined).toBe(version !== 7)
    }
    for (let variant = 0; variant < 4; variant++) {
      const other = new Uint8Array(mid)
      other[8] = variant << 6
      expect(midTime(other) === undefined).toBe(variant !== 2)
    }
  })

  it('keeps 74 bits of its randomness', () => {
    const zeros = makeMid(0, new Uint8Array(10))
    const ones = makeMid(0, new Uint8Array(10).fill(0xff))
    let bits = 0
    for (const [i, byte] of ones.entries())
      bits += (byte ^ (zeros[i] ?? 0)).toString(2).replaceAll('0', '').length
    expect(bits).toBe(74)
  })
})
