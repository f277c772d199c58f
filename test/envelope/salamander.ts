import { concat } from '../../src/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'

const P = 2n ** 130n - 5n
const BLOCK = 2n ** 128n

/**
 * One ciphertext with a tag that ChaCha20-Poly1305 accepts under two keys (Dodis et al., "Fast Message Franking",
 * 2018, call it an invisible salamander): under the first key it opens to `plaintext` and then 32 bytes that solve
 * the two Poly1305 equations, under the second to junk. `plaintext` and `aad` are whole blocks of 16 bytes.
 */
export function openUnderTwoKeys(
  engine: CryptoEngine,
  keys: readonly [Uint8Array, Uint8Array],
  { plaintext, aad }: { readonly plaintext: Uint8Array; readonly aad: Uint8Array },
): Uint8Array {
  const [first, second] = keys.map((key) => poly1305Key(engine, key))
  const stream = keyStream(engine, keys[0], plaintext.length + 16)
  if (first === undefined || second === undefined) throw new Error('two keys are needed')
  for (let attempt = 0; ; attempt++) {
    // One block of the ciphertext varies until the solution fits into two blocks: one in sixteen does.
    const open = concat(plaintext, littleEndianBytes(BigInt(attempt), 16))
    const head = open.map((byte, i) => byte ^ (stream[i] ?? 0))
    const tag = BigInt(attempt + 1)
    const tail = solve([first, second], { aad, head, tag })
    if (tail !== undefined) return concat(head, tail, littleEndianBytes(tag, 16))
  }
}

interface OneTimeKey {
  readonly r: bigint
  readonly s: bigint
}

/** The two blocks after `head` for which both keys give the tag, or `undefined` where they are no 16-byte blocks. */
function solve(
  [a, b]: readonly [OneTimeKey, OneTimeKey],
  message: { readonly aad: Uint8Array; readonly head: Uint8Array; readonly tag: bigint },
): Uint8Array | undefined {
  const { aad, head, tag } = message
  const lengths = concat(
    littleEndianBytes(BigInt(aad.length), 8),
    littleEndianBytes(BigInt(head.length + 32), 8),
  )
  // tag - s = ((known · r + x) · r + y) · r² + lengths · r, where known is the sum over aad and head.
  const rightSide = ({ r, s }: OneTimeKey): bigint => {
    const known = horner(r, concat(aad, head))
    const sum = mod(tag - s + (tag < s ? BLOCK : 0n))
    const withoutLengths = mod(sum - blockOf(lengths) * r)
    return mod(withoutLengths * inverse(mod(r * r)) - known * mod(r * r))
  }
  // horner() already multiplied by r once for each block, so x · r + y remains.
  const [wantedA, wantedB] = [rightSide(a), rightSide(b)]
  const x = mod((wantedA - wantedB) * inverse(mod(a.r - b.r)))
  const y = mod(wantedA - x * a.r)
  if (x < BLOCK || x >= 2n * BLOCK || y < BLOCK || y >= 2n * BLOCK) return undefined
  return concat(littleEndianBytes(x - BLOCK, 16), littleEndianBytes(y - BLOCK, 16))
}

/** The accumulator of Poly1305 after whole blocks, before the last multiplication. */
function horner(r: bigint, bytes: Uint8Array): bigint {
  let sum = 0n
  for (let at = 0; at < bytes.length; at += 16) sum = mod(sum * r + blockOf(bytes.subarray(at, at + 16)))
  return sum
}

function poly1305Key(engine: CryptoEngine, key: Uint8Array): OneTimeKey {
  const bytes = chachaBlockZero(engine, key)
  const clamp = 0x0ffffffc0ffffffc0ffffffc0fffffffn
  return { r: littleEndian(bytes.subarray(0, 16)) & clamp, s: littleEndian(bytes.subarray(16, 32)) }
}

function keyStream(engine: CryptoEngine, key: Uint8Array, length: number): Uint8Array {
  const input = { key, nonce: new Uint8Array(12), aad: new Uint8Array(0), data: new Uint8Array(length) }
  return engine.aeadSeal(input).subarray(0, length)
}
