import { load } from './peer.mjs'

const ALGORITHM = 'ECDH-ES+A256KW'

/**
 * A JWS (Ed25519) inside a JWE in general serialization (ECDH-ES+A256KW on X25519, A256GCM), with WebCrypto.
 *
 * @type {import('./peer.mjs').Peer}
 */
export const jose = {
  name: 'jose JWE + JWS',
  packages: ['jose'],
  properties: { senderSigned: true, freshEphemeral: true, oneBody: true },
  lacks: 'the signature does not cover the recipients, so one of them can encrypt it anew for somebody else',
  async prepare({ recipients, payload }) {
    const { CompactSign, compactVerify, GeneralEncrypt, generalDecrypt, generateKeyPair } = await load('jose')
    const signer = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
    /** @type {any[]} */
    const keys = []
    for (let n = 0; n < recipients; n++) keys.push(await generateKeyPair(ALGORITHM, { crv: 'X25519' }))
    const own = keys.at(-1)
    return {
      isAsync: true,
      async seal() {
        const signed = await new CompactSign(payload)
          .setProtectedHeader({ alg: 'EdDSA' })
          .sign(signer.privateKey)
        const encrypt = new GeneralEncrypt(new TextEncoder().encode(signed)).setProtectedHeader({
          enc: 'A256GCM',
        })
        for (const { publicKey } of keys)
          encrypt.addRecipient(publicKey).setUnprotectedHeader({ alg: ALGORITHM })
        return JSON.stringify(await encrypt.encrypt())
      },
      async open(text) {
        const jwe = JSON.parse(text)
        // A recipient knows by a key id which entry is its own: here it is the last.
        const { plaintext } = await generalDecrypt(
          { ...jwe, recipients: jwe.recipients.slice(-1) },
          own.privateKey,
        )
        const verified = await compactVerify(new TextDecoder().decode(plaintext), signer.publicKey)
        return verified.payload
      },
      change(text) {
        const jwe = JSON.parse(text)
        const swapped = (/** @type {string} */ field) =>
          `${field.startsWith('A') ? 'B' : 'A'}${field.slice(1)}`
        const last = jwe.recipients.at(-1)
        return [
          { ...jwe, ciphertext: swapped(jwe.ciphertext) },
          { ...jwe, tag: swapped(jwe.tag) },
          { ...jwe, recipients: [{ ...last, encrypted_key: swapped(last.encrypted_key) }] },
        ].map((changed) => JSON.stringify(changed))
      },
      size: (text) => text.length,
    }
  },
}
