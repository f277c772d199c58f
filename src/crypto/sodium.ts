import { hash } from 'node:crypto'
import { createRequire } from 'node:module'
import { SubrosaError } from '../base/errors.ts'
import type { AeadInput, CryptoEngine } from './engine.ts'

/** The part of sodium-native that is used. The package has no types of its own. */
interface Sodium {
  readonly crypto_aead_chacha20poly1305_ietf_encrypt: AeadEncrypt
  readonly crypto_aead_chacha20poly1305_ietf_decrypt: AeadDecrypt
  readonly crypto_aead_xchacha20poly1305_ietf_encrypt: AeadEncrypt
  readonly crypto_aead_xchacha20poly1305_ietf_decrypt: AeadDecrypt
  randombytes_buf(out: Uint8Array): void
  crypto_hash_sha256(out: Uint8Array, data: Uint8Array): void
  crypto_scalarmult_base(out: Uint8Array, secretKey: Uint8Array): void
  crypto_scalarmult(out: Uint8Array, secretKey: Uint8Array, publicKey: Uint8Array): void
  crypto_sign_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void
  crypto_sign_detached(out: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void
  crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean
  sodium_memcmp(a: Uint8Array, b: Uint8Array): boolean
}

type AeadEncrypt = (
  out: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array,
  secretNonce: null,
  nonce: Uint8Array,
  key: Uint8Array,
) => number

type AeadDecrypt = (
  out: Uint8Array,
  secretNonce: null,
  ciphertext: Uint8Array,
  aad: Uint8Array,
  nonce: Uint8Array,
  key: Uint8Array,
) => number

const TAG_BYTES = 16
const KEY_BYTES = 32
const NONCE_BYTES = 12
const XNONCE_BYTES = 24
const HASH_BLOCK_BYTES = 64
const HASH_BYTES = 32

// Memory that is used again: in V8 a new array of more than 64 bytes costs as much as a hash, and so does the first
// native call with a smaller one. Everything here is synchronous, so nobody else is using it, and it is wiped after use.
const SCRATCH_BYTES = 1024
const hashInput = new Uint8Array(SCRATCH_BYTES)
const outerInput = new Uint8Array(HASH_BLOCK_BYTES + HASH_BYTES)
const innerDigest = outerInput.subarray(HASH_BLOCK_BYTES)
const outerDigest = new Uint8Array(new ArrayBuffer(HASH_BYTES))
const aeadKey = new Uint8Array(new ArrayBuffer(KEY_BYTES))

/** The engine on libsodium, or `undefined` where its native module does not load. */
export const sodiumEngine: CryptoEngine | undefined = loadEngine()

function loadEngine(): CryptoEngine | undefined {
  const sodium = loadSodium()
  return sodium === undefined ? undefined : makeEngine(sodium)
}

function loadSodium(): Sodium | undefined {
  try {
    // An optional native dependency: a static import would make its absence fatal.
    return createRequire(import.meta.url)('sodium-native') as Sodium
  } catch {
    return undefined
  }
}

function makeEngine(sodium: Sodium): CryptoEngine {
  const randomBytes = (length: number): Uint8Array => {
    const bytes = new Uint8Array(length)
    sodium.randombytes_buf(bytes)
    return bytes
  }
  return {
    name: 'libsodium',
    randomBytes,
    sha256,
    hmac: (key, ...parts) => hmac(sodium, key, parts),
    x25519KeyPair(seed) {
      const secretKey =
        seed === undefined ? randomBytes(KEY_BYTES) : Uint8Array.from(exactly(seed, KEY_BYTES))
      const publicKey = new Uint8Array(KEY_BYTES)
      sodium.crypto_scalarmult_base(publicKey, secretKey)
      return { secretKey, publicKey }
    },
    x25519(secretKey, publicKey) {
      const shared = new Uint8Array(KEY_BYTES)
      try {
        sodium.crypto_scalarmult(shared, exactly(secretKey, KEY_BYTES), exactly(publicKey, KEY_BYTES))
      } catch {
        return undefined
      }
      return shared
    },
    ed25519KeyPair(seed) {
      const publicKey = new Uint8Array(KEY_BYTES)
      const secretKey = new Uint8Array(2 * KEY_BYTES)
      if (seed === undefined) sodium.crypto_sign_keypair(publicKey, secretKey)
      else sodium.crypto_sign_seed_keypair(publicKey, secretKey, exactly(seed, KEY_BYTES))
      return { secretKey, publicKey }
    },
    sign(secretKey, message) {
      const signature = new Uint8Array(64)
      sodium.crypto_sign_detached(signature, message, secretKey)
      return signature
    },
    verify(publicKey, message, signature) {
      // libsodium reads past neither, but accepts signatures longer than 64 bytes: the length is checked here.
      if (publicKey.length !== 32 || signature.length !== 64) return false
      return sodium.crypto_sign_verify_detached(signature, message, publicKey)
    },
    aeadSeal: (input) => seal(sodium.crypto_aead_chacha20poly1305_ietf_encrypt, input, NONCE_BYTES),
    aeadOpen: (input) => open(sodium.crypto_aead_chacha20poly1305_ietf_decrypt, input, NONCE_BYTES),
    xaeadSeal(input, out) {
      const encrypt = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt
      if (out === undefined) return seal(encrypt, input, XNONCE_BYTES)
      const { key, nonce, aad, data } = input
      encrypt(out, data, aad, null, exactly(nonce, XNONCE_BYTES), exactly(key, KEY_BYTES))
      return out
    },
    xaeadOpen(input, out) {
      const decrypt = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt
      if (out === undefined) return open(decrypt, input, XNONCE_BYTES)
      const { key, nonce, aad, data } = input
      try {
        decrypt(out, null, data, aad, exactly(nonce, XNONCE_BYTES), exactly(key, KEY_BYTES))
        return out
      } catch {
        return undefined
      }
    },
    equal: (a, b) => a.length === b.length && sodium.sodium_memcmp(a, b),
    wipe,
  }
}

function seal(encrypt: AeadEncrypt, { key, nonce, aad, data }: AeadInput, nonceBytes: number): Uint8Array {
  const ciphertext = new Uint8Array(data.length + TAG_BYTES)
  exactly(nonce, nonceBytes)
  aeadKey.set(exactly(key, KEY_BYTES))
  try {
    encrypt(ciphertext, data, aad, null, nonce, aeadKey)
  } finally {
    wipe(aeadKey)
  }
  return ciphertext
}

function open(
  decrypt: AeadDecrypt,
  { key, nonce, aad, data }: AeadInput,
  nonceBytes: number,
): Uint8Array | undefined {
  if (data.length < TAG_BYTES) return undefined
  const plaintext = new Uint8Array(data.length - TAG_BYTES)
  exactly(nonce, nonceBytes)
  aeadKey.set(exactly(key, KEY_BYTES))
  try {
    decrypt(plaintext, null, data, aad, nonce, aeadKey)
  } catch {
    return undefined
  } finally {
    wipe(aeadKey)
  }
  return plaintext
}

function exactly(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length)
    throw new SubrosaError('ERR_KEY_INVALID', 'a key or nonce has the wrong length')
  return bytes
}

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const digest = new Uint8Array(HASH_BYTES)
  const [only] = parts
  if (parts.length === 1 && only !== undefined) {
    digestInto(digest, only)
    return digest
  }
  const input = inputOf(parts, 0)
  digestInto(digest, input)
  wipe(input)
  return digest
}

