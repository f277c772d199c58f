import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat, hex, samePublic } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import {
  decodeFrameContent,
  decodePayloads,
  encodeFrameMeta,
  encodePayloads,
  FRAME_HEADER_BYTES,
  type FrameMeta,
  frameSid,
  isFrameOf,
  payloadBytes,
  payloadsHead,
  readFrameHeader,
  writeFrameHeader,
  writePayload,
} from '../../src/wire/frame.ts'
import {
  decodeHandshake,
  decodeSessionRequest,
  encodeHandshake,
  encodeSessionRequest,
} from '../../src/wire/handshake.ts'
import { pack } from '../../src/wire/msgpack.ts'
import { engine } from '../support/identities.ts'
import { badSubjects, subjects } from './subjects.ts'

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
const pairs = fc.array(fc.record({ name: text, value: text }), { maxLength: 5 })
const metas: fc.Arbitrary<FrameMeta> = fc.record({
  ttlMs: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  subject: subjects,
  reply: fc.option(subjects, { nil: undefined }),
  inReplyTo: fc.option(fc.uint8Array({ maxLength: 64 }), { nil: undefined }),
  headers: pairs,
  clearHeaders: pairs,
})
const payloadLists = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 })

/** The code with which it fails; anything but an error of ours is thrown on. */
function codeOf(task: () => unknown): string | undefined {
  try {
    task()
    return undefined
  } catch (error) {
    if (error instanceof SubrosaError) return error.code
    throw error
  }
}

describe('the header of a frame', () => {
  it('is read as it was written, up to the largest numbers', () => {
    const cases = fc.record({
      sid: fc.uint8Array({ minLength: 16, maxLength: 16 }),
      random: fc.uint8Array({ minLength: 10, maxLength: 10 }),
      sentAtMs: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
      counter: fc.maxSafeNat(),
    })
    fc.assert(
      fc.property(cases, ({ sid, random, sentAtMs, counter }) => {
        const bytes = new Uint8Array(FRAME_HEADER_BYTES + 1)
        writeFrameHeader(bytes, sid, { sentAtMs, random, at: 0, counter })
        expect([...bytes.subarray(0, 3)]).toEqual([0xc1, 0x01, 0x02])
        const header = readFrameHeader(bytes)
        expect([...frameSid(bytes)]).toEqual([...sid])
        expect(isFrameOf(bytes, sid)).toBe(true)
        expect(isFrameOf(bytes, sid.with(15, (sid[15] ?? 0) ^ 1))).toBe(false)
        expect(header).toMatchObject({ sentAtMs, counter })
        expect([...bytes.subarray(25, 35)]).toEqual([...random])
      }),
    )
  })

  it('is refused when it is cut, of another type or version, or counts past 2^53', () => {
    const bytes = new Uint8Array(FRAME_HEADER_BYTES + 1)
    writeFrameHeader(bytes, new Uint8Array(16), {
      sentAtMs: 1,
      random: new Uint8Array(10),
      at: 0,
      counter: 1,
    })
    for (let length = 0; length <= FRAME_HEADER_BYTES; length++)
      expect(codeOf(() => readFrameHeader(bytes.subarray(0, length)))).toBe('ERR_MALFORMED')
    for (const [at, value] of [
      [0, 0xc0],
      [1, 2],
      [2, 0],
      [35, 0xff],
    ] as const) {
      const changed = bytes.slice()
      changed[at] = value
      expect(codeOf(() => readFrameHeader(changed))).toBe('ERR_MALFORMED')
    }
  })
})

