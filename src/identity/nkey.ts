import { base32nopad } from '@scure/base'
import { concat } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'

/** The kinds of nkey that this package meets, by the first letter of their public form. */
export type NkeyKind = 'O' | 'A' | 'U'

// nkeys: github.com/nats-io/nkeys, strkey.go.
const PREFIX: Readonly<Record<NkeyKind, number>> = { O: 14 << 3, A: 0, U: 20 << 3 }
const SEED_PREFIX = 18 << 3
const KEY_BYTES = 32
const CHECKSUM_BYTES = 2

/** The 56-character public form of an Ed25519 public key. */
export function encodeNkey(kind: NkeyKind, publicKey: Uint8Array): string {
  return withChecksum(concat(Uint8Array.of(PREFIX[kind]), publicKey))
}

/**
 * The 32 bytes of a public nkey of this kind.
 *
 * @throws SubrosaError ERR_KEY_INVALID
 */
export function decodeNkey(kind: NkeyKind, text: string): Uint8Array {
  const raw = withoutChecksum(text, 1 + KEY_BYTES)
  if (raw === undefined || raw[0] !== PREFIX[kind]) {
    throw new SubrosaError('ERR_KEY_INVALID', `not a public nkey of kind ${kind}`)
  }
  return raw.slice(1)
}

/** The `S…` form of a 32-byte seed. It is a secret. */
export function encodeSeed(kind: NkeyKind, seed: Uint8Array): string {
  const prefix = PREFIX[kind]
  const raw = concat(Uint8Array.of(SEED_PREFIX | (prefix >> 5), (prefix & 31) << 3), seed)
  try {
    return withChecksum(raw)
  } finally {
    raw.fill(0)
  }
}

/**
 * The 32 bytes of a seed of this kind, for the caller to wipe. No other copy of them is left.
 *
 * @throws SubrosaError ERR_KEY_INVALID; the message never quotes the text.
 */
export function decodeSeed(kind: NkeyKind, text: string): Uint8Array {
  const raw = withoutChecksum(text, 2 + KEY_BYTES)
  const prefix = PREFIX[kind]
  try {
    if (raw === undefined || raw[0] !== (SEED_PREFIX | (prefix >> 5)) || raw[1] !== (prefix & 31) << 3) {
      throw new SubrosaError('ERR_KEY_INVALID', `not an nkey seed of kind ${kind}`)
    }
    return raw.slice(2)
  } finally {
    raw?.fill(0)
  }
}

/** Of public keys and of seeds: what it makes on the way is wiped. */
function withChecksum(raw: Uint8Array): string {
  const checksum = crc16(raw)
  const whole = concat(raw, Uint8Array.of(checksum & 0xff, checksum >> 8))
  try {
    return base32nopad.encode(whole)
  } finally {
    whole.fill(0)
  }
}

function withoutChecksum(text: string, length: number): Uint8Array | undefined {
  let raw: Uint8Array
  try {
    raw = base32nopad.decode(text)
  } catch {
    return undefined
  }
  if (raw.length !== length + CHECKSUM_BYTES) return undefined
  const payload = raw.subarray(0, length)
  const checksum = (raw[length] ?? 0) | ((raw[length + 1] ?? 0) << 8)
  return crc16(payload) === checksum ? payload : undefined
}

/** CRC-16/XMODEM, the checksum of nkeys. */
function crc16(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc
}
