import { concat, hex, u32 } from '../base/bytes.ts'
import {
  MAX_HEADER_BYTES,
  MAX_HEADERS,
  MAX_MESSAGE_BYTES,
  MAX_RECIPIENTS,
  MAX_SUBJECT_BYTES,
} from '../base/limits.ts'
import { type FieldReader, malformed, type Packable, pack, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody, wireType } from './preamble.ts'

const MID_BYTES = 16
export const KID_BYTES = 8
const COMMITMENT_BYTES = 32
export const SIGNATURE_BYTES = 64
export const AEAD_TAG_BYTES = 16
const ENC_BYTES = 32
const WRAP_BYTES = 48
const HASH_BYTES = 32
const MAX_IN_REPLY_TO_BYTES = 64

// As SPEC calls them.
const HEADER_FIELDS = ['type', 'suite', 'epoch', 'mid', 'enc', 'wraps']
const CONTENT_FIELDS = [
  'sender',
  'seq',
  'subject',
  'reply',
  'in_reply_to',
  'ttl_ms',
  'headers',
  'clear headers',
  'payload',
]
const PAIR_FIELDS = ['name', 'value']

/** The types that are sealed messages: `0`, and the handshake `1` that opens a session. */
export type SealedType = typeof WireType.sealed | typeof WireType.handshake

/** One recipient's copy of the content key. */
export interface Wrap {
  readonly kid: Uint8Array
  readonly wrap: Uint8Array
}

/** H of SPEC, "A sealed message". */
export interface SealedHeader {
  readonly type: SealedType
  readonly suite: number
  readonly epoch: number
  readonly mid: Uint8Array
  readonly enc: Uint8Array
  readonly wraps: readonly Wrap[]
}

/** A sealed message as it travels: header bytes as received, commitment and ciphertext. */
export interface SealedMessage {
  readonly header: SealedHeader
  readonly headerBytes: Uint8Array
  readonly commitment: Uint8Array
  readonly ciphertext: Uint8Array
}

/** P of SPEC: what is inside a sealed message. */
export interface SealedContent {
  readonly sender: Uint8Array
  readonly seq: number
  readonly subject: string
  readonly reply: string | undefined
  readonly inReplyTo: Uint8Array | undefined
  readonly ttlMs: number
  readonly headers: readonly HeaderPair[]
  readonly clearHeaders: readonly HeaderPair[]
  readonly payload: Uint8Array
}

/** A header's name and one of its values, in the order in which they were set. */
export interface HeaderPair {
  readonly name: string
  readonly value: string
}

/** The bytes of H, which are hashed and authenticated as they are. */
export function encodeSealedHeader(header: SealedHeader): Uint8Array {
  const wraps = concat(...header.wraps.flatMap(({ kid, wrap }) => [kid, wrap]))
  return pack([header.type, header.suite, header.epoch, header.mid, header.enc, wraps])
}

/** The whole wire message. */
export function encodeSealed(type: SealedType, headerBytes: Uint8Array, body: Uint8Array): Uint8Array {
  return encodeWire(type, [headerBytes, body])
}

