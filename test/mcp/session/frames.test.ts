import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, hex, utf8 } from '../../../src/base/bytes.ts'
import { SubrosaError } from '../../../src/base/errors.ts'
import { MAX_MCP_MESSAGE_BYTES, MAX_MCP_REASON_BYTES, MAX_MCP_TIME_MS } from '../../../src/base/limits.ts'
import {
  decodeMcpAnswer,
  decodeMcpOpening,
  decodeMcpPresence,
  encodeMcpAnswer,
  encodeMcpFrame,
  encodeMcpOpening,
  encodeMcpPresence,
  MCP_FRAME_HEADER_BYTES,
  MCP_SESSION_BYTES,
  type McpAnswer,
  McpEnd,
  type McpFrame,
  McpFrameKind,
  readMcpFrame,
} from '../../../src/mcp/session/frames.ts'
import { pack } from '../../../src/wire/msgpack.ts'
import { mutationsOf, packedArrays } from '../../wire/mutations.ts'

const session = Uint8Array.from({ length: MCP_SESSION_BYTES }, (_, i) => 0xa0 + i)
const MAX_U48 = 2 ** 48 - 1

const content = fc.uint8Array({ maxLength: 600 })
const frames: fc.Arbitrary<McpFrame> = fc.oneof(
  fc.record({ kind: fc.constant('message' as const), content }),
  fc.record({ kind: fc.constant('first' as const), total: fc.nat({ max: 2 ** 32 - 1 }), content }),
  fc.record({ kind: fc.constant('more' as const), content }),
  fc.record({ kind: fc.constant('credit' as const), limit: fc.nat({ max: MAX_U48 }) }),
  fc.constant({ kind: 'heartbeat' as const }),
  fc.record({ kind: fc.constant('end' as const), reason: fc.constantFrom(...Object.values(McpEnd)) }),
)
const sessions = fc.uint8Array({ minLength: MCP_SESSION_BYTES, maxLength: MCP_SESSION_BYTES })

const frameOf = (frame: McpFrame, number = 7): Uint8Array => encodeMcpFrame({ session, number }, frame)

