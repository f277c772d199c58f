import { sign as edSign, verify as edVerify, generateKeyPairSync } from 'node:crypto'
import { changedBytes, load } from './peer.mjs'

const SIGNATURE_BYTES = 64

/**
 * HPKE by hand: the content and an Ed25519 signature (node:crypto) in an HPKE base-mode message for each recipient
 * (DHKEM(X25519), HKDF-SHA256, AES-128-GCM), with WebCrypto.
 *
 * @type {import('./peer.mjs').Peer}
 */
export const hpke = {
  name: '@hpke/core + Ed25519',
  packages: ['@hpke/core'],
  properties: { senderSigned: true, freshEphemeral: true, oneBody: false },
  lacks: 'the content is encrypted for each recipient; the signature does not cover whom it is for',
  async prepare({ recipients, payload }) {
    const { Aes128Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } = await load('@hpke/core')
    const suite = new CipherSuite({
      kem: new DhkemX25519HkdfSha256(),
      kdf: new HkdfSha256(),
      aead: new Aes128Gcm(),
    })
    const signer = generateKeyPairSync('ed25519')
    /** @type {any[]} */
    const keys = []
    for (let n = 0; n < recipients; n++) keys.push(await suite.kem.generateKeyPair())
    const own = keys.at(-1)
    return {
      isAsync: true,
      async seal() {
        const signed = Buffer.concat([edSign(null, payload, signer.privateKey), payload])
        const messages = []
        for (const { publicKey } of keys)
          messages.push(await suite.seal({ recipientPublicKey: publicKey }, signed))
        return messages
      },
      async open(messages) {
        const { enc, ct } = messages.at(-1)
        const signed = Buffer.from(await suite.open({ recipientKey: own, enc }, ct))
        const content = signed.subarray(SIGNATURE_BYTES)
        if (!edVerify(null, content, signer.publicKey, signed.subarray(0, SIGNATURE_BYTES)))
          throw new Error('the signature does not hold')
        return content
      },
      change(messages) {
        const { enc, ct } = messages.at(-1)
        return changedBytes(new Uint8Array(ct)).map((changed) => [{ enc, ct: changed }])
      },
      size: (messages) =>
        messages.reduce(
          (/** @type {number} */ sum, /** @type {any} */ { enc, ct }) => sum + enc.byteLength + ct.byteLength,
          0,
        ),
    }
  },
}
