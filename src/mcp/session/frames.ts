import { hex, readUint, writeUint } from '../../base/bytes.ts'
import { MAX_MCP_MESSAGE_BYTES, MAX_MCP_REASON_BYTES, MAX_MCP_TIME_MS } from '../../base/limits.ts'
import { malformed, pack, unpack } from '../../wire/msgpack.ts'

/*
 * What the payloads of sealed messages hold that carry MCP. A frame has a fixed layout:
 *
 *   session(16) ‖ number(u48) ‖ kind(u8) ‖ body
 */

export const MCP_SESSION_BYTES = 16
const NUMBER_BYTES = 6
const KIND_START = MCP_SESSION_BYTES + NUMBER_BYTES
export const MCP_FRAME_HEADER_BYTES = KIND_START + 1
const TOTAL_BYTES = 4
const CREDIT_BYTES = 6
const VERSION = 1

const REFUSED_FIELDS = ['version', 'reason']
const ACCEPTED_FIELDS = [...REFUSED_FIELDS, 'credit', 'max_message', 'heartbeat_ms', 'lease_ms']

/** What a frame holds. */
export const McpFrameKind = { message: 0, first: 1, more: 2, credit: 3, heartbeat: 4, end: 5 } as const

/** Why a session has ended, as one side tells the other. */
export const McpEnd = {
  /** On purpose: nothing was lost. */
  closed: 0,
  /** A frame is missing, or came twice or out of order. */
  lost: 1,
  /** More came than was allowed. */
  limit: 2,
  /** Its time is over. */
  expired: 3,
  /** Nothing was heard for too long. */
  silent: 4,
  malformed: 5,
  /** There is no such session, or no more. */
  unknown: 6,
  /** What stands behind one side, the MCP server or the host, has failed. */
  failed: 7,
} as const

export type McpEnd = (typeof McpEnd)[keyof typeof McpEnd]

/** One frame of an MCP session. Its bytes are views of what was read. */
export type McpFrame =
  /** A whole message. */
  | { readonly kind: 'message'; readonly content: Uint8Array }
  /** The beginning of a message of `total` bytes. */
  | { readonly kind: 'first'; readonly total: number; readonly content: Uint8Array }
  | { readonly kind: 'more'; readonly content: Uint8Array }
  /** So many bytes of frames with content may have been sent in all, since the beginning. */
  | { readonly kind: 'credit'; readonly limit: number }
  | { readonly kind: 'heartbeat' }
  | { readonly kind: 'end'; readonly reason: McpEnd }

/** Where a frame belongs. */
export interface McpFrameHeader {
  readonly session: Uint8Array
  /** Counts the frames of one direction, from 0. */
  readonly number: number
}

/** A frame that was read: the session is in hexadecimal. */
export interface ReadMcpFrame {
  readonly session: string
  readonly number: number
  /** `undefined` where it makes no sense. */
  readonly frame: McpFrame | undefined
}

/** The bytes of a frame. */
export function encodeMcpFrame({ session, number }: McpFrameHeader, frame: McpFrame): Uint8Array {
  const bytes = new Uint8Array(MCP_FRAME_HEADER_BYTES + bodyBytes(frame))
  bytes.set(session)
  writeUint(bytes, number, { start: MCP_SESSION_BYTES, size: NUMBER_BYTES })
  bytes[KIND_START] = McpFrameKind[frame.kind]
  const start = MCP_FRAME_HEADER_BYTES
  switch (frame.kind) {
    case 'message':
    case 'more':
      bytes.set(frame.content, start)
      break
    case 'first':
      writeUint(bytes, frame.total, { start, size: TOTAL_BYTES })
      bytes.set(frame.content, start + TOTAL_BYTES)
      break
    case 'credit':
      writeUint(bytes, frame.limit, { start, size: CREDIT_BYTES })
      break
    case 'end':
      bytes[start] = frame.reason
  }
  return bytes
}

/**
 * Reads a frame.
 *
 * @throws SubrosaError ERR_MALFORMED where not even its session can be told
 */
export function readMcpFrame(bytes: Uint8Array): ReadMcpFrame {
  if (bytes.length < MCP_FRAME_HEADER_BYTES) throw malformed('MCP frame', 'too short')
  const session = hex(bytes.subarray(0, MCP_SESSION_BYTES))
  const number = readUint(bytes, MCP_SESSION_BYTES, NUMBER_BYTES)
  return { session, number, frame: readBody(bytes[KIND_START], bytes.subarray(MCP_FRAME_HEADER_BYTES)) }
}

/** What a client says when it opens a session. */
export interface McpOpening {
  readonly session: Uint8Array
  /** Bytes of frames with content that the server may send before it gets more credit. */
  readonly credit: number
  /** The longest message that the client takes, in bytes. */
  readonly maxMessage: number
}

