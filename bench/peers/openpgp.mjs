import { changedBytes, load } from './peer.mjs'

/**
 * OpenPGP messages, signed and encrypted, with keys on Curve25519 (version 6, AEAD).
 *
 * @type {import('./peer.mjs').Peer}
 */
export const openpgp = {
  name: 'openpgp',
  packages: ['openpgp'],
  properties: { senderSigned: true, freshEphemeral: true, oneBody: true },
  lacks: 'the signature covers whom it is for only where the user asks for it',
  async prepare({ recipients, payload }) {
    const { createMessage, decrypt, encrypt, generateKey, readMessage } = await load('openpgp')
    const config = { aeadProtect: true, showVersion: false, showComment: false }
    const newKey = (/** @type {string} */ name) =>
      generateKey({
        type: 'curve25519',
        userIDs: [{ name }],
        format: 'object',
        config: { ...config, v6Keys: true },
      })
    const signer = await newKey('sender')
    const keys = []
    for (let n = 0; n < recipients; n++) keys.push(await newKey(`recipient ${n}`))
    const own = keys.at(-1)
    const encryptionKeys = keys.map(({ publicKey }) => publicKey)
    return {
      isAsync: true,
      seal: async () =>
        encrypt({
          message: await createMessage({ binary: payload }),
          encryptionKeys,
          signingKeys: signer.privateKey,
          format: 'binary',
          config,
        }),
      async open(bytes) {
        const { data, signatures } = await decrypt({
          message: await readMessage({ binaryMessage: bytes }),
          decryptionKeys: own.privateKey,
          verificationKeys: signer.publicKey,
          format: 'binary',
          config,
        })
        await signatures[0].verified
        return data
      },
      // What comes before concerns other recipients too.
      change: (bytes) => changedBytes(bytes.subarray(-payload.length)).map((end) => joined(bytes, end)),
      size: (bytes) => bytes.length,
    }
  },
}

/**
 * @param {Uint8Array} bytes
 * @param {Uint8Array} end what takes the place of as many bytes at its end
 */
function joined(bytes, end) {
  return Buffer.concat([bytes.subarray(0, -end.length), end])
}