describe('the content of a frame', () => {
  it('is read as it was written, with one payload or many', () => {
    fc.assert(
      fc.property(metas, payloadLists, (read, payloads) => {
        const meta = payloads.length > 1 ? { ...read, reply: undefined } : read
        const encoded = encodeFrameMeta(meta)
        const content = concat(encoded, ...encodePayloads(payloads))
        expect(decodeFrameContent(content)).toEqual({ meta, payloads, metaBytes: encoded.length })
        expect(decodePayloads(content, encoded.length)).toEqual(payloads)
      }),
    )
  })

  it('is one MessagePack array, payloads and all', () => {
    fc.assert(
      fc.property(metas, payloadLists, (meta, payloads) => {
        const { ttlMs, subject, reply, inReplyTo, headers, clearHeaders } = meta
        const lists = [headers, clearHeaders].map((list) => list.map(({ name, value }) => [name, value]))
        const [only] = payloads
        const payload = payloads.length === 1 ? only : payloads
        const content = concat(encodeFrameMeta(meta), ...encodePayloads(payloads))
        expect(hex(content)).toBe(hex(pack([ttlMs, subject, reply, inReplyTo, ...lists, payload])))
      }),
    )
  })

  it('is written into memory as in parts, and says beforehand how long it is', () => {
    fc.assert(
      fc.property(fc.nat(70_000), (length) => {
        const payload = new Uint8Array(length).fill(7)
        const memory = new Uint8Array(length + 20)
        const end = writePayload(memory, payload, 9)
        expect(end - 9).toBe(payloadBytes(length))
        expect(samePublic(memory.subarray(9, end), concat(...encodePayloads([payload])))).toBe(true)
      }),
      { examples: [[0], [255], [256], [65_535], [65_536]] },
    )
    expect([2, 15, 16, 4096].map((count) => hex(payloadsHead(count)))).toEqual([
      '92',
      '9f',
      'dc0010',
      'dc1000',
    ])
  })

  it.each(Object.entries(badSubjects))(
    'is refused with %s as its subject or as its reply subject',
    (_, text) => {
      const good = [0, 'orders.new', '_INBOX.a', undefined, [], [], new Uint8Array(1)]
      expect(codeOf(() => decodeFrameContent(pack(good)))).toBeUndefined()
      for (const place of [1, 2])
        expect(codeOf(() => decodeFrameContent(pack(good.with(place, text))))).toBe('ERR_MALFORMED')
    },
  )

  it('throws nothing but errors of its own, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        codeOf(() => decodeFrameContent(bytes))
        codeOf(() => readFrameHeader(bytes))
        codeOf(() => decodeHandshake(bytes))
        codeOf(() => decodeSessionRequest(bytes))
      }),
      { numRuns: 2000 },
    )
  })

  it('is not written where a field does not fit', () => {
    const meta = {
      ttlMs: 0,
      subject: 'a',
      reply: undefined,
      inReplyTo: undefined,
      headers: [],
      clearHeaders: [],
    }
    expect(() => encodeFrameMeta({ ...meta, subject: 'a'.repeat(65_536) })).toThrow(RangeError)
    expect(() => encodeFrameMeta({ ...meta, ttlMs: -1 })).toThrow(RangeError)
  })
})

describe('a handshake', () => {
  it('is read as it was written, and no longer or larger than a session may be', () => {
    const good = { mode: 0, maxFrames: 2 ** 20, lifetimeMs: 900_000 } as const
    expect(decodeHandshake(encodeHandshake(good))).toEqual(good)
    expect(decodeHandshake(encodeHandshake({ ...good, mode: 1 }))).toMatchObject({
      mode: 1,
    })
    expect(codeOf(() => decodeHandshake(pack([undefined, 0, 2 ** 20, 900_000])))).toBe('ERR_MALFORMED')
    expect(codeOf(() => decodeHandshake(pack([0, 2 ** 20])))).toBe('ERR_MALFORMED')
    for (const bad of [{ maxFrames: 2 ** 20 + 1 }, { lifetimeMs: 900_001 }, { mode: 2 as never }])
      expect(codeOf(() => decodeHandshake(encodeHandshake({ ...good, ...bad })))).toBe('ERR_MALFORMED')
  })

  it('is asked for by its sid', () => {
    const sid = engine.randomBytes(16)
    expect(decodeSessionRequest(encodeSessionRequest(sid))).toEqual(sid)
    expect(codeOf(() => decodeSessionRequest(encodeSessionRequest(sid.subarray(1))))).toBe('ERR_MALFORMED')
  })
})
