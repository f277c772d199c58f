import { fromHex } from '../base/bytes.ts'

/**
 * The X25519 public keys with which every secret key gives a result of zeros, the top bit aside: the list that libsodium
 * refuses (`has_small_order` in crypto_scalarmult/curve25519/ref10/x25519_ref10.c). On the curve and on its twist five
 * values of u have an order that divides 8; 0 and 1 have a second encoding below 2^255.
 */
const LOW_ORDER_KEYS: readonly Uint8Array[] = [
  // u = 0, order 2
  '0000000000000000000000000000000000000000000000000000000000000000',
  // u = 1, order 4
  '0100000000000000000000000000000000000000000000000000000000000000',
  // order 8
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  // order 8
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  // u = p - 1, order 4 on the twist
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  // u = p, which is 0
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  // u = p + 1, which is 1
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(fromHex)

const LAST_BYTE = 31
const WITHOUT_TOP_BIT = 0x7f

/**
 * Whether an X25519 public key (32 bytes) has low order, so that nothing can be sealed to it. A comparison of public
 * bytes: it costs nothing beside a key agreement. SPEC, "X25519".
 *
 * @example
 * ```ts
 * isLowOrder(new Uint8Array(32)) // true
 * ```
 */
export function isLowOrder(publicKey: Uint8Array): boolean {
  return LOW_ORDER_KEYS.some((known) => isSameKey(known, publicKey))
}

/** X25519 ignores the top bit, so the comparison does too. */
function isSameKey(known: Uint8Array, publicKey: Uint8Array): boolean {
  for (let i = 0; i < LAST_BYTE; i++) if (known[i] !== publicKey[i]) return false
  return known[LAST_BYTE] === ((publicKey[LAST_BYTE] ?? 0) & WITHOUT_TOP_BIT)
}
