import { copy } from '../base/bytes.ts'
import { MAX_STATEMENT_BYTES, MAX_TICK_LEAVES } from '../base/limits.ts'
import { HASH_BYTES, readNkey, SIGNATURE_BYTES } from './fields.ts'
import { type FieldReader, pack, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody } from './preamble.ts'
import { NONCE_BYTES } from './queries.ts'

/** Of the random name that a process of a rotation service gives itself. */
export const PROCESS_BYTES = 8
/** Of the path of one nonce among 4,096. */
const MAX_PATH_BYTES = 12 * HASH_BYTES

// As SPEC calls them.
const TICK_FIELDS = [
  'realm',
  'plan_version',
  'rotator',
  'standing',
  'process',
  'now',
  'revocations_hash',
  'directory_root',
  'storage_root',
  'leaves',
  'nonce_root',
]

/** Whether a rotation service counts: 1 it is complete under this plan, 0 it hands over what it holds and no more. */
export type Standing = 0 | 1

/** T of SPEC: what one rotation service says of itself, for all who have just asked. */
export interface Tick {
  readonly realm: string
  readonly planVersion: number
  readonly rotator: string
  readonly standing: Standing
  /** Random, 8 bytes: another one means that the service has started again. */
  readonly process: Uint8Array
  /** Its wall clock, in ms since 1970. */
  readonly now: number
  /** Of the revocations that it holds, those in force at `now`. */
  readonly revocationsHash: Uint8Array
  readonly directoryRoot: Uint8Array
  /** Zeros, and nothing goes by it: for stored data later. */
  readonly storageRoot: Uint8Array
  /** How many nonces it answers. In a broadcast none. */
  readonly leaves: number
  /** The root of the tree over the nonces. In a broadcast zeros. */
  readonly nonceRoot: Uint8Array
}

/**
 * A tick as it travels to one asker: signed once for all, with the nonce that it answers and the path of that. A broadcast has no
 * nonce, and neither place nor path.
 */
export interface SignedTick {
  readonly structure: Uint8Array
  readonly signature: Uint8Array
  /** The nonce that it answers, by which the asker knows it before anything else of it is read. It proves nothing by itself. */
  readonly nonce: Uint8Array | undefined
  /** The place of the nonce in the tree. */
  readonly index: number | undefined
  readonly path: Uint8Array | undefined
}

/** The bytes of T that are signed. */
export function encodeTick(tick: Tick): Uint8Array {
  const { realm, planVersion, rotator, standing, process, now } = tick
  const { revocationsHash, directoryRoot, storageRoot, leaves, nonceRoot } = tick
  return pack([
    realm,
    planVersion,
    rotator,
    standing,
    process,
    now,
    revocationsHash,
    directoryRoot,
    storageRoot,
    leaves,
    nonceRoot,
  ])
}

/** Reads T. @throws SubrosaError ERR_MALFORMED */
export function decodeTick(bytes: Uint8Array): Tick {
  const fields = unpack(bytes, 'tick', TICK_FIELDS)
  const tick: Tick = {
    realm: readNkey(fields),
    planVersion: fields.uint(),
    rotator: readNkey(fields),
    standing: fields.uint(1) === 1 ? 1 : 0,
    process: copy(fields.bytes(PROCESS_BYTES)),
    now: fields.uint(),
    revocationsHash: copy(fields.bytes(HASH_BYTES)),
    directoryRoot: copy(fields.bytes(HASH_BYTES)),
    storageRoot: copy(fields.bytes(HASH_BYTES)),
    leaves: fields.uint(MAX_TICK_LEAVES),
    nonceRoot: copy(fields.bytes(HASH_BYTES)),
  }
  fields.end()
  return tick
}

/** The wire message of a tick. */
export function encodeSignedTick({ structure, signature, nonce, index, path }: SignedTick): Uint8Array {
  return encodeWire(WireType.tick, [structure, signature, nonce, index, path])
}

/** Reads the wire message of a tick. @throws SubrosaError ERR_MALFORMED */
export function decodeSignedTick(wire: Uint8Array): SignedTick {
  return restOf(readParts(wire))
}

/**
 * Reads the wire message of a tick that answers a nonce. Anybody can publish in an inbox: what echoes no nonce that is asked for is
 * read no further, and costs neither a copy nor a hash.
 *
 * @returns `undefined` where nobody here asks for the nonce, and for a broadcast
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeTickAnswer(
  wire: Uint8Array,
  isAsked: (nonce: Uint8Array) => boolean,
): SignedTick | undefined {
  const parts = readParts(wire)
  return parts.nonce !== undefined && isAsked(parts.nonce) ? restOf(parts) : undefined
}

/** What stands before the place, as views, and a reader of the rest. */
interface Parts extends Pick<SignedTick, 'structure' | 'signature' | 'nonce'> {
  readonly fields: FieldReader
}

function readParts(wire: Uint8Array): Parts {
  const what = 'signed tick'
  const body = wireBody(wire, WireType.tick, MAX_STATEMENT_BYTES, what)
  const fields = unpack(body, what, ['structure', 'signature', 'nonce', 'index', 'path'])
  return {
    fields,
    structure: fields.bytesUpTo(MAX_STATEMENT_BYTES),
    signature: fields.bytes(SIGNATURE_BYTES),
    nonce: fields.optional((reader) => reader.bytes(NONCE_BYTES)),
  }
}

function restOf({ fields, structure, signature, nonce }: Parts): SignedTick {
  const index = fields.optional((reader) => reader.uint(MAX_TICK_LEAVES - 1))
  const path = fields.optional((reader) => copy(reader.bytesUpTo(MAX_PATH_BYTES)))
  // Each of the three proves nothing without the others.
  const isBroadcast = nonce === undefined
  if ((index === undefined) !== isBroadcast || (path === undefined) !== isBroadcast) throw fields.malformed()
  fields.end()
  return {
    structure: copy(structure),
    signature: copy(signature),
    nonce: nonce && copy(nonce),
    index,
    path,
  }
}
