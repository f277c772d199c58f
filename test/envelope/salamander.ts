import { chacha20 } from '@noble/ciphers/chacha.js'
import { concat } from '../../src/base/bytes.ts'

const P = 2n ** 130n - 5n
const BLOCK = 2n ** 128n
const NONCE = new Uint8Array(12)

/** How many bytes at the end of the first plaintext are not the caller's: a counter and two solved blocks. */
export const FREE_BYTES = 48

/**
 * One ciphertext with one tag that ChaCha20-Poly1305 with a zero nonce accepts under two keys (Dodis et al., "Fast
 * Message Franking", 2018, call it an invisible salamander). Under the first key it opens to `plaintext` and then
 * {@link FREE_BYTES} bytes of junk, under the second to junk alone. `plaintext` and `aad` are whole blocks of 16.
 */
export function openUnderTwoKeys(
  keys: { readonly first: Uint8Array; readonly second: Uint8Array },
  { plaintext, aad }: { readonly plaintext: Uint8Array; readonly aad: Uint8Array },
): Uint8Array {
  const [first, second] = [poly1305Key(keys.first), poly1305Key(keys.second)]
  // Two blocks solve the two equations modulo p, which has two bits more than a block: one in sixteen fits.
  for (let attempt = 0n; ; attempt++) {
    const head = chacha20(keys.first, NONCE, concat(plaintext, littleEndianBytes(attempt, 16)), undefined, 1)
    const tag = attempt
    const tail = solve(first, second, { aad, head, tag })
    if (tail !== undefined) return concat(head, tail, littleEndianBytes(tag, 16))
  }
}

interface OneTimeKey {
  readonly r: bigint
  readonly s: bigint
}

interface Equation {
  readonly aad: Uint8Array
  readonly head: Uint8Array
  readonly tag: bigint
}

/** The two blocks after `head` for which both keys give the tag; `undefined` where the solution is no such blocks. */
function solve(first: OneTimeKey, second: OneTimeKey, equation: Equation): Uint8Array | undefined {
  const [sumA, sumB] = [wantedSum(first, equation), wantedSum(second, equation)]
  const x = mod((sumA - sumB) * inverse(mod(first.r - second.r)))
  const y = mod(sumA - x * first.r)
  if (x < BLOCK || x >= 2n * BLOCK || y < BLOCK || y >= 2n * BLOCK) return undefined
  return concat(littleEndianBytes(x - BLOCK, 16), littleEndianBytes(y - BLOCK, 16))
}

/**
 * What x · r + y must be. With `a` the accumulator over aad and head, Poly1305 ends at
 * (a + x) · r³ + y · r² + lengths · r = tag - s.
 */
function wantedSum({ r, s }: OneTimeKey, { aad, head, tag }: Equation): bigint {
  const end = tag >= s ? tag - s : tag - s + BLOCK
  const lengths = concat(
    littleEndianBytes(BigInt(aad.length), 8),
    littleEndianBytes(BigInt(head.length + 32), 8),
  )
  let accumulator = 0n
  for (const block of blocks(concat(aad, head))) accumulator = mod((accumulator + block) * r)
  const [lengthBlock = 0n] = blocks(lengths)
  return mod((end - lengthBlock * r) * inverse(mod(r * r)) - accumulator * r)
}

function poly1305Key(key: Uint8Array): OneTimeKey {
  const bytes = chacha20(key, NONCE, new Uint8Array(32), undefined, 0)
  const clamp = 0x0ffffffc0ffffffc0ffffffc0fffffffn
  return { r: littleEndian(bytes.subarray(0, 16)) & clamp, s: littleEndian(bytes.subarray(16)) }
}

function blocks(bytes: Uint8Array): readonly bigint[] {
  const found: bigint[] = []
  for (let at = 0; at < bytes.length; at += 16) found.push(littleEndian(bytes.subarray(at, at + 16)) + BLOCK)
  return found
}

function mod(value: bigint): bigint {
  const rest = value % P
  return rest < 0n ? rest + P : rest
}

/** By Fermat: p is a prime. */
function inverse(value: bigint): bigint {
  let result = 1n
  let base = value
  for (let exponent = P - 2n; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = mod(result * base)
    base = mod(base * base)
  }
  return result
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

function littleEndianBytes(value: bigint, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn))
}