/** A frame of this kind with any body. */
function rawFrame(kind: number, body: readonly number[]): Uint8Array {
  const header = frameOf({ kind: 'heartbeat' })
  header[MCP_FRAME_HEADER_BYTES - 1] = kind
  return Uint8Array.from([...header, ...body])
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

/** Decodes what may be anything; fails for any error that is not ERR_MALFORMED. */
function decodeOrRefuse<T>(task: () => T): T | undefined {
  try {
    return task()
  } catch (error) {
    if (error instanceof SubrosaError && error.code === 'ERR_MALFORMED') return undefined
    throw error
  }
}

describe('a frame', () => {
  it('is read as it was written, up to the largest numbers', () => {
    const cases = fc.record({ session: sessions, number: fc.nat({ max: MAX_U48 }), frame: frames })
    fc.assert(
      fc.property(cases, ({ session, number, frame }) => {
        const read = readMcpFrame(encodeMcpFrame({ session, number }, frame))
        expect(read).toEqual({ session: hex(session), number, frame })
      }),
    )
    const largest = { kind: 'credit' as const, limit: MAX_U48 }
    expect(readMcpFrame(frameOf(largest, MAX_U48))).toMatchObject({ number: MAX_U48, frame: largest })
  })

  it('has the layout that is written down', () => {
    const bytes = frameOf({ kind: 'first', total: 0x01020304, content: utf8('x') }, 0x0a0b0c0d0e0f)
    expect(hex(bytes)).toBe(`${hex(session)}0a0b0c0d0e0f010102030478`)
    expect(Object.entries(McpFrameKind).map(([name, kind]) => `${kind} ${name}`)).toEqual([
      '0 message',
      '1 first',
      '2 more',
      '3 credit',
      '4 heartbeat',
      '5 end',
    ])
  })

  it('holds views of what was read, and copies nothing', () => {
    const bytes = frameOf({ kind: 'message', content: utf8('view') })
    const { frame } = readMcpFrame(bytes)
    bytes.fill(0x41, MCP_FRAME_HEADER_BYTES)
    expect(frame).toEqual({ kind: 'message', content: utf8('AAAA') })
  })

  it('that is cut before its body belongs to no session', () => {
    const whole = frameOf({ kind: 'heartbeat' })
    for (let length = 0; length < MCP_FRAME_HEADER_BYTES; length++)
      expect(codeOf(() => readMcpFrame(whole.subarray(0, length)))).toBe('ERR_MALFORMED')
  })

  it.each([
    ['an unknown kind', 6, []],
    ['the last kind there is', 255, []],
    ['a first part without a total', McpFrameKind.first, [0, 0, 1]],
    ['credit that is too short', McpFrameKind.credit, [0, 0, 0, 0, 1]],
    ['credit with something behind it', McpFrameKind.credit, [0, 0, 0, 0, 0, 1, 0]],
    ['a heartbeat with a body', McpFrameKind.heartbeat, [0]],
    ['an end without a reason', McpFrameKind.end, []],
    ['an end with an unknown reason', McpFrameKind.end, [Object.keys(McpEnd).length]],
    ['an end with two reasons', McpFrameKind.end, [0, 0]],
  ])('with %s makes no sense, and its session can be told', (_what, kind, body) => {
    const read = readMcpFrame(rawFrame(kind, body))
    expect(read).toEqual({ session: hex(session), number: 7, frame: undefined })
  })

  it('may hold no content at all, where a message or a part does', () => {
    const empty = new Uint8Array(0)
    for (const kind of ['message', 'more'] as const)
      expect(readMcpFrame(frameOf({ kind, content: empty })).frame).toEqual({ kind, content: empty })
    const first = { kind: 'first' as const, total: 0, content: empty }
    expect(readMcpFrame(frameOf(first)).frame).toEqual(first)
  })

  it('is read from anything without another error, and says the same again', () => {
    const samples = [
      frameOf({ kind: 'message', content: utf8('{"jsonrpc":"2.0"}') }),
      frameOf({ kind: 'first', total: 100, content: utf8('part') }),
      frameOf({ kind: 'credit', limit: 1 << 20 }),
      frameOf({ kind: 'heartbeat' }),
      frameOf({ kind: 'end', reason: McpEnd.lost }),
    ]
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), mutationsOf(samples)), (bytes) => {
        const read = decodeOrRefuse(() => readMcpFrame(bytes))
        if (read?.frame === undefined) return
        const { session, number, frame } = read
        expect(hex(encodeMcpFrame({ session: fromHex(session), number }, frame))).toBe(hex(bytes))
      }),
      { numRuns: 2000 },
    )
  })
})

describe('an opening', () => {
  const opening = { session, credit: 1 << 20, maxMessage: MAX_MCP_MESSAGE_BYTES }

  it('is read as it was written', () => {
    expect(decodeMcpOpening(encodeMcpOpening(opening))).toEqual(opening)
    const none = { session, credit: 0, maxMessage: 0 }
    expect(decodeMcpOpening(encodeMcpOpening(none))).toEqual(none)
  })

  it.each([
    ['another version', [2, session, 0, 0]],
    ['a shorter session', [1, session.subarray(1), 0, 0]],
    ['a longer session', [1, Uint8Array.from([...session, 0]), 0, 0]],
    ['a longest message that nobody may take', [1, session, 0, MAX_MCP_MESSAGE_BYTES + 1]],
    ['a field too few', [1, session, 0]],
    ['a field too many', [1, session, 0, 0, 0]],
    ['text for a number', [1, session, '0', 0]],
  ])('with %s is refused', (_what, fields) => {
    expect(codeOf(() => decodeMcpOpening(pack(fields)))).toBe('ERR_MALFORMED')
  })
})

