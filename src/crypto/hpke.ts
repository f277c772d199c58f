import { concat, utf8 } from '../base/bytes.ts'
import type { CryptoEngine } from './engine.ts'

/**
 * HPKE base mode (RFC 9180) for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305, cut in two so that
 * one ephemeral key can serve all recipients of a message: packages of HPKE do not expose the ephemeral.
 */

const KEM_ID = 0x0020
const KDF_ID = 0x0001
const AEAD_ID = 0x0003
const KEY_BYTES = 32
const NONCE_BYTES = 12
const HASH_BYTES = 32

const VERSION = utf8('HPKE-v1')
const KEM_SUITE = concat(utf8('KEM'), u16(KEM_ID))
const HPKE_SUITE = concat(utf8('HPKE'), u16(KEM_ID), u16(KDF_ID), u16(AEAD_ID))
const NO_SALT = new Uint8Array(HASH_BYTES)
const MODE_BASE = Uint8Array.of(0)

// RFC 9180, sections 4 and 5.1: what stands before the variable part of each labelled input.
const EAE_PRK = extractPrefix(KEM_SUITE, 'eae_prk')
const SHARED_SECRET = expandPrefix(KEM_SUITE, 'shared_secret', HASH_BYTES)
const PSK_ID_HASH = extractPrefix(HPKE_SUITE, 'psk_id_hash')
const INFO_HASH = extractPrefix(HPKE_SUITE, 'info_hash')
const SECRET = extractPrefix(HPKE_SUITE, 'secret')
const KEY = expandPrefix(HPKE_SUITE, 'key', KEY_BYTES)
const BASE_NONCE = expandPrefix(HPKE_SUITE, 'base_nonce', NONCE_BYTES)

const LAST_BLOCK = Uint8Array.of(1)

/** The key and nonce with which the first and only message of an HPKE context is sealed. */
export interface HpkeKeys {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
}

/**
 * `ExtractAndExpand(dh, enc || pkR)` of RFC 9180, section 4.1: the shared secret of one recipient.
 *
 * @returns 32 bytes, or `undefined` where the Diffie-Hellman result is all zero.
 */
export function sharedSecret(
  engine: CryptoEngine,
  keys: { readonly secretKey: Uint8Array; readonly publicKey: Uint8Array },
  context: { readonly enc: Uint8Array; readonly recipient: Uint8Array },
): Uint8Array | undefined {
  const dh = engine.x25519(keys.secretKey, keys.publicKey)
  if (dh === undefined) return undefined
  const prk = engine.hmac(NO_SALT, EAE_PRK, dh)
  try {
    return engine.hmac(prk, SHARED_SECRET, context.enc, context.recipient, LAST_BLOCK)
  } finally {
    engine.wipe(dh, prk)
  }
}

/** `key_schedule_context` of RFC 9180, section 5.1, in mode base. It depends on `info` alone and may be kept. */
export function scheduleContext(engine: CryptoEngine, info: Uint8Array): Uint8Array {
  return concat(MODE_BASE, engine.hmac(NO_SALT, PSK_ID_HASH), engine.hmac(NO_SALT, INFO_HASH, info))
}

/** `KeySchedule` of RFC 9180, section 5.1, from a {@link scheduleContext}, for sequence number 0. */
export function keySchedule(engine: CryptoEngine, secret: Uint8Array, context: Uint8Array): HpkeKeys {
  const scheduleSecret = engine.hmac(secret, SECRET)
  const key = engine.hmac(scheduleSecret, KEY, context, LAST_BLOCK)
  const longNonce = engine.hmac(scheduleSecret, BASE_NONCE, context, LAST_BLOCK)
  const nonce = longNonce.slice(0, NONCE_BYTES)
  engine.wipe(scheduleSecret, longNonce)
  return { key, nonce }
}

function extractPrefix(suiteId: Uint8Array, name: string): Uint8Array {
  return concat(VERSION, suiteId, utf8(name))
}

function expandPrefix(suiteId: Uint8Array, name: string, length: number): Uint8Array {
  return concat(u16(length), VERSION, suiteId, utf8(name))
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff)
}
