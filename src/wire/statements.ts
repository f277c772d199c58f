// Over 300 lines: every statement with its reader and its writer, side by side, and nothing else.
import { copy } from '../base/bytes.ts'
import {
  MAX_EPOCH_BYTES,
  MAX_NONCES_PER_TICK,
  MAX_REVOCATIONS,
  MAX_STATEMENT_BYTES,
  MAX_STATEMENTS_PER_PAGE,
  MAX_SUITES,
  MAX_TOKEN_BYTES,
} from '../base/limits.ts'
import { type FieldReader, malformed, pack, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody } from './preamble.ts'

const HASH_BYTES = 32
const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
export const INSTANCE_BYTES = 8
export const NONCE_BYTES = 16
const MAX_NAME_BYTES = 64
const NKEY_BYTES = 56
const MAX_REASON_BYTES = 256
const MAX_CURSOR_BYTES = 64
export const CURSOR_BYTES = 8
const MAX_KEM_KEY_BYTES = 1216
const MAX_KEYS = 8

// As SPEC calls them.
const EPOCH_FIELDS = [
  'realm',
  'number',
  'prev_hash',
  'not_before',
  'not_after',
  'grace_ms',
  'suites',
  'revocations',
]
const TICK_FIELDS = ['realm', 'number', 'epoch_hash', 'revocations_hash', 'now', 'nonces']
const REVOCATION_FIELDS = ['realm', 'identity', 'since', 'until', 'reason']
const ORDER_FIELDS = ['realm', 'number', 'epoch_hash']
const ANNOUNCEMENT_FIELDS = [
  'realm',
  'agent',
  'instance',
  'epoch',
  'epoch_hash',
  'identity',
  'mpk',
  'keys',
  'not_before',
  'not_after',
  'stored_ms',
  'seq',
  'token',
]
const KEY_FIELDS = ['suite', 'use', 'public_key']

/** A signed statement as it travels: the structure's bytes as they were signed, its signature and the signer's token. */
export interface SignedStatement {
  readonly structure: Uint8Array
  readonly signature: Uint8Array
  /** `undefined` where the signer is an authority itself. */
  readonly token: string | undefined
}

/** E of SPEC: a numbered span of time. Times are milliseconds since 1970. */
export interface Epoch {
  readonly realm: string
  readonly number: number
  readonly prevHash: Uint8Array
  readonly notBefore: number
  readonly notAfter: number
  readonly graceMs: number
  readonly suites: readonly number[]
  /** The wire bytes of every revocation in force. */
  readonly revocations: readonly Uint8Array[]
}

/** T of SPEC: what the rotation service says is newest, and when. */
export interface Tick {
  readonly realm: string
  readonly number: number
  readonly epochHash: Uint8Array
  readonly revocationsHash: Uint8Array
  readonly now: number
  readonly nonces: readonly Uint8Array[]
}

/** R of SPEC: tokens of `identity` issued up to `since` are refused until `until`. */
export interface Revocation {
  readonly realm: string
  readonly identity: string
  readonly since: number
  readonly until: number
  readonly reason: string
}

/** O of SPEC: the order to rotate now. It holds for as long as this epoch is the newest. */
export interface Order {
  readonly realm: string
  readonly number: number
  readonly epochHash: Uint8Array
}

/** One public key that an instance announces. */
interface AnnouncedKey {
  readonly suite: number
  readonly use: number
  readonly publicKey: Uint8Array
}

/** C of SPEC: the keys of one instance for one epoch. No keys at all means that the instance retires. */
export interface Announcement {
  readonly realm: string
  readonly agent: string
  readonly instance: Uint8Array
  readonly epoch: number
  readonly epochHash: Uint8Array
  readonly identity: string
  /** The message key with which the instance signs; empty in a retirement. */
  readonly messageKey: Uint8Array
  readonly keys: readonly AnnouncedKey[]
  readonly notBefore: number
  readonly notAfter: number
  readonly storedMs: number
  readonly seq: number
  readonly token: string
}