describe('the answer to an opening', () => {
  const accepted: McpAnswer = {
    accepted: true,
    credit: 1 << 20,
    maxMessage: MAX_MCP_MESSAGE_BYTES,
    heartbeatMs: 10_000,
    leaseMs: MAX_MCP_TIME_MS,
  }

  it('is read as it was written', () => {
    expect(decodeMcpAnswer(encodeMcpAnswer(accepted))).toEqual(accepted)
    const refused: McpAnswer = { accepted: false, reason: 'é'.repeat(MAX_MCP_REASON_BYTES / 2) }
    expect(decodeMcpAnswer(encodeMcpAnswer(refused))).toEqual(refused)
    const silent: McpAnswer = { accepted: false, reason: '' }
    expect(decodeMcpAnswer(encodeMcpAnswer(silent))).toEqual(silent)
  })

  it.each([
    ['another version', [2, undefined, 0, 0, 1, 1]],
    ['no time between signs of life', [1, undefined, 0, 0, 0, 1]],
    ['no time at all', [1, undefined, 0, 0, 1, 0]],
    ['more time than is allowed', [1, undefined, 0, 0, 1, MAX_MCP_TIME_MS + 1]],
    ['a longest message that nobody may send', [1, undefined, 0, MAX_MCP_MESSAGE_BYTES + 1, 1, 1]],
    ['a reason that is too long', [1, 'x'.repeat(MAX_MCP_REASON_BYTES + 1)]],
    ['a reason and an acceptance', [1, 'no', 0, 0, 1, 1]],
    ['a field too few', [1, undefined, 0, 0, 1]],
    ['a field too many', [1, undefined, 0, 0, 1, 1, 1]],
    ['nothing but its version', [1]],
  ])('with %s is refused', (_what, fields) => {
    expect(codeOf(() => decodeMcpAnswer(pack(fields)))).toBe('ERR_MALFORMED')
  })
})

describe('what a server says of itself', () => {
  it('is read as it was written', () => {
    const presence = { sessions: 3, maxSessions: 64, upMs: Number.MAX_SAFE_INTEGER }
    expect(decodeMcpPresence(encodeMcpPresence(presence))).toEqual(presence)
  })

  it('is refused in another version, and with fields too few or too many', () => {
    for (const fields of [
      [2, 0, 64, 1],
      [1, 0, 64],
      [1, 0, 64, 1, 1],
    ])
      expect(codeOf(() => decodeMcpPresence(pack(fields)))).toBe('ERR_MALFORMED')
  })
})

describe('every parser', () => {
  const empty = new Uint8Array(0)
  const parsers = [
    {
      name: 'decodeMcpOpening',
      samples: [encodeMcpOpening({ session, credit: 5, maxMessage: 6 })],
      roundTrip: (bytes: Uint8Array) => encodeMcpOpening(decodeMcpOpening(bytes)),
    },
    {
      name: 'decodeMcpAnswer',
      samples: [
        encodeMcpAnswer({ accepted: true, credit: 5, maxMessage: 6, heartbeatMs: 7, leaseMs: 8 }),
        encodeMcpAnswer({ accepted: false, reason: 'full' }),
      ],
      roundTrip: (bytes: Uint8Array) => encodeMcpAnswer(decodeMcpAnswer(bytes)),
    },
    {
      name: 'decodeMcpPresence',
      samples: [encodeMcpPresence({ sessions: 1, maxSessions: 2, upMs: 3 })],
      roundTrip: (bytes: Uint8Array) => encodeMcpPresence(decodeMcpPresence(bytes)),
    },
  ]

  it.each(parsers)(
    '$name throws nothing but ERR_MALFORMED, and takes one encoding of each meaning',
    (parser) => {
      const inputs = fc.oneof(
        fc.uint8Array({ maxLength: 60 }),
        packedArrays(empty),
        mutationsOf(parser.samples),
      )
      fc.assert(
        fc.property(inputs, (bytes) => {
          const again = decodeOrRefuse(() => parser.roundTrip(bytes))
          if (again !== undefined) expect(hex(again)).toBe(hex(bytes))
        }),
        { numRuns: 2000 },
      )
    },
  )
})