/**
 * HMAC from two one-shot hashes: a fraction of the cost of a `crypto.createHmac` object. What it gives is a key more often
 * than not, so libsodium writes it into memory that can be wiped. Inputs are short here, and short ones it hashes as fast
 * as OpenSSL does.
 */
function hmac(sodium: Sodium, key: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const mac = new Uint8Array(HASH_BYTES)
  const inner = inputOf(parts, HASH_BLOCK_BYTES)
  try {
    writePads(sodium, key, inner)
    sodium.crypto_hash_sha256(innerDigest, inner)
    sodium.crypto_hash_sha256(outerDigest, outerInput)
    mac.set(outerDigest)
  } finally {
    wipe(inner, outerInput, outerDigest)
  }
  return mac
}

/** RFC 2104: the key as one block, with one pad in `inner` and with the other in {@link outerInput}. */
function writePads(sodium: Sodium, key: Uint8Array, inner: Uint8Array): void {
  inner.fill(0x36, 0, HASH_BLOCK_BYTES)
  outerInput.fill(0x5c, 0, HASH_BLOCK_BYTES)
  const isLong = key.length > HASH_BLOCK_BYTES
  if (isLong) sodium.crypto_hash_sha256(outerDigest, key)
  const blockKey = isLong ? outerDigest : key
  for (let i = 0; i < blockKey.length; i++) {
    const keyByte = blockKey[i] ?? 0
    inner[i] = keyByte ^ 0x36
    outerInput[i] = keyByte ^ 0x5c
  }
}

/** The parts in order after `start` free bytes, for the caller to wipe: in the scratch memory where they fit. */
function inputOf(parts: readonly Uint8Array[], start: number): Uint8Array {
  let length = start
  for (const part of parts) length += part.length
  const input = length <= SCRATCH_BYTES ? hashInput.subarray(0, length) : new Uint8Array(length)
  let at = start
  for (const part of parts) {
    input.set(part, at)
    at += part.length
  }
  return input
}

/**
 * libsodium's SHA-256 uses no SHA instructions; OpenSSL's one-shot hash does, and is cheapest as a string. A string cannot
 * be wiped, so no secret is made here: digests of what is public, and of content that the application has in clear.
 */
function digestInto(target: Uint8Array, data: Uint8Array): void {
  const digest = hash('sha256', data, 'binary')
  for (let i = 0; i < HASH_BYTES; i++) target[i] = digest.charCodeAt(i)
}

function wipe(...secrets: readonly Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0)
}
