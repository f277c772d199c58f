import { randomBytes } from 'node:crypto'

/**
 * @typedef {import('@nats-io/transport-node').NatsConnection} NatsConnection
 * @typedef {import('../../../dist/bus/connection.js').SecureConnection} SecureConnection
 *
 * @typedef {{
 *   readonly subject: string, readonly reply: string | undefined, readonly data: Uint8Array,
 *   readonly sender: { readonly name: string, readonly instance: string },
 *   readonly claims: { readonly identity: string, readonly expiresAt: number },
 *   readonly respond: (payload: Uint8Array) => boolean,
 * }} PlainMessage
 */

const INSTANCE_BYTES = 16

/**
 * As much of a sealed connection as MCP sessions use, with nothing sealed: payloads go as they are, after the name of
 * who says to have sent them. The code of the sessions runs on it unchanged, so that what is compared differs in the
 * sealing alone. It proves nothing to anybody, and is of no use but here.
 *
 * @param {NatsConnection} nc
 * @param {string} name
 * @returns {SecureConnection}
 */
export function plainBus(nc, name) {
  const instance = randomBytes(INSTANCE_BYTES).toString('hex')
  const address = Buffer.from(`${name}/${instance}`)
  const own = Buffer.concat([Buffer.of(address.length), address])
  const from = (/** @type {Uint8Array} */ payload) => Buffer.concat([own, payload])

  /**
   * @param {import('@nats-io/transport-node').Msg} message
   * @returns {PlainMessage}
   */
  const read = (message) => {
    const { subject, reply, data } = message
    const end = 1 + (data[0] ?? 0)
    const [sender = '', senderInstance = ''] = Buffer.from(data.subarray(1, end)).toString().split('/')
    return {
      subject,
      reply,
      data: data.subarray(end),
      sender: { name: sender, instance: senderInstance },
      claims: { identity: '', expiresAt: 0 },
      respond: (payload) => message.respond(from(payload)),
    }
  }

  const bus = {
    name,
    instance,
    flush: () => nc.flush(),
    /** @param {string} subject @param {Uint8Array} payload */
    publish(subject, payload) {
      nc.publish(subject, from(payload))
    },
    /** @param {string} subject @param {Uint8Array} payload @param {{ readonly timeout: number }} options */
    async request(subject, payload, { timeout }) {
      return read(await nc.request(subject, from(payload), { timeout }))
    },
    /**
     * @param {string} subject
     * @param {{ readonly queue?: string, readonly callback: (error: Error | undefined, message: PlainMessage) => void }} options
     */
    subscribe(subject, { queue, callback }) {
      return nc.subscribe(subject, {
        ...(queue !== undefined && { queue }),
        callback: (_error, message) => callback(undefined, read(message)),
      })
    },
    /** Nobody is revoked here. */
    async *status() {},
  }
  return /** @type {any} */ (bus)
}