/** An announcement as it travels, with the identity's signature and the message key's proof of possession. */
export interface SignedAnnouncement {
  readonly structure: Uint8Array
  readonly signature: Uint8Array
  /** `undefined` in a retirement, for which the identity's signature is enough. */
  readonly proof: Uint8Array | undefined
}

/** What a query asks for. SPEC, "Statements". */
export const QueryKind = {
  /** Only a tick that carries the nonce. */
  tick: 0,
  /** Epochs from the number in the cursor on. */
  epochs: 1,
  /** Every announcement in use. */
  announcements: 2,
  /** Every revocation in force. */
  revocations: 3,
  /** The one announcement whose hash is the cursor. */
  announcement: 4,
} as const

export type QueryKind = (typeof QueryKind)[keyof typeof QueryKind]

/** A question to the rotation service. */
export interface Query {
  /** Random: the tick, or the page, that answers bears it. */
  readonly nonce: Uint8Array
  readonly kind: QueryKind
  readonly cursor: Uint8Array | undefined
}

/** Which query a page answers. */
export type PageHead = Pick<Query, 'nonce' | 'kind'>

/** One page of an answer: whole wire statements, and where the next page starts. */
export interface Page extends PageHead {
  readonly statements: readonly Uint8Array[]
  readonly next: Uint8Array | undefined
}

/** The bytes of E that are signed and hashed. */
export function encodeEpoch(epoch: Epoch): Uint8Array {
  const { realm, number, prevHash, notBefore, notAfter, graceMs, suites, revocations } = epoch
  return pack([realm, number, prevHash, notBefore, notAfter, graceMs, suites, revocations])
}

/** Reads E. @throws SubrosaError ERR_MALFORMED */
export function decodeEpoch(bytes: Uint8Array): Epoch {
  const fields = unpack(bytes, 'epoch', EPOCH_FIELDS)
  const epoch: Epoch = {
    realm: readNkey(fields),
    number: fields.uint(),
    prevHash: copy(fields.bytes(HASH_BYTES)),
    notBefore: fields.uint(),
    notAfter: fields.uint(),
    graceMs: fields.uint(),
    suites: fields.list(MAX_SUITES, (reader) => reader.uint(255)),
    revocations: fields.list(MAX_REVOCATIONS, (reader) => copy(reader.bytesUpTo(MAX_STATEMENT_BYTES))),
  }
  fields.end()
  return epoch
}

/** The bytes of T that are signed. */
export function encodeTick(tick: Tick): Uint8Array {
  return pack([tick.realm, tick.number, tick.epochHash, tick.revocationsHash, tick.now, tick.nonces])
}

/** Reads T. @throws SubrosaError ERR_MALFORMED */
export function decodeTick(bytes: Uint8Array): Tick {
  const fields = unpack(bytes, 'tick', TICK_FIELDS)
  const tick: Tick = {
    realm: readNkey(fields),
    number: fields.uint(),
    epochHash: copy(fields.bytes(HASH_BYTES)),
    revocationsHash: copy(fields.bytes(HASH_BYTES)),
    now: fields.uint(),
    nonces: fields.list(MAX_NONCES_PER_TICK, (reader) => copy(reader.bytes(NONCE_BYTES))),
  }
  fields.end()
  return tick
}

/** The bytes of R that are signed and hashed. */
export function encodeRevocation(revocation: Revocation): Uint8Array {
  return pack([revocation.realm, revocation.identity, revocation.since, revocation.until, revocation.reason])
}

/** Reads R. @throws SubrosaError ERR_MALFORMED */
export function decodeRevocation(bytes: Uint8Array): Revocation {
  const fields = unpack(bytes, 'revocation', REVOCATION_FIELDS)
  const revocation: Revocation = {
    realm: readNkey(fields),
    identity: readNkey(fields),
    since: fields.uint(),
    until: fields.uint(),
    reason: fields.string(MAX_REASON_BYTES),
  }
  fields.end()
  return revocation
}

/** The bytes of O that are signed. */
export function encodeOrder(order: Order): Uint8Array {
  return pack([order.realm, order.number, order.epochHash])
}

