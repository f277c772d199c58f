import { copy, readUint, standsAt, writeUint } from '../base/bytes.ts'
import { MAX_HEADERS, MAX_MESSAGE_BYTES, MAX_PAYLOADS_PER_FRAME, MAX_TTL_MS } from '../base/limits.ts'
import {
  arrayHeadBytes,
  binHeadBytes,
  type FieldReader,
  lastBin,
  malformed,
  pack,
  unpack,
  unpackItem,
  writeArrayHead,
  writeBinHead,
} from './msgpack.ts'
import { WireType, wireType } from './preamble.ts'
import { type HeaderPair, MAX_IN_REPLY_TO_BYTES, pair, readPair, readSubject } from './sealed.ts'

export const SID_BYTES = 16
const SALT_BYTES = 16
/** Of a salt: its beginning is the time. */
const TIME_BYTES = 6
const COUNTER_BYTES = 8
/** `D` of SPEC: preamble, sid, salt, counter. The last 24 bytes are the nonce. */
export const FRAME_HEADER_BYTES = 3 + SID_BYTES + SALT_BYTES + COUNTER_BYTES
export const FRAME_NONCE_START = 3 + SID_BYTES
/** From here to its end `D` names the frame: sid, salt and counter. */
export const FRAME_ID_START = 3

/** Where the random bytes of the salt begin. */
export const FRAME_RANDOM_START = FRAME_NONCE_START + TIME_BYTES

const COUNTER_START = FRAME_NONCE_START + SALT_BYTES
const WHAT = 'frame'

// As SPEC calls them.
const CONTENT_FIELDS = ['ttl_ms', 'subject', 'reply', 'in_reply_to', 'headers', 'clear headers', 'payload']

/** What stands in clear before the ciphertext of a frame, but for its sid: {@link frameSid}. */
export interface FrameHeader {
  readonly sentAtMs: number
  readonly counter: number
}

/** What is inside a frame, but for its payloads. */
export interface FrameMeta {
  readonly ttlMs: number
  readonly subject: string
  readonly reply: string | undefined
  readonly inReplyTo: Uint8Array | undefined
  readonly headers: readonly HeaderPair[]
  readonly clearHeaders: readonly HeaderPair[]
}

/** The contents of a frame, read. */
export interface FrameContent {
  readonly meta: FrameMeta
  /** One, or many from two on. Views. */
  readonly payloads: readonly Uint8Array[]
  /** How many bytes of `P` stand before the payloads: where they are the same, so is the meta. */
  readonly metaBytes: number
}

/** Writes `D`. Ten random bytes are taken from `random`, from `at` on. */
export function writeFrameHeader(
  target: Uint8Array,
  sid: Uint8Array,
  fresh: {
    readonly sentAtMs: number
    readonly random: Uint8Array
    readonly at: number
    readonly counter: number
  },
): void {
  const { sentAtMs, random, at, counter } = fresh
  target[0] = 0xc1
  target[1] = 0x01
  target[2] = WireType.frame
  for (let i = 0; i < SID_BYTES; i++) target[3 + i] = sid[i] ?? 0
  writeUint(target, sentAtMs, { start: FRAME_NONCE_START, size: TIME_BYTES })
  for (let i = 0; i < SALT_BYTES - TIME_BYTES; i++) target[FRAME_RANDOM_START + i] = random[at + i] ?? 0
  writeUint(target, counter, { start: COUNTER_START, size: COUNTER_BYTES })
}

/**
 * Reads `D`.
 *
 * @throws SubrosaError ERR_MALFORMED when the bytes are no frame
 */
export function readFrameHeader(bytes: Uint8Array): FrameHeader {
  if (bytes.length <= FRAME_HEADER_BYTES || wireType(bytes) !== WireType.frame)
    throw malformed(WHAT, 'preamble')
  const counter = readUint(bytes, COUNTER_START, COUNTER_BYTES)
  if (!Number.isSafeInteger(counter)) throw malformed(WHAT, 'counter')
  return { sentAtMs: readUint(bytes, FRAME_NONCE_START, TIME_BYTES), counter }
}

