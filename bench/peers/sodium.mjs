import { createRequire } from 'node:module'
import { changedBytes } from './peer.mjs'

const KEY_BYTES = 32
const SIGNATURE_BYTES = 64
const SEAL_BYTES = 48

/**
 * libsodium called directly: an Ed25519 signature and the content in a sealed box for each recipient (fresh X25519 key
 * pair, XSalsa20-Poly1305). The same native library that this package's engine calls.
 *
 * @type {import('./peer.mjs').Peer}
 */
export const sodiumBoxes = {
  name: 'libsodium sealed box + Ed25519',
  packages: ['sodium-native'],
  properties: { senderSigned: true, freshEphemeral: true, oneBody: false },
  lacks:
    'the content is encrypted for each recipient; the signature does not cover whom it is for; no header, subject, time or replay protection',
  async prepare({ recipients, payload }) {
    const sodium = createRequire(import.meta.url)('sodium-native')
    const signer = { publicKey: new Uint8Array(KEY_BYTES), secretKey: new Uint8Array(2 * KEY_BYTES) }
    sodium.crypto_sign_keypair(signer.publicKey, signer.secretKey)
    const keys = Array.from({ length: recipients }, () => {
      const pair = { publicKey: new Uint8Array(KEY_BYTES), secretKey: new Uint8Array(KEY_BYTES) }
      sodium.crypto_box_keypair(pair.publicKey, pair.secretKey)
      return pair
    })
    const own = keys.at(-1)
    return {
      isAsync: false,
      seal() {
        const signed = new Uint8Array(SIGNATURE_BYTES + payload.length)
        sodium.crypto_sign(signed, payload, signer.secretKey)
        return keys.map(({ publicKey }) => {
          const box = new Uint8Array(signed.length + SEAL_BYTES)
          sodium.crypto_box_seal(box, signed, publicKey)
          return box
        })
      },
      open(boxes) {
        const box = boxes.at(-1)
        const signed = new Uint8Array(box.length - SEAL_BYTES)
        const isOpen = sodium.crypto_box_seal_open(signed, box, own?.publicKey, own?.secretKey)
        const content = new Uint8Array(signed.length - SIGNATURE_BYTES)
        if (!isOpen || !sodium.crypto_sign_open(content, signed, signer.publicKey))
          throw new Error('the box does not open')
        return content
      },
      change: (boxes) => changedBytes(boxes.at(-1)).map((box) => [box]),
      size: (boxes) =>
        boxes.reduce((/** @type {number} */ sum, /** @type {Uint8Array} */ box) => sum + box.length, 0),
    }
  },
}
