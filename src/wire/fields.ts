import type { FieldReader } from './msgpack.ts'

/** SHA-256. */
export const HASH_BYTES = 32
/** Ed25519. */
export const SIGNATURE_BYTES = 64
const NKEY_LENGTH = 56

/** Reads a field that holds the text of a public nkey. Whether it is one, the reader of its meaning finds out. */
export function readNkey(fields: FieldReader): string {
  const key = fields.string(NKEY_LENGTH)
  if (key.length !== NKEY_LENGTH) throw fields.malformed()
  return key
}