/**
 * Reads a sealed message and checks everything that needs no key: sizes, counts, the type said twice, and that
 * no recipient stands in it twice.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeSealed(bytes: Uint8Array): SealedMessage {
  const what = 'sealed message'
  const type = wireType(bytes)
  if (type !== WireType.sealed && type !== WireType.handshake) throw malformed(what, 'preamble')
  const outer = unpack(wireBody(bytes, type, MAX_MESSAGE_BYTES, what), what, ['header', 'body'])
  const headerBytes = outer.bytesUpTo(MAX_MESSAGE_BYTES)
  const body = outer.bytesUpTo(MAX_MESSAGE_BYTES)
  outer.end()
  if (body.length < COMMITMENT_BYTES + SIGNATURE_BYTES + 4 + AEAD_TAG_BYTES) throw malformed(what, 'body')
  const header = decodeHeader(headerBytes, type)
  return {
    header,
    headerBytes,
    commitment: body.subarray(0, COMMITMENT_BYTES),
    ciphertext: body.subarray(COMMITMENT_BYTES),
  }
}

function decodeHeader(headerBytes: Uint8Array, type: SealedType): SealedHeader {
  const what = 'header of a sealed message'
  const fields = unpack(headerBytes, what, HEADER_FIELDS)
  if (fields.uint(255) !== type) throw fields.malformed()
  const suite = fields.uint(255)
  const epoch = fields.uint()
  const mid = fields.bytes(MID_BYTES)
  const enc = fields.bytes(ENC_BYTES)
  const wraps = splitWraps(fields.bytesUpTo(MAX_RECIPIENTS * (KID_BYTES + WRAP_BYTES)), what)
  fields.end()
  return { type, suite, epoch, mid, enc, wraps }
}

function splitWraps(bytes: Uint8Array, what: string): readonly Wrap[] {
  const size = KID_BYTES + WRAP_BYTES
  if (bytes.length === 0 || bytes.length % size !== 0) throw malformed(what, 'wraps')
  const wraps: Wrap[] = []
  const seen = new Set<string>()
  for (let at = 0; at < bytes.length; at += size) {
    const kid = bytes.subarray(at, at + KID_BYTES)
    seen.add(hex(kid))
    wraps.push({ kid, wrap: bytes.subarray(at + KID_BYTES, at + size) })
  }
  if (seen.size !== wraps.length) throw malformed(what, 'wraps, one kid twice')
  return wraps
}

/** The bytes of P. */
export function encodeContent(content: SealedContent): Uint8Array {
  return pack([
    content.sender,
    content.seq,
    content.subject,
    content.reply,
    content.inReplyTo,
    content.ttlMs,
    content.headers.map(pair),
    content.clearHeaders.map(pair),
    content.payload,
  ])
}

function pair({ name, value }: HeaderPair): Packable {
  return [name, value]
}

/**
 * Reads P. The payload is a view into `bytes`.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeContent(bytes: Uint8Array): SealedContent {
  const fields = unpack(bytes, 'sealed content', CONTENT_FIELDS)
  const content: SealedContent = {
    sender: fields.bytes(HASH_BYTES),
    seq: fields.uint(),
    subject: fields.string(MAX_SUBJECT_BYTES),
    reply: fields.optional((reader) => reader.string(MAX_SUBJECT_BYTES)),
    inReplyTo: fields.optional((reader) => reader.bytesUpTo(MAX_IN_REPLY_TO_BYTES)),
    ttlMs: fields.uint(),
    headers: fields.list(MAX_HEADERS, readPair),
    clearHeaders: fields.list(MAX_HEADERS, readPair),
    payload: fields.bytesUpTo(MAX_MESSAGE_BYTES),
  }
  fields.end()
  return content
}

function readPair(reader: FieldReader): HeaderPair {
  const entry = reader.tuple(PAIR_FIELDS)
  const name = entry.string(MAX_HEADER_BYTES)
  const value = entry.string(MAX_HEADER_BYTES)
  entry.end()
  return { name, value }
}

/** The sending time in a UUIDv7 message id, in milliseconds since 1970; `undefined` where it is none. */
export function midTime(mid: Uint8Array): number | undefined {
  const view = new DataView(mid.buffer, mid.byteOffset, mid.byteLength)
  const isVersion7 = (view.getUint8(6) & 0xf0) === 0x70 && (view.getUint8(8) & 0xc0) === 0x80
  return isVersion7 ? view.getUint16(0) * 0x1_0000_0000 + view.getUint32(2) : undefined
}

/** A UUIDv7 from a time in milliseconds and ten random bytes (RFC 9562, section 5.7). */
export function makeMid(timeMs: number, random: Uint8Array): Uint8Array {
  const mid = new Uint8Array(MID_BYTES)
  const high = Math.floor(timeMs / 0x1_0000_0000)
  mid[0] = high >>> 8
  mid[1] = high
  mid.set(u32(timeMs % 0x1_0000_0000), 2)
  mid.set(random.subarray(0, 10), 6)
  mid[6] = ((mid[6] ?? 0) & 0x0f) | 0x70
  mid[8] = ((mid[8] ?? 0) & 0x3f) | 0x80
  return mid
}
