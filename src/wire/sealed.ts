import { concat, u32 } from '../base/bytes.ts'
import {
  MAX_HEADER_BYTES,
  MAX_HEADERS,
  MAX_MESSAGE_BYTES,
  MAX_RECIPIENTS,
  MAX_SUBJECT_BYTES,
  MAX_TTL_MS,
} from '../base/limits.ts'
import { isSubject } from '../base/subject.ts'
import { type FieldReader, malformed, type Packable, pack, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody, wireType } from './preamble.ts'

const MID_BYTES = 16
export const KID_BYTES = 16
const COMMITMENT_BYTES = 32
export const SIGNATURE_BYTES = 64
export const AEAD_TAG_BYTES = 16
const ENC_BYTES = 32
const WRAP_BYTES = 48
/** `kid ‖ wrap` of one recipient. */
const ENTRY_BYTES = KID_BYTES + WRAP_BYTES
const HASH_BYTES = 32
export const MAX_IN_REPLY_TO_BYTES = 64

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
  /** `kid ‖ wrap` of each recipient, as they travel: {@link splitWraps} takes them apart. */
  readonly packedWraps: Uint8Array
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
  return pack([header.type, header.suite, header.epoch, header.mid, header.enc, header.packedWraps])
}

/** `kid ‖ wrap` of each recipient. */
export function packWraps(wraps: readonly Wrap[]): Uint8Array {
  return concat(...wraps.flatMap(({ kid, wrap }) => [kid, wrap]))
}

/** The whole wire message. */
export function encodeSealed(type: SealedType, headerBytes: Uint8Array, body: Uint8Array): Uint8Array {
  return encodeWire(type, [headerBytes, body])
}

/**
 * Reads a sealed message and checks everything that needs no key: sizes, counts, and the type said twice. Nothing is
 * done for each wrap: a stranger can send 16,384 of them.
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
  const packedWraps = fields.bytesUpTo(MAX_RECIPIENTS * ENTRY_BYTES)
  if (packedWraps.length === 0 || packedWraps.length % ENTRY_BYTES !== 0) throw fields.malformed()
  fields.end()
  return { type, suite, epoch, mid, enc, packedWraps }
}

/** How many recipients a header names. */
export function recipientCount({ packedWraps }: SealedHeader): number {
  return packedWraps.length / ENTRY_BYTES
}

/** Every wrap, as views. For tools: a receiver looks for its own with {@link findWrap}. */
export function splitWraps(packedWraps: Uint8Array): readonly Wrap[] {
  const wraps: Wrap[] = []
  for (let at = 0; at < packedWraps.length; at += ENTRY_BYTES) wraps.push(wrapAt(packedWraps, at))
  return wraps
}

/** A wrap and the key that it is for. */
export interface FoundWrap<Key> {
  readonly key: Key
  /** A view. */
  readonly wrap: Uint8Array
}

/**
 * The first wrap that is for one of these keys, and `undefined` where there is none. Nothing is allocated for a wrap of
 * another: 16,384 of them cost tens of microseconds.
 *
 * @param keys those of the receiver: a few.
 * @throws SubrosaError ERR_MALFORMED when the `kid` of one of them occurs twice. SPEC, "Format".
 */
export function findWrap<Key extends { readonly kid: Uint8Array }>(
  packedWraps: Uint8Array,
  keys: readonly Key[],
): FoundWrap<Key> | undefined {
  const entries = new DataView(packedWraps.buffer, packedWraps.byteOffset, packedWraps.byteLength)
  let found: { readonly key: Key; readonly at: number } | undefined
  for (const key of keys) {
    const at = findKid(entries, key.kid, 0)
    if (at === undefined) continue
    if (findKid(entries, key.kid, at + ENTRY_BYTES) !== undefined)
      throw malformed('header of a sealed message', 'wraps, an own kid twice')
    if (found === undefined || at < found.at) found = { key, at }
  }
  return found && { key: found.key, wrap: wrapAt(packedWraps, found.at).wrap }
}

/** Where the next entry of this `kid` begins, from `start` on. In words: four comparisons for an entry at most. */
function findKid(entries: DataView, kid: Uint8Array, start: number): number | undefined {
  const words = new DataView(kid.buffer, kid.byteOffset, KID_BYTES)
  const first = words.getInt32(0, true)
  const second = words.getInt32(4, true)
  const third = words.getInt32(8, true)
  const fourth = words.getInt32(12, true)
  const end = entries.byteLength
  for (let at = start; at < end; at += ENTRY_BYTES) {
    if (
      entries.getInt32(at, true) === first &&
      entries.getInt32(at + 4, true) === second &&
      entries.getInt32(at + 8, true) === third &&
      entries.getInt32(at + 12, true) === fourth
    )
      return at
  }
  return undefined
}

function wrapAt(packedWraps: Uint8Array, at: number): Wrap {
  return {
    kid: packedWraps.subarray(at, at + KID_BYTES),
    wrap: packedWraps.subarray(at + KID_BYTES, at + ENTRY_BYTES),
  }
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

/** A header as it is packed. */
export function pair({ name, value }: HeaderPair): Packable {
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
    subject: readSubject(fields),
    reply: fields.optional(readSubject),
    inReplyTo: fields.optional((reader) => reader.bytesUpTo(MAX_IN_REPLY_TO_BYTES)),
    ttlMs: fields.uint(MAX_TTL_MS),
    headers: fields.list(MAX_HEADERS, readPair),
    clearHeaders: fields.list(MAX_HEADERS, readPair),
    payload: fields.bytesUpTo(MAX_MESSAGE_BYTES),
  }
  fields.end()
  return content
}

/** Reads a subject that may be published to: handlers see it, and a response is published on it. */
export function readSubject(reader: FieldReader): string {
  const subject = reader.string(MAX_SUBJECT_BYTES)
  if (!isSubject(subject)) throw reader.malformed()
  return subject
}

/** Reads what {@link pair} gives. */
export function readPair(reader: FieldReader): HeaderPair {
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
