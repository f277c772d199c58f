import { hex } from '../../base/bytes.ts'
import {
  DER_BIT_STRING,
  DER_INTEGER,
  DER_OCTET_STRING,
  DER_OID,
  DER_SEQUENCE,
  type DerElement,
  readDer,
  readDerOnly,
  readDerSequence,
} from './der.ts'
import { damagedKey, type KeyPlace, kindOfOid, wrongKind } from './key-kinds.ts'

const ED25519_OID = '2b6570'
const KEY_BYTES = 32
/** The optional parts of a private key: attributes, and the public key, which some tools wrap once more. */
const ATTRIBUTES = 0xa0
const PUBLIC_KEY = 0x81
const WRAPPED_PUBLIC_KEY = 0xa1

/** A private key as PKCS#8 holds it. */
export interface Pkcs8Key {
  /** 32 bytes, a secret. They share memory with what they were read from. */
  readonly seed: Uint8Array
  /** The public key beside it, which version 2 may have. */
  readonly publicKey: Uint8Array | undefined
}

/**
 * Reads an Ed25519 key in PKCS#8: `PrivateKeyInfo` of RFC 5208, or `OneAsymmetricKey` of RFC 5958, as RFC 8410 says.
 *
 * @throws SubrosaError ERR_KEY_INVALID for a key of another kind, ERR_KEY_FILE when it is damaged
 */
export function readPkcs8(der: Uint8Array, place: KeyPlace): Pkcs8Key {
  const [version, algorithm, key, ...options] = readDerSequence(der) ?? []
  if (version?.tag !== DER_INTEGER || key?.tag !== DER_OCTET_STRING) throw damagedKey(place)
  checkAlgorithm(algorithm, place)
  const seed = readDerOnly(key.content, DER_OCTET_STRING)
  if (seed?.length !== KEY_BYTES) throw damagedKey(place)
  let publicKey: Uint8Array | undefined
  for (const { tag, content } of options) {
    if (tag === ATTRIBUTES) continue
    publicKey = readBits(tag === WRAPPED_PUBLIC_KEY ? readDerOnly(content, DER_BIT_STRING) : content)
    if ((tag !== PUBLIC_KEY && tag !== WRAPPED_PUBLIC_KEY) || publicKey === undefined) throw damagedKey(place)
  }
  return { seed, publicKey }
}

/**
 * Reads an Ed25519 public key: `SubjectPublicKeyInfo` of RFC 5280, as RFC 8410 says.
 *
 * @throws SubrosaError ERR_KEY_INVALID for a key of another kind, ERR_KEY_FILE when it is damaged
 */
export function readSubjectPublicKey(der: Uint8Array, place: KeyPlace): Uint8Array {
  const [algorithm, key, ...others] = readDerSequence(der) ?? []
  if (key?.tag !== DER_BIT_STRING || others.length > 0) throw damagedKey(place)
  checkAlgorithm(algorithm, place)
  const publicKey = readBits(key.content)
  if (publicKey === undefined) throw damagedKey(place)
  return publicKey
}

function checkAlgorithm(algorithm: DerElement | undefined, place: KeyPlace): void {
  if (algorithm?.tag !== DER_SEQUENCE) throw damagedKey(place)
  const [oid] = readDer(algorithm.content) ?? []
  if (oid?.tag !== DER_OID) throw damagedKey(place)
  const name = hex(oid.content)
  if (name !== ED25519_OID) throw wrongKind(place, kindOfOid(name))
}

/** A key in a bit string, whose first byte counts unused bits. */
function readBits(content: Uint8Array | undefined): Uint8Array | undefined {
  return content?.length === 1 + KEY_BYTES && content[0] === 0 ? content.subarray(1) : undefined
}
