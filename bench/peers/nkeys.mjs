import { changedBytes, load } from './peer.mjs'

/**
 * The encryption that NATS's own nkeys offer: `xkv1` boxes (X25519, XSalsa20-Poly1305, in JavaScript by tweetnacl).
 *
 * @type {import('./peer.mjs').Peer}
 */
export const nkeys = {
  name: 'nkeys xkv1',
  packages: ['@nats-io/nkeys'],
  properties: { senderSigned: false, freshEphemeral: false, oneBody: false },
  lacks:
    'the sender is implied by a static key, so the recipient could have written the message itself; whoever gets either static key opens everything',
  async prepare({ recipients, payload }) {
    const { createCurve } = await load('@nats-io/nkeys')
    const sender = createCurve()
    const keys = Array.from({ length: recipients }, () => createCurve())
    const publicKeys = keys.map((key) => key.getPublicKey())
    const own = keys.at(-1)
    return {
      isAsync: false,
      seal: () => publicKeys.map((key) => sender.seal(payload, key)),
      open(boxes) {
        const content = own?.open(boxes.at(-1), sender.getPublicKey())
        if (!content) throw new Error('the box does not open')
        return content
      },
      change: (boxes) => changedBytes(boxes.at(-1)).map((box) => [box]),
      size: (boxes) =>
        boxes.reduce((/** @type {number} */ sum, /** @type {Uint8Array} */ box) => sum + box.length, 0),
    }
  },
}
