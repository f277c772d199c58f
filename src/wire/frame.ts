import { copy, fromUtf8, readUint, standsAt, utf8, writeUint } from '../base/bytes.ts'
import { MAX_HEADER_BYTES, MAX_HEADERS, MAX_PAYLOADS_PER_FRAME, MAX_SUBJECT_BYTES } from '../base/limits.ts'
import { malformed } from './msgpack.ts'
import { WireType, wireType } from './preamble.ts'
import type { HeaderPair } from './sealed.ts'

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
/** How long the length of one of many payloads is. */
export const PAYLOAD_LENGTH_BYTES = 4

const COUNTER_START = FRAME_NONCE_START + SALT_BYTES
const MAX_IN_REPLY_TO_BYTES = 64
const WHAT = 'frame'

/** What a frame holds besides its subject. The others are refused. */
const Flag = { reply: 1, inReplyTo: 2, headers: 4, clearHeaders: 8, many: 16 } as const
const ALL_FLAGS = Object.values(Flag).reduce((all, flag) => all | flag, 0)

/** What stands in clear before the ciphertext of a frame, but for its sid: {@link frameSid}. */
export interface FrameHeader {
  readonly sentAtMs: number
  readonly counter: number
}

/** What is inside a frame, but for its payload. */
export interface FrameMeta {
  readonly ttlMs: number
  readonly subject: string
  readonly reply: string | undefined
  readonly inReplyTo: Uint8Array | undefined
  readonly headers: readonly HeaderPair[]
  readonly clearHeaders: readonly HeaderPair[]
  /** The lengths of many payloads in one frame; `undefined` for a single one. */
  readonly lengths: readonly number[] | undefined
}

