import { copy } from '../base/bytes.ts'
import { MAX_STATEMENT_BYTES, MAX_TOKEN_BYTES } from '../base/limits.ts'
import { HASH_BYTES, readNkey, SIGNATURE_BYTES } from './fields.ts'
import { type FieldReader, malformed, pack, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody } from './preamble.ts'

const KEY_BYTES = 32
export const INSTANCE_BYTES = 8
const MAX_NAME_BYTES = 64
const MAX_REASON_BYTES = 256
const MAX_KEM_KEY_BYTES = 1216
const MAX_KEYS = 8

// As SPEC calls them.
const REVOCATION_FIELDS = ['realm', 'identity', 'since', 'until', 'reason', 'past']
const ORDER_FIELDS = ['realm', 'number', 'epoch_hash', 'at']
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
  /** Of a revoker's revocation, and of nothing else: who signed the rest is found by trying the keys that may. */
  readonly token: string | undefined
}

/** R of SPEC: tokens of `identity` issued up to `since` are refused until `until`. */
export interface Revocation {
  readonly realm: string
  readonly identity: string
  readonly since: number
  readonly until: number
  readonly reason: string
  /** Of what was stored before `since`: 0 nothing is believed, 1 it stays good. Of live traffic both refuse the same. */
  readonly past: RevokedPast
}

/** Whether what a revoked identity has stored before stays good. */
type RevokedPast = 0 | 1

/** O of SPEC: the order to make fresh keys now, in this epoch. */
export interface Order {
  readonly realm: string
  readonly number: number
  readonly epochHash: Uint8Array
  /** When it was given, in ms since 1970: `seq` of the announcements that it brings about. */
  readonly at: number
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

/** The bytes of R that are signed and hashed. */
export function encodeRevocation(revocation: Revocation): Uint8Array {
  const { realm, identity, since, until, reason, past } = revocation
  return pack([realm, identity, since, until, reason, past])
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
    past: fields.uint(1) === 0 ? 0 : 1,
  }
  fields.end()
  return revocation
}

/** The bytes of O that are signed. */
export function encodeOrder(order: Order): Uint8Array {
  return pack([order.realm, order.number, order.epochHash, order.at])
}

/** Reads O. @throws SubrosaError ERR_MALFORMED */
export function decodeOrder(bytes: Uint8Array): Order {
  const fields = unpack(bytes, 'order', ORDER_FIELDS)
  const order: Order = {
    realm: readNkey(fields),
    number: fields.uint(),
    epochHash: copy(fields.bytes(HASH_BYTES)),
    at: fields.uint(),
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

type SignedType =
  | typeof WireType.notice
  | typeof WireType.revocation
  | typeof WireType.order
  | typeof WireType.plan

/** The wire message of a notice, a revocation, an order or a plan. */
export function encodeStatement(type: SignedType, statement: SignedStatement): Uint8Array {
  return encodeWire(type, [statement.structure, statement.signature, statement.token])
}

/**
 * Reads the wire message of a notice, a revocation, an order or a plan. Of these a revocation alone can name its signer by a token.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeStatement(type: SignedType, bytes: Uint8Array): SignedStatement {
  const what = 'signed statement'
  const body = wireBody(bytes, type, MAX_STATEMENT_BYTES, what)
  const fields = unpack(body, what, ['structure', 'signature', 'token'])
  const statement: SignedStatement = {
    structure: copy(fields.bytesUpTo(MAX_STATEMENT_BYTES)),
    signature: copy(fields.bytes(SIGNATURE_BYTES)),
    token: fields.optional((reader) => reader.string(MAX_TOKEN_BYTES)),
  }
  if (statement.token !== undefined && type !== WireType.revocation) throw fields.malformed()
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
