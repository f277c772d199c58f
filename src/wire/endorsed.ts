import { copy } from '../base/bytes.ts'
import { MAX_STATEMENT_BYTES } from '../base/limits.ts'
import { pack, unpack } from './msgpack.ts'

const SIGNATURE_BYTES = 64

/** A revocation in the log of the replicas, and the signature of the one that took it in. It travels nowhere else. */
export interface Endorsed {
  /** The whole wire message. */
  readonly statement: Uint8Array
  readonly endorsement: Uint8Array
}

/** The bytes of an endorsed revocation. */
export function encodeEndorsed({ statement, endorsement }: Endorsed): Uint8Array {
  return pack([statement, endorsement])
}

/** Reads an endorsed revocation. @throws SubrosaError ERR_MALFORMED */
export function decodeEndorsed(bytes: Uint8Array): Endorsed {
  const fields = unpack(bytes, 'endorsed revocation', ['statement', 'endorsement'])
  const endorsed: Endorsed = {
    statement: copy(fields.bytesUpTo(MAX_STATEMENT_BYTES)),
    endorsement: copy(fields.bytes(SIGNATURE_BYTES)),
  }
  fields.end()
  return endorsed
}