/** The contents of a frame, read. */
export interface FrameContent {
  readonly meta: FrameMeta
  /** Where the payload begins, or the first of many. */
  readonly payloadStart: number
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
 * Everything of `P` before the payload. SPEC, "Frames": ttl, flags, then each field with its length before it.
 *
 * @throws RangeError when a field does not fit into its length
 */
export function encodeFrameMeta(meta: FrameMeta): Uint8Array {
  const { ttlMs, reply, inReplyTo, headers, clearHeaders, lengths } = meta
  const flags =
    (reply === undefined ? 0 : Flag.reply) |
    (inReplyTo === undefined ? 0 : Flag.inReplyTo) |
    (headers.length === 0 ? 0 : Flag.headers) |
    (clearHeaders.length === 0 ? 0 : Flag.clearHeaders) |
    (lengths === undefined ? 0 : Flag.many)
  const writer = new Writer(metaBytes(meta))
  writer.uint(4, ttlMs)
  writer.uint(1, flags)
  writer.text(meta.subject)
  if (reply !== undefined) writer.text(reply)
  if (inReplyTo !== undefined) writer.bytes(1, inReplyTo)
  if (headers.length > 0) writer.pairs(headers)
  if (clearHeaders.length > 0) writer.pairs(clearHeaders)
  if (lengths !== undefined) writer.lengths(lengths)
  return writer.written()
}

/** No less than what {@link encodeFrameMeta} writes: a character has at most three bytes of UTF-8. */
function metaBytes({
  subject,
  reply = '',
  inReplyTo,
  headers,
  clearHeaders,
  lengths = [],
}: FrameMeta): number {
  let characters = subject.length + reply.length
  for (const pairs of [headers, clearHeaders])
    for (const { name, value } of pairs) characters += name.length + value.length + 2
  const fields = 32 + (inReplyTo?.length ?? 0) + PAYLOAD_LENGTH_BYTES * lengths.length
  return fields + 3 * characters
}

/**
 * Reads `P`, strictly: no unknown flag, no empty list, no other lengths than those of the payloads.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeFrameContent(bytes: Uint8Array): FrameContent {
  const reader = new Reader(bytes)
  const ttlMs = reader.uint(4)
  const flags = reader.uint(1)
  if ((flags & ~ALL_FLAGS) !== 0) throw malformed(WHAT, 'flags')
  const subject = reader.text(MAX_SUBJECT_BYTES, 'subject')
  const reply = flags & Flag.reply ? reader.text(MAX_SUBJECT_BYTES, 'reply') : undefined
  const inReplyTo = flags & Flag.inReplyTo ? copy(reader.bytes(reader.uint(1), 'in_reply_to')) : undefined
  if (inReplyTo !== undefined && inReplyTo.length > MAX_IN_REPLY_TO_BYTES)
    throw malformed(WHAT, 'in_reply_to')
  const headers = flags & Flag.headers ? reader.pairs() : []
  const clearHeaders = flags & Flag.clearHeaders ? reader.pairs() : []
  const lengths = flags & Flag.many ? reader.lengths() : undefined
  // One request with many payloads would be many requests of one name.
  if (lengths !== undefined && reply !== undefined) throw malformed(WHAT, 'reply beside many payloads')
  if (lengths !== undefined && sum(lengths) !== bytes.length - reader.at) throw malformed(WHAT, 'lengths')
  return {
    meta: { ttlMs, subject, reply, inReplyTo, headers, clearHeaders, lengths },
    payloadStart: reader.at,
  }
}

/** Reads fields with their lengths before them. */
class Reader {
  at = 0
  readonly #bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  uint(size: number): number {
    if (this.at + size > this.#bytes.length) throw malformed(WHAT, 'it is cut short')
    const value = readUint(this.#bytes, this.at, size)
    this.at += size
    return value
  }

  bytes(length: number, field: string): Uint8Array {
    if (this.at + length > this.#bytes.length) throw malformed(WHAT, field)
    const start = this.at
    this.at += length
    return this.#bytes.subarray(start, this.at)
  }

  text(maxBytes: number, field: string): string {
    const length = this.uint(2)
    if (length > maxBytes) throw malformed(WHAT, field)
    const text = fromUtf8(this.bytes(length, field))
    if (text === undefined) throw malformed(WHAT, field)
    return text
  }

  pairs(): readonly HeaderPair[] {
    const count = this.uint(2)
    if (count === 0 || count > MAX_HEADERS) throw malformed(WHAT, 'headers')
    return Array.from({ length: count }, () => ({
      name: this.text(MAX_HEADER_BYTES, 'header name'),
      value: this.text(MAX_HEADER_BYTES, 'header value'),
    }))
  }

  lengths(): readonly number[] {
    const count = this.uint(2)
    if (count === 0 || count > MAX_PAYLOADS_PER_FRAME) throw malformed(WHAT, 'number of payloads')
    const lengths: number[] = []
    for (let i = 0; i < count; i++) lengths.push(this.uint(PAYLOAD_LENGTH_BYTES))
    return lengths
  }
}

/** Writes fields with their lengths before them. */
class Writer {
  #at = 0
  readonly #memory: Uint8Array

  constructor(bytes: number) {
    this.#memory = new Uint8Array(bytes)
  }

  uint(size: number, value: number): void {
    if (!Number.isSafeInteger(value) || value < 0 || value >= 2 ** (8 * size))
      throw new RangeError('a field of a frame does not fit')
    writeUint(this.#memory, value, { start: this.#at, size })
    this.#at += size
  }

  /** @param size of the length that stands before them */
  bytes(size: number, value: Uint8Array): void {
    this.uint(size, value.length)
    this.#memory.set(value, this.#at)
    this.#at += value.length
  }

  text(value: string): void {
    this.bytes(2, utf8(value))
  }

  pairs(pairs: readonly HeaderPair[]): void {
    this.uint(2, pairs.length)
    for (const { name, value } of pairs) {
      this.text(name)
      this.text(value)
    }
  }

  lengths(lengths: readonly number[]): void {
    this.uint(2, lengths.length)
    for (const length of lengths) this.uint(PAYLOAD_LENGTH_BYTES, length)
  }

  written(): Uint8Array {
    return this.#memory.slice(0, this.#at)
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
