import { describe, expect, it } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import { keySchedule, scheduleContext, sharedSecret } from '../../src/crypto/hpke.ts'
import { engines, readVectors } from './vectors.ts'

interface HpkeVector {
  readonly mode: number
  readonly aead_id: number
  readonly info: string
  readonly skRm: string
  readonly skEm: string
  readonly pkRm: string
  readonly enc: string
  readonly shared_secret: string
  readonly key_schedule_context: string
  readonly key: string
  readonly base_nonce: string
  readonly encryptions: readonly {
    readonly seq: number
    readonly aad: string
    readonly ct: string
    readonly nonce: string
    readonly pt: string
  }[]
}

const BASE_MODE = 0
const CHACHA20_POLY1305 = 3
const vectors = readVectors<readonly HpkeVector[]>('hpke/rfc9180-x25519-hkdfsha256-base-auth.json').filter(
  ({ mode }) => mode === BASE_MODE,
)
const chacha = vectors.filter(({ aead_id }) => aead_id === CHACHA20_POLY1305)

describe.each(engines)('HPKE base mode on $name', (engine) => {
  it('derives the shared secrets of RFC 9180 on both sides, whatever the AEAD', () => {
    const seen: number[] = []
    for (const vector of vectors) {
      const context = { enc: fromHex(vector.enc), recipient: fromHex(vector.pkRm) }
      const sender = { secretKey: fromHex(vector.skEm), publicKey: fromHex(vector.pkRm) }
      const receiver = { secretKey: fromHex(vector.skRm), publicKey: fromHex(vector.enc) }
      expect(sharedSecret(engine, sender, context)).toEqual(fromHex(vector.shared_secret))
      expect(sharedSecret(engine, receiver, context)).toEqual(fromHex(vector.shared_secret))
      seen.push(vector.aead_id)
    }
    expect(seen).toEqual([1, 2, 3, 0xffff])
  })

  it('derives the key and the nonce of RFC 9180 for ChaCha20-Poly1305', () => {
    expect(chacha).toHaveLength(1)
    for (const vector of chacha) {
      const context = scheduleContext(engine, fromHex(vector.info))
      expect(hex(context)).toBe(vector.key_schedule_context)
      const { key, nonce } = keySchedule(engine, fromHex(vector.shared_secret), context)
      expect(hex(key)).toBe(vector.key)
      expect(hex(nonce)).toBe(vector.base_nonce)
    }
  })

  it('seals and opens the messages of RFC 9180', () => {
    let replayed = 0
    for (const vector of chacha) {
      const context = scheduleContext(engine, fromHex(vector.info))
      const { key, nonce: base } = keySchedule(engine, fromHex(vector.shared_secret), context)
      for (const { seq, aad, ct, nonce: expected, pt } of vector.encryptions) {
        const nonce = seq === 0 ? base : nonceOf(base, seq)
        expect(hex(nonce)).toBe(expected)
        const input = { key, nonce, aad: fromHex(aad) }
        expect(hex(engine.aeadSeal({ ...input, data: fromHex(pt) }))).toBe(ct)
        expect(engine.aeadOpen({ ...input, data: fromHex(ct) })).toEqual(fromHex(pt))
        replayed++
      }
    }
    expect(replayed).toBe(10)
  })

  it('gives no shared secret for a public key of low order', () => {
    const { secretKey, publicKey } = engine.x25519KeyPair()
    const context = { enc: new Uint8Array(32), recipient: publicKey }
    expect(sharedSecret(engine, { secretKey, publicKey: new Uint8Array(32) }, context)).toBeUndefined()
  })

  it('gives another secret for another recipient of the same Diffie-Hellman result', () => {
    const own = engine.x25519KeyPair()
    const peer = engine.x25519KeyPair()
    const keys = { secretKey: own.secretKey, publicKey: peer.publicKey }
    const first = sharedSecret(engine, keys, { enc: own.publicKey, recipient: peer.publicKey })
    const second = sharedSecret(engine, keys, { enc: own.publicKey, recipient: new Uint8Array(32) })
    expect(first).not.toEqual(second)
  })

  it('gives another key for another info', () => {
    const secret = new Uint8Array(32).fill(7)
    const a = keySchedule(engine, secret, scheduleContext(engine, Uint8Array.of(1)))
    const b = keySchedule(engine, secret, scheduleContext(engine, Uint8Array.of(2)))
    expect(a.key).not.toEqual(b.key)
    expect(a.nonce).not.toEqual(b.nonce)
  })

  it('leaves the keys that it was given as they were', () => {
    const { secretKey, publicKey } = engine.x25519KeyPair(new Uint8Array(32).fill(3))
    const before = hex(secretKey)
    sharedSecret(engine, { secretKey, publicKey }, { enc: publicKey, recipient: publicKey })
    expect(hex(secretKey)).toBe(before)
  })
})

/** RFC 9180, section 5.2: the base nonce XOR the sequence number. */
function nonceOf(base: Uint8Array, seq: number): Uint8Array {
  const nonce = new Uint8Array(base)
  const view = new DataView(nonce.buffer)
  view.setUint32(8, view.getUint32(8) ^ seq)
  return nonce
}
