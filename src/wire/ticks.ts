import { copy } from '../base/bytes.ts'
import { MAX_STATEMENT_BYTES, MAX_TICK_LEAVES } from '../base/limits.ts'
import { HASH_BYTES, readNkey, SIGNATURE_BYTES } from './fields.ts'
import { pack, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody } from './preamble.ts'

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

/** A tick as it travels to one asker: signed once for all, with the path of the asker's nonce. */
export interface SignedTick {
  readonly structure: Uint8Array
  readonly signature: Uint8Array
  /** The place of the nonce in the tree; `undefined` in a broadcast, as is `path`. */
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
export function encodeSignedTick({ structure, signature, index, path }: SignedTick): Uint8Array {
  return encodeWire(WireType.tick, [structure, signature, index, path])
}

/** Reads the wire message of a tick. @throws SubrosaError ERR_MALFORMED */
export function decodeSignedTick(wire: Uint8Array): SignedTick {
  const what = 'signed tick'
  const body = wireBody(wire, WireType.tick, MAX_STATEMENT_BYTES, what)
  const fields = unpack(body, what, ['structure', 'signature', 'index', 'path'])
  const signed: SignedTick = {
    structure: copy(fields.bytesUpTo(MAX_STATEMENT_BYTES)),
    signature: copy(fields.bytes(SIGNATURE_BYTES)),
    index: fields.optional((reader) => reader.uint(MAX_TICK_LEAVES - 1)),
    path: fields.optional((reader) => copy(reader.bytesUpTo(MAX_PATH_BYTES))),
  }
  // A place without a path proves nothing, and neither does a path without a place.
  if ((signed.index === undefined) !== (signed.path === undefined)) throw fields.malformed()
  fields.end()
  return signed
}
