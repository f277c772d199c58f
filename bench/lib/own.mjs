import { keyId, wrapContext } from '../../dist/envelope/keys.js'
import { unseal, verifySender } from '../../dist/envelope/open.js'
import { seal } from '../../dist/envelope/seal.js'
import { FrameOpener, FrameSealer } from '../../dist/session/frame-cipher.js'
import { IncomingSession } from '../../dist/session/incoming.js'
import { OutgoingSession } from '../../dist/session/outgoing.js'
import { encodeFrameMeta, encodePayloads, readFrameHeader } from '../../dist/wire/frame.js'
import { SessionMode } from '../../dist/wire/handshake.js'
import { WireType } from '../../dist/wire/preamble.js'

/**
 * `--against` takes makeRecipients, messageWork and frameWork from the copy of this file in each checkout, so their
 * arguments stay as they are, whatever changes below them. It stays JavaScript: what is timed goes through no
 * transpiler.
 *
 * @typedef {import('../../dist/crypto/engine.js').CryptoEngine} CryptoEngine
 */

const SUITE = 1
const SUBJECT = 'orders.new'
/** As many bytes as a message's signature covers: label, type, suite, header hash, commitment, content hash. */
const SIGNED_BYTES = 112

/**
 * Recipients' keys in one epoch, with what the directory keeps of each between messages.
 *
 * @param {CryptoEngine} engine
 * @param {number} count
 */
export function makeRecipients(engine, count) {
  const epochHash = engine.randomBytes(32)
  return Array.from({ length: count }, () => {
    const announcementHash = engine.randomBytes(32)
    const kid = keyId(engine, { suite: SUITE, use: 0, announcementHash })
    const context = wrapContext(engine, SUITE, { epochHash, announcementHash })
    return { ...engine.x25519KeyPair(), kid, context, suite: SUITE, epoch: 1, epochHash }
  })
}

/**
 * Sealing self-contained messages and opening them, as the bus does both: everything between the content and the bytes
 * to publish, and everything from the bytes that arrived to the proved sender. The last recipient opens.
 *
 * @param {CryptoEngine} engine
 * @param {{ readonly recipients: ReturnType<typeof makeRecipients>, readonly payload: Uint8Array }} of
 */
export function messageWork(engine, { recipients, payload }) {
  const signer = engine.ed25519KeyPair()
  const own = recipients.slice(-1)
  const resolver = { ownKeys: () => own }
  const content = {
    sender: engine.randomBytes(32),
    seq: 1,
    subject: SUBJECT,
    reply: undefined,
    inReplyTo: undefined,
    ttlMs: 0,
    headers: [],
    clearHeaders: [],
    payload,
  }
  return {
    seal: () =>
      seal(engine, content, {
        type: WireType.sealed,
        epoch: 1,
        recipients,
        messageKey: signer.secretKey,
        sentAtMs: Date.now(),
        padding: 'padme',
      }).bytes,
    open(/** @type {Uint8Array} */ bytes) {
      const opened = unseal(engine, bytes, resolver)
      if (opened.outcome !== 'opened' || !verifySender(engine, opened.message, signer.publicKey))
        throw new Error('the message was not opened')
      return opened.message.content.payload
    },
  }
}

/**
 * The public-key operations that no such message can do without: a fresh key pair, an agreement and a signature; an
 * agreement and a verification.
 *
 * @param {CryptoEngine} engine
 */
export function primitiveWork(engine) {
  const recipient = engine.x25519KeyPair()
  const ephemeral = engine.x25519KeyPair()
  const signer = engine.ed25519KeyPair()
  const message = engine.randomBytes(SIGNED_BYTES)
  const signature = engine.sign(signer.secretKey, message)
  if (!engine.verify(signer.publicKey, message, signature)) throw new Error('the signature does not verify')
  return {
    seal() {
      const fresh = engine.x25519KeyPair()
      engine.x25519(fresh.secretKey, recipient.publicKey)
      engine.sign(signer.secretKey, message)
    },
    open() {
      engine.x25519(recipient.secretKey, ephemeral.publicKey)
      engine.verify(signer.publicKey, message, signature)
    },
  }
}

/**
 * One key agreement with each of these recipients, and nothing else.
 *
 * @param {CryptoEngine} engine
 * @param {ReturnType<typeof makeRecipients>} recipients
 */
export function agreements(engine, recipients) {
  const { secretKey } = engine.x25519KeyPair()
  return () => {
    for (const { publicKey } of recipients) engine.x25519(secretKey, publicKey)
  }
}

/**
 * Sealing the frames of a session that is open, and opening them: `batch` frames share a signature in the mode
 * `session`.
 *
 * @param {CryptoEngine} engine
 * @param {{ readonly mode: 'session' | 'channel', readonly batch: number, readonly payload: Uint8Array }} of
 */
export function frameWork(engine, { mode, batch, payload }) {
  const signer = engine.ed25519KeyPair()
  const key = new Uint8Array(new ArrayBuffer(32))
  key.set(engine.randomBytes(key.length))
  const secrets = { sid: engine.randomBytes(16), key, binding: engine.randomBytes(80) }
  const sessionMode = mode === 'channel' ? SessionMode.channel : SessionMode.signed
  const sealer = new FrameSealer(engine, 'padme')
  const opener = new FrameOpener(engine)
  const outgoing = new OutgoingSession(engine, {
    secrets,
    mode: sessionMode,
    maxFrames: Number.MAX_SAFE_INTEGER,
    expiresAtMs: Number.POSITIVE_INFINITY,
    messageKey: signer.secretKey,
  })
  const incoming = new IncomingSession(engine, {
    secrets,
    handshake: {
      mode: sessionMode,
      maxFrames: Number.MAX_SAFE_INTEGER,
      lifetimeMs: Number.MAX_SAFE_INTEGER,
    },
    sentAtMs: Date.now(),
    messageKey: signer.publicKey,
  })
  const meta = encodeFrameMeta({
    ttlMs: 0,
    subject: SUBJECT,
    reply: undefined,
    inReplyTo: undefined,
    headers: [],
    clearHeaders: [],
  })
  return {
    seal() {
      const frames = []
      for (let n = 0; n < batch; n++)
        frames.push({ ...outgoing.takeNumber(Date.now()), content: [meta, ...encodePayloads([payload])] })
      return outgoing.seal(sealer, frames)
    },
    open(/** @type {readonly Uint8Array[]} */ frames) {
      let last
      for (const frame of frames) {
        if (!incoming.takes(readFrameHeader(frame))) throw new Error('the frame is not one of the session')
        const opened = incoming.open(opener, frame, (content) => content)
        if (typeof opened === 'string') throw new Error(`the frame was not opened: ${opened}`)
        last = opened.payloads.at(-1)
      }
      return last
    },
  }
}
