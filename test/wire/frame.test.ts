import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SubrosaError } from '../../src/base/errors.ts'
import {
  decodeFrameContent,
  encodeFrameMeta,
  FRAME_HEADER_BYTES,
  type FrameMeta,
  frameSid,
  isFrameOf,
  readFrameHeader,
  writeFrameHeader,
} from '../../src/wire/frame.ts'
import {
  decodeHandshake,
  decodeSessionRequest,
  encodeHandshake,
  encodeSessionRequest,
} from '../../src/wire/handshake.ts'
import { pack } from '../../src/wire/msgpack.ts'
import { engine } from '../support/identities.ts'

const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
const pairs = fc.array(fc.record({ name: text, value: text }), { maxLength: 5 })
const metas: fc.Arbitrary<FrameMeta> = fc.record({
  ttlMs: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  subject: text,
  reply: fc.option(text, { nil: undefined }),
  inReplyTo: fc.option(fc.uint8Array({ maxLength: 64 }), { nil: undefined }),
  headers: pairs,
  clearHeaders: pairs,
  lengths: fc.constant(undefined),
})

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

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
  it('is read as it was written', () => {
    fc.assert(
      fc.property(metas, fc.uint8Array({ maxLength: 100 }), (meta, payload) => {
        const encoded = encodeFrameMeta(meta)
        const { meta: read, payloadStart } = decodeFrameContent(join(encoded, payload))
        expect(read).toEqual(meta)
        expect(payloadStart).toBe(encoded.length)
      }),
    )
  })

  it('holds many payloads whose lengths must sum exactly', () => {
    const meta: FrameMeta = {
      ttlMs: 0,
      subject: 'a',
      reply: undefined,
      inReplyTo: undefined,
      headers: [],
      clearHeaders: [],
      lengths: [3, 0, 5],
    }
    const encoded = encodeFrameMeta(meta)
    expect(decodeFrameContent(join(encoded, new Uint8Array(8))).meta.lengths).toEqual([3, 0, 5])
    for (const wrong of [0, 7, 9, 100])
      expect(codeOf(() => decodeFrameContent(join(encoded, new Uint8Array(wrong))))).toBe('ERR_MALFORMED')
  })

  it('is refused with an unknown flag, an empty list, too many payloads, or text that is none', () => {
    const head = [0, 0, 0, 0]
    const subject = [0, 1, 97]
    for (const [what, bytes] of Object.entries({
      'an unknown flag': [...head, 32, ...subject],
      'all flags': [...head, 255, ...subject],
      'no headers in their list': [...head, 4, ...subject, 0, 0],
      'no clear headers in their list': [...head, 8, ...subject, 0, 0],
      'more headers than there may be': [...head, 4, ...subject, 1, 1],
      'no payloads in their list': [...head, 16, ...subject, 0, 0],
      'more payloads than there may be': [...head, 16, ...subject, 0x10, 0x01],
      'a subject that is not UTF-8': [...head, 0, 0, 1, 0xff],
      'a subject that is too long': [...head, 0, 0x04, 0x01],
      'a reply that is cut short': [...head, 1, ...subject, 0, 9, 97],
      'an in_reply_to that is too long': [...head, 2, ...subject, 65, ...new Array<number>(65).fill(0)],
      nothing: [],
    }))
      expect([what, codeOf(() => decodeFrameContent(Uint8Array.from(bytes)))]).toEqual([
        what,
        'ERR_MALFORMED',
      ])
  })

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
      subject: 'a'.repeat(65_536),
      reply: undefined,
      inReplyTo: undefined,
      headers: [],
    }
    expect(() => encodeFrameMeta({ ...meta, clearHeaders: [], lengths: undefined })).toThrow(RangeError)
    expect(() =>
      encodeFrameMeta({ ...meta, subject: 'a', ttlMs: -1, clearHeaders: [], lengths: undefined }),
    ).toThrow(RangeError)
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