/** The sid of a frame whose header was read, in memory of its own. */
export function frameSid(frame: Uint8Array): Uint8Array {
  return copy(frame.subarray(FRAME_ID_START, FRAME_NONCE_START))
}

/** Whether a frame whose header was read is of this session. */
export function isFrameOf(frame: Uint8Array, sid: Uint8Array): boolean {
  return standsAt(sid, frame, FRAME_ID_START)
}

/**
 * Everything of `P` before the payloads. SPEC, "Frames": it is the same for all frames of one subject, ttl and nothing
 * else, and may be kept.
 *
 * @throws RangeError when `ttlMs` is no unsigned integer, or a text has more than 65,535 bytes
 */
export function encodeFrameMeta(meta: FrameMeta): Uint8Array {
  const { ttlMs, subject, reply, inReplyTo, headers, clearHeaders } = meta
  const fields = pack([ttlMs, subject, reply, inReplyTo, headers.map(pair), clearHeaders.map(pair)])
  // The payloads are one item more.
  writeArrayHead(fields, CONTENT_FIELDS.length, 0)
  return fields
}

/** The last item of `P`, in parts: a payload, or an array of them from two on. */
export function encodePayloads(payloads: readonly Uint8Array[]): readonly Uint8Array[] {
  const parts: Uint8Array[] = []
  if (payloads.length !== 1) parts.push(payloadsHead(payloads.length))
  for (const payload of payloads) {
    const head = new Uint8Array(binHeadBytes(payload.length))
    writeBinHead(head, payload.length, 0)
    parts.push(head, payload)
  }
  return parts
}

/** What stands before many payloads. */
export function payloadsHead(count: number): Uint8Array {
  const head = new Uint8Array(arrayHeadBytes(count))
  writeArrayHead(head, count, 0)
  return head
}

/** How many bytes a payload has in a frame. */
export function payloadBytes(length: number): number {
  return binHeadBytes(length) + length
}

/** Writes a payload as it stands in a frame. @returns where it ends */
export function writePayload(target: Uint8Array, payload: Uint8Array, at: number): number {
  const start = writeBinHead(target, payload.length, at)
  target.set(payload, start)
  return start + payload.length
}

/**
 * Reads `P`, strictly. Payloads are views into `bytes`.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeFrameContent(bytes: Uint8Array): FrameContent {
  const fields = unpack(bytes, WHAT, CONTENT_FIELDS)
  const inReplyTo = (reader: FieldReader) => copy(reader.bytesUpTo(MAX_IN_REPLY_TO_BYTES))
  const meta: FrameMeta = {
    ttlMs: fields.uint(MAX_TTL_MS),
    subject: readSubject(fields),
    reply: fields.optional(readSubject),
    inReplyTo: fields.optional(inReplyTo),
    headers: fields.list(MAX_HEADERS, readPair),
    clearHeaders: fields.list(MAX_HEADERS, readPair),
  }
  const metaBytes = fields.at
  const payloads = readPayloads(fields)
  // They would be many requests of one name.
  if (payloads.length > 1 && meta.reply !== undefined) throw malformed(WHAT, 'many payloads with a reply')
  fields.end()
  return { meta, payloads, metaBytes }
}

/**
 * The payloads of a `P` whose beginning is known, as views into `bytes`.
 *
 * @param metaBytes how many bytes stand before them
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodePayloads(bytes: Uint8Array, metaBytes: number): readonly Uint8Array[] {
  const only = lastBin(bytes, metaBytes)
  if (only !== undefined && only.length <= MAX_MESSAGE_BYTES) return [only]
  const fields = unpackItem(bytes, metaBytes, WHAT)
  const payloads = readPayloads(fields)
  fields.end()
  return payloads
}

/** One content has one encoding: a single payload is no array. */
function readPayloads(fields: FieldReader): readonly Uint8Array[] {
  return fields.isArray() ? fields.list(MAX_PAYLOADS_PER_FRAME, readPayload, 2) : [readPayload(fields)]
}

function readPayload(reader: FieldReader): Uint8Array {
  return reader.bytesUpTo(MAX_MESSAGE_BYTES)
}
