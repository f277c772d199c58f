import { changedBytes, load } from './peer.mjs'

/**
 * age files to X25519 recipients (the noble libraries, and WebCrypto where it can).
 *
 * @type {import('./peer.mjs').Peer}
 */
export const age = {
  name: 'age-encryption',
  packages: ['age-encryption'],
  properties: { senderSigned: false, freshEphemeral: true, oneBody: true },
  lacks: 'nothing says who the sender is',
  async prepare({ recipients, payload }) {
    const { Decrypter, Encrypter, generateX25519Identity, identityToRecipient } = await load('age-encryption')
    const identities = []
    for (let n = 0; n < recipients; n++) identities.push(await generateX25519Identity())
    const encrypter = new Encrypter()
    for (const identity of identities) encrypter.addRecipient(await identityToRecipient(identity))
    const decrypter = new Decrypter()
    decrypter.addIdentity(identities.at(-1))
    return {
      isAsync: true,
      seal: () => encrypter.encrypt(payload),
      open: (file) => decrypter.decrypt(file),
      change: changedBytes,
      size: (file) => file.length,
    }
  },
}
