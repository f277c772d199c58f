import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256, sha512 } from '@noble/hashes/sha2.js'
import { randomBytes } from '@noble/hashes/utils.js'
import { concat } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import type { AeadInput, CryptoEngine } from './engine.ts'

const { Point } = ed25519
const CURVE_ORDER = Point.Fn.ORDER
const SEED_BYTES = 32

/** The engine in plain JavaScript, for browsers and wherever the native module does not load. */
export const nobleEngine: CryptoEngine = {
  name: 'noble',
  randomBytes: (length) => randomBytes(length),
  sha256(...parts) {
    const hash = sha256.create()
    for (const part of parts) hash.update(part)
    return hash.digest()
  },
  hmac(key, ...parts) {
    const mac = hmac.create(sha256, key)
    for (const part of parts) mac.update(part)
    return mac.digest()
  },
  x25519KeyPair(seed = randomBytes(SEED_BYTES)) {
    const secretKey = Uint8Array.from(seed)
    return { secretKey, publicKey: x25519.getPublicKey(secretKey) }
  },
  x25519(secretKey, publicKey) {
    try {
      return x25519.getSharedSecret(secretKey, publicKey)
    } catch {
      return undefined
    }
  },
  ed25519KeyPair(seed = randomBytes(SEED_BYTES)) {
    const publicKey = ed25519.getPublicKey(seed)
    return { secretKey: concat(seed, publicKey), publicKey }
  },
  sign(secretKey, message) {
    // Only the seed is used, but a key that was cut is refused here as libsodium refuses it.
    if (secretKey.length !== 2 * SEED_BYTES)
      throw new SubrosaError('ERR_KEY_INVALID', 'a signing key has the wrong length')
    return ed25519.sign(message, secretKey.subarray(0, SEED_BYTES))
  },
  verify: verifyStrict,
  aeadSeal: ({ key, nonce, aad, data }) => chacha20poly1305(key, nonce, aad).encrypt(data),
  aeadOpen: (input) => open(chacha20poly1305, input),
  xaeadSeal: ({ key, nonce, aad, data }, out) => xchacha20poly1305(key, nonce, aad).encrypt(data, out),
  xaeadOpen: (input, out) => open(xchacha20poly1305, input, out),
  equal(a, b) {
    if (a.length !== b.length) return false
    let difference = 0
    for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0)
    return difference === 0
  },
  wipe(...secrets) {
    for (const secret of secrets) secret.fill(0)
  },
}

function open(
  cipher: typeof chacha20poly1305,
  { key, nonce, aad, data }: AeadInput,
  out?: Uint8Array,
): Uint8Array | undefined {
  try {
    return cipher(key, nonce, aad).decrypt(data, out)
  } catch {
    return undefined
  }
}

/**
 * noble's own verification accepts more than libsodium's, so the check is built from points: S below the group
 * order, A and R canonical and not of small order, and the cofactorless equation R = SB - kA.
 */
function verifyStrict(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false
  const encodedR = signature.subarray(0, 32)
  const scalar = littleEndian(signature.subarray(32))
  if (scalar >= CURVE_ORDER) return false
  try {
    const pointA = Point.fromBytes(publicKey, false)
    const pointR = Point.fromBytes(encodedR, false)
    if (pointA.isSmallOrder() || pointR.isSmallOrder()) return false
    const challenge = littleEndian(sha512(concat(encodedR, publicKey, message))) % CURVE_ORDER
    const computed = Point.BASE.multiplyUnsafe(scalar).subtract(pointA.multiplyUnsafe(challenge))
    return computed.equals(pointR)
  } catch {
    return false
  }
}

function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] ?? 0)
  return value
}
