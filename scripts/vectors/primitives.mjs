// What the vectors are computed with: node:crypto, and nothing of the library.

import {
  createCipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  sign as signWith,
} from 'node:crypto'

// Encodings

export function wire(type, fields) {
  return Buffer.concat([Buffer.of(0xc1, 0x01, type), pack(fields)])
}

export function pack(value) {
  if (value === undefined || value === null) return Buffer.of(0xc0)
  if (typeof value === 'number') return packUint(value)
  if (typeof value === 'string') {
    const text = Buffer.from(value, 'utf8')
    const head = text.length < 32 ? Buffer.of(0xa0 | text.length) : sized(text.length, [0xd9, 0xda])
    return Buffer.concat([head, text])
  }
  if (Buffer.isBuffer(value)) return Buffer.concat([sized(value.length, [0xc4, 0xc5, 0xc6]), value])
  const head =
    value.length < 16 ? Buffer.of(0x90 | value.length) : Buffer.of(0xdc, value.length >> 8, value.length)
  return Buffer.concat([head, ...value.map(pack)])
}

function packUint(value) {
  if (value < 0x80) return Buffer.of(value)
  if (value < 2 ** 32) return sized(value, [0xcc, 0xcd, 0xce])
  const bytes = Buffer.alloc(9, 0xd3)
  bytes.writeBigInt64BE(BigInt(value), 1)
  return bytes
}

function sized(value, [one, two, four]) {
  if (value < 2 ** 8) return Buffer.of(one, value)
  const bytes = Buffer.alloc(value < 2 ** 16 ? 3 : 5, value < 2 ** 16 ? two : four)
  if (value < 2 ** 16) bytes.writeUInt16BE(value, 1)
  else bytes.writeUInt32BE(value, 1)
  return bytes
}

function nkey(kind, key) {
  const raw = Buffer.concat([Buffer.of({ A: 0, U: 20 << 3 }[kind]), key])
  let crc = 0
  for (const byte of raw) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = ((crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)) & 0xffff
  }
  return base32(Buffer.concat([raw, Buffer.of(crc & 0xff, crc >> 8)]))
}

export function base32(bytes) {
  let bits = ''
  for (const byte of bytes) bits += byte.toString(2).padStart(8, '0')
  let text = ''
  for (let at = 0; at < bits.length; at += 5) {
    text += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(bits.slice(at, at + 5).padEnd(5, '0'), 2)]
  }
  return text
}

// Trees

/** RFC 6962, section 2.1, over leaves that are hashed already. */
export function merkleRoot(leaves) {
  if (leaves.length === 1) return leaves[0]
  const left = largestPowerBelow(leaves.length)
  return sha256(Buffer.of(1), merkleRoot(leaves.slice(0, left)), merkleRoot(leaves.slice(left)))
}

export function merklePath(index, leaves) {
  if (leaves.length === 1) return []
  const left = largestPowerBelow(leaves.length)
  return index < left
    ? [...merklePath(index, leaves.slice(0, left)), merkleRoot(leaves.slice(left))]
    : [...merklePath(index - left, leaves.slice(left)), merkleRoot(leaves.slice(0, left))]
}

function largestPowerBelow(count) {
  let power = 1
  while (power * 2 < count) power *= 2
  return power
}

export function bigEndian(size, value) {
  const bytes = Buffer.alloc(size)
  for (let i = size - 1, rest = BigInt(value); i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn)
  return bytes
}

// Encodings that nobody writes

/** The encoding of an array in which one item is replaced by these bytes. */
export function withBytes(fields, place, bytes) {
  const [head] = pack(fields)
  return Buffer.concat([Buffer.of(head), ...fields.map((field, i) => (i === place ? bytes : pack(field)))])
}

export function hexBytes(text) {
  return Buffer.from(text, 'hex')
}

/** An integer as uint 64, which is never written. */
export function uint64(value) {
  const bytes = Buffer.alloc(9, 0xcf)
  bytes.writeBigUInt64BE(BigInt(value), 1)
  return bytes
}

// Primitives

/** Bytes that are fixed for good: SHA-256 of a name and a counter. */
export function fixed(name, length) {
  const blocks = []
  for (let i = 0; blocks.length * 32 < length; i++)
    blocks.push(sha256(Buffer.from(`subrosa vector ${name} ${i}`)))
  return Buffer.concat(blocks).subarray(0, length)
}

export function labelled(name) {
  return Buffer.from(`subrosa/1 ${name}\0`)
}

export function sha256(...parts) {
  return createHash('sha256').update(Buffer.concat(parts)).digest()
}

export function hmac(key, data) {
  return createHmac('sha256', key).update(data).digest()
}

export function seal({ key, nonce, aad, plaintext }) {
  const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
  cipher.setAAD(aad, { plaintextLength: plaintext.length })
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** HChaCha20 (draft-irtf-cfrg-xchacha, section 2.2): the rounds of ChaCha20 (RFC 8439) without the last addition. */
export function hchacha20(key, nonce) {
  const state = new Uint32Array(16)
  state.set([0x61707865, 0x3320646e, 0x79622d32, 0x6b206574])
  for (let i = 0; i < 8; i++) state[4 + i] = key.readUInt32LE(4 * i)
  for (let i = 0; i < 4; i++) state[12 + i] = nonce.readUInt32LE(4 * i)
  const mix = (a, b, c, bits) => {
    state[a] += state[b]
    const mixed = state[c] ^ state[a]
    state[c] = (mixed << bits) | (mixed >>> (32 - bits))
  }
  const quarter = (a, b, c, d) => {
    mix(a, b, d, 16)
    mix(c, d, b, 12)
    mix(a, b, d, 8)
    mix(c, d, b, 7)
  }
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarter(i, 4 + i, 8 + i, 12 + i)
    for (let i = 0; i < 4; i++) quarter(i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4))
  }
  const subkey = Buffer.alloc(32)
  for (let i = 0; i < 4; i++) {
    subkey.writeUInt32LE(state[i], 4 * i)
    subkey.writeUInt32LE(state[12 + i], 16 + 4 * i)
  }
  return subkey
}

export function signer(kind, name) {
  const key = ed25519(fixed(`${name} identity`, 32))
  return { ...key, public: nkey(kind, key.public) }
}

export function ed25519(seed) {
  const key = privateKey('302e020100300506032b657004220420', seed)
  return { seed, public: rawPublicKey(key), sign: (message) => signWith(null, message, key) }
}

export function x25519(secret) {
  const key = privateKey('302e020100300506032b656e04220420', secret)
  const agree = (publicKey) =>
    diffieHellman({
      privateKey: key,
      publicKey: createPublicKey({
        key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), publicKey]),
        format: 'der',
        type: 'spki',
      }),
    })
  return { secret, public: rawPublicKey(key), agree }
}

function privateKey(derPrefix, secret) {
  const key = Buffer.concat([Buffer.from(derPrefix, 'hex'), secret])
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' })
}

function rawPublicKey(key) {
  return createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32)
}