/** Reads O. @throws SubrosaError ERR_MALFORMED */
export function decodeOrder(bytes: Uint8Array): Order {
  const fields = unpack(bytes, 'order', ORDER_FIELDS)
  const order: Order = {
    realm: readNkey(fields),
    number: fields.uint(),
    epochHash: copy(fields.bytes(HASH_BYTES)),
  }
  fields.end()
  return order
}

/** The bytes of C that are signed and hashed. */
export function encodeAnnouncement(announcement: Announcement): Uint8Array {
  const { realm, agent, instance, epoch, epochHash, identity, messageKey, keys } = announcement
  const { notBefore, notAfter, storedMs, seq, token } = announcement
  const keyList = keys.map(({ suite, use, publicKey }) => [suite, use, publicKey])
  return pack([
    realm,
    agent,
    instance,
    epoch,
    epochHash,
    identity,
    messageKey,
    keyList,
    notBefore,
    notAfter,
    storedMs,
    seq,
    token,
  ])
}

/** Reads C. @throws SubrosaError ERR_MALFORMED */
export function decodeAnnouncement(bytes: Uint8Array): Announcement {
  const fields = unpack(bytes, 'announcement', ANNOUNCEMENT_FIELDS)
  const announcement: Announcement = {
    realm: readNkey(fields),
    agent: fields.string(MAX_NAME_BYTES),
    instance: copy(fields.bytes(INSTANCE_BYTES)),
    epoch: fields.uint(),
    epochHash: copy(fields.bytes(HASH_BYTES)),
    identity: readNkey(fields),
    messageKey: copy(fields.bytesUpTo(KEY_BYTES)),
    keys: fields.list(MAX_KEYS, readKey),
    notBefore: fields.uint(),
    notAfter: fields.uint(),
    storedMs: fields.uint(),
    seq: fields.uint(),
    token: fields.string(MAX_TOKEN_BYTES),
  }
  fields.end()
  const isRetirement = announcement.keys.length === 0
  if (announcement.messageKey.length !== (isRetirement ? 0 : KEY_BYTES))
    throw malformed('announcement', 'mpk')
  return announcement
}

function readKey(reader: FieldReader): AnnouncedKey {
  const fields = reader.tuple(KEY_FIELDS)
  const key = {
    suite: fields.uint(255),
    use: fields.uint(255),
    publicKey: copy(fields.bytesUpTo(MAX_KEM_KEY_BYTES)),
  }
  fields.end()
  return key
}

function readNkey(fields: FieldReader): string {
  const key = fields.string(NKEY_BYTES)
  if (key.length !== NKEY_BYTES) throw fields.malformed()
  return key
}

type SignedType =
  | typeof WireType.epoch
  | typeof WireType.tick
  | typeof WireType.revocation
  | typeof WireType.order

/** The wire message of an epoch, a tick, a revocation or an order. */
export function encodeStatement(type: SignedType, statement: SignedStatement): Uint8Array {
  return encodeWire(type, [statement.structure, statement.signature, statement.token])
}

/** Reads the wire message of an epoch, a tick, a revocation or an order. @throws SubrosaError ERR_MALFORMED */
export function decodeStatement(type: SignedType, bytes: Uint8Array): SignedStatement {
  const maxBytes = type === WireType.epoch ? MAX_EPOCH_BYTES : MAX_STATEMENT_BYTES
  const what = 'signed statement'
  const fields = unpack(wireBody(bytes, type, maxBytes, what), what, ['structure', 'signature', 'token'])
  const statement: SignedStatement = {
    structure: copy(fields.bytesUpTo(maxBytes)),
    signature: copy(fields.bytes(SIGNATURE_BYTES)),
    token: fields.optional((reader) => reader.string(MAX_TOKEN_BYTES)),
  }
  fields.end()
  return statement
}

/** The wire message of an announcement. */
export function encodeSignedAnnouncement({ structure, signature, proof }: SignedAnnouncement): Uint8Array {
  return encodeWire(WireType.announcement, [structure, signature, proof, undefined])
}