/** What a server answers to an opening. */
export type McpAnswer =
  | {
      readonly accepted: true
      readonly credit: number
      readonly maxMessage: number
      /** How often either side is heard at least. */
      readonly heartbeatMs: number
      /** After how long the session ends in any case. */
      readonly leaseMs: number
    }
  | { readonly accepted: false; readonly reason: string }

/** The payload of a request to open a session. */
export function encodeMcpOpening({ session, credit, maxMessage }: McpOpening): Uint8Array {
  return pack([VERSION, session, credit, maxMessage])
}

/** @throws SubrosaError ERR_MALFORMED, for another version too */
export function decodeMcpOpening(bytes: Uint8Array): McpOpening {
  const fields = unpack(bytes, 'MCP opening', ['version', 'session', 'credit', 'max_message'])
  if (fields.uint() !== VERSION) throw fields.malformed()
  const session = fields.bytes(MCP_SESSION_BYTES)
  const credit = fields.uint()
  const maxMessage = fields.uint(MAX_MCP_MESSAGE_BYTES)
  fields.end()
  return { session, credit, maxMessage }
}

/** The payload of the answer to an opening. */
export function encodeMcpAnswer(answer: McpAnswer): Uint8Array {
  if (!answer.accepted) return pack([VERSION, answer.reason])
  const { credit, maxMessage, heartbeatMs, leaseMs } = answer
  return pack([VERSION, undefined, credit, maxMessage, heartbeatMs, leaseMs])
}

/** @throws SubrosaError ERR_MALFORMED */
export function decodeMcpAnswer(bytes: Uint8Array): McpAnswer {
  const fields = unpack(bytes, 'answer to an MCP opening', REFUSED_FIELDS, ACCEPTED_FIELDS)
  if (fields.uint() !== VERSION) throw fields.malformed()
  const reason = fields.optional((reader) => reader.string(MAX_MCP_REASON_BYTES))
  if (reason !== undefined) {
    fields.end()
    return { accepted: false, reason }
  }
  const credit = fields.uint()
  const maxMessage = fields.uint(MAX_MCP_MESSAGE_BYTES)
  const heartbeatMs = fields.uint(MAX_MCP_TIME_MS)
  const leaseMs = fields.uint(MAX_MCP_TIME_MS)
  if (heartbeatMs === 0 || leaseMs === 0) throw fields.malformed()
  fields.end()
  return { accepted: true, credit, maxMessage, heartbeatMs, leaseMs }
}

/** What an MCP server says of itself to those who may use it. */
export interface McpPresence {
  readonly sessions: number
  readonly maxSessions: number
  /** Milliseconds since it began. */
  readonly upMs: number
}

/** The payload of the answer to a question whether a server is there. */
export function encodeMcpPresence({ sessions, maxSessions, upMs }: McpPresence): Uint8Array {
  return pack([VERSION, sessions, maxSessions, upMs])
}

/** @throws SubrosaError ERR_MALFORMED */
export function decodeMcpPresence(bytes: Uint8Array): McpPresence {
  const fields = unpack(bytes, 'MCP presence', ['version', 'sessions', 'max_sessions', 'up_ms'])
  if (fields.uint() !== VERSION) throw fields.malformed()
  const presence = { sessions: fields.uint(), maxSessions: fields.uint(), upMs: fields.uint() }
  fields.end()
  return presence
}

function bodyBytes(frame: McpFrame): number {
  switch (frame.kind) {
    case 'message':
    case 'more':
      return frame.content.length
    case 'first':
      return TOTAL_BYTES + frame.content.length
    case 'credit':
      return CREDIT_BYTES
    case 'heartbeat':
      return 0
    case 'end':
      return 1
  }
}

function readBody(kind: number | undefined, body: Uint8Array): McpFrame | undefined {
  switch (kind) {
    case McpFrameKind.message:
      return { kind: 'message', content: body }
    case McpFrameKind.first:
      if (body.length < TOTAL_BYTES) return undefined
      return { kind: 'first', total: readUint(body, 0, TOTAL_BYTES), content: body.subarray(TOTAL_BYTES) }
    case McpFrameKind.more:
      return { kind: 'more', content: body }
    case McpFrameKind.credit:
      if (body.length !== CREDIT_BYTES) return undefined
      return { kind: 'credit', limit: readUint(body, 0, CREDIT_BYTES) }
    case McpFrameKind.heartbeat:
      return body.length === 0 ? { kind: 'heartbeat' } : undefined
    case McpFrameKind.end: {
      const reason = Object.values(McpEnd).find((value) => value === body[0])
      return reason === undefined || body.length !== 1 ? undefined : { kind: 'end', reason }
    }
    default:
      return undefined
  }
}