/** Reads the wire message of an announcement. @throws SubrosaError ERR_MALFORMED */
export function decodeSignedAnnouncement(bytes: Uint8Array): SignedAnnouncement {
  const what = 'signed announcement'
  const body = wireBody(bytes, WireType.announcement, MAX_STATEMENT_BYTES, what)
  const fields = unpack(body, what, ['structure', 'signature', 'proof', 'nil'])
  const signed: SignedAnnouncement = {
    structure: copy(fields.bytesUpTo(MAX_STATEMENT_BYTES)),
    signature: copy(fields.bytes(SIGNATURE_BYTES)),
    proof: fields.optional((reader) => copy(reader.bytes(SIGNATURE_BYTES))),
  }
  // The token of an announcement stands inside the structure; the place after the signatures is always nil.
  if (fields.optional((reader) => reader.string(0)) !== undefined) throw fields.malformed()
  fields.end()
  return signed
}

/** The wire message of a query. */
export function encodeQuery(query: Query): Uint8Array {
  return encodeWire(WireType.query, [query.nonce, query.kind, query.cursor])
}

/** Reads a query. @throws SubrosaError ERR_MALFORMED */
export function decodeQuery(bytes: Uint8Array): Query {
  const body = wireBody(bytes, WireType.query, MAX_STATEMENT_BYTES, 'query')
  const fields = unpack(body, 'query', ['nonce', 'kind', 'cursor'])
  const query: Query = {
    nonce: copy(fields.bytes(NONCE_BYTES)),
    kind: readKind(fields),
    cursor: fields.optional((reader) => copy(reader.bytesUpTo(MAX_CURSOR_BYTES))),
  }
  fields.end()
  return query
}

/** The wire message of a page. */
export function encodePage(page: Page): Uint8Array {
  return encodeWire(WireType.page, [page.nonce, page.kind, page.statements, page.next])
}

/** Reads a page. Its statements are views into `bytes`. @throws SubrosaError ERR_MALFORMED */
export function decodePage(bytes: Uint8Array): Page {
  const fields = pageFields(bytes)
  return restOfPage(fields, pageHead(fields))
}

/**
 * Reads a page that was asked for. Of any other one no more is read than what shows that: anybody can send pages.
 *
 * @returns the page; `undefined` where it answers nothing
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeAnswer(bytes: Uint8Array, isAsked: (head: PageHead) => boolean): Page | undefined {
  const fields = pageFields(bytes)
  const head = pageHead(fields)
  return isAsked(head) ? restOfPage(fields, head) : undefined
}

function pageFields(bytes: Uint8Array): FieldReader {
  const maxBytes = MAX_EPOCH_BYTES + MAX_STATEMENTS_PER_PAGE * MAX_STATEMENT_BYTES
  const body = wireBody(bytes, WireType.page, maxBytes, 'page')
  return unpack(body, 'page', ['nonce', 'kind', 'statements', 'next'])
}

function pageHead(fields: FieldReader): PageHead {
  return { nonce: copy(fields.bytes(NONCE_BYTES)), kind: readKind(fields) }
}

function restOfPage(fields: FieldReader, head: PageHead): Page {
  const page: Page = {
    ...head,
    statements: fields.list(MAX_STATEMENTS_PER_PAGE, (reader) => reader.bytesUpTo(MAX_EPOCH_BYTES)),
    next: fields.optional((reader) => copy(reader.bytesUpTo(MAX_CURSOR_BYTES))),
  }
  fields.end()
  return page
}

function readKind(fields: FieldReader): QueryKind {
  const value = fields.uint(255)
  const kind = Object.values(QueryKind).find((known) => known === value)
  if (kind === undefined) throw fields.malformed()
  return kind
}

/** Where a page of numbered statements starts: eight bytes, big-endian. Anything else means the beginning. */
export function readCursor(cursor: Uint8Array | undefined): number {
  if (cursor === undefined || cursor.length !== CURSOR_BYTES) return 0
  return Number(new DataView(cursor.buffer, cursor.byteOffset).getBigUint64(0))
}

/** The cursor of a page that starts at this place. */
export function writeCursor(place: number): Uint8Array {
  const cursor = new Uint8Array(CURSOR_BYTES)
  new DataView(cursor.buffer).setBigUint64(0, BigInt(place))
  return cursor
}
