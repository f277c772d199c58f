import { concat } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import type { CryptoEngine, KeyPair } from '../../src/crypto/engine.ts'
import type { Padding } from '../../src/crypto/padding.ts'
import type { OwnKey, SessionSecrets } from '../../src/envelope/keys.ts'
import { unseal, verifySender } from '../../src/envelope/open.ts'
import { seal } from '../../src/envelope/seal.ts'
import { FrameOpener, FrameSealer } from '../../src/session/frame-cipher.ts'
import { IncomingSession, type OpenedContent, type SessionFailure } from '../../src/session/incoming.ts'
import { OutgoingSession } from '../../src/session/outgoing.ts'
import { encodeFrameMeta, encodePayloads, type FrameMeta, readFrameHeader } from '../../src/wire/frame.ts'
import { encodeHandshake, type Handshake, SessionMode } from '../../src/wire/handshake.ts'
import { EPOCH, keyring, makeContent, newRecipient, SENT_AT_MS } from '../envelope/forge.ts'

export const LIFETIME_MS = 600_000
export const EMPTY_META: FrameMeta = {
  ttlMs: 0,
  subject: 'orders.new',
  reply: undefined,
  inReplyTo: undefined,
  headers: [],
  clearHeaders: [],
}

export interface PairOptions extends Partial<Handshake> {
  readonly sender?: KeyPair
  readonly recipients?: readonly OwnKey[]
  readonly padding?: Padding
  /** On which the receiving end runs, where it is another one. */
  readonly receivingEngine?: CryptoEngine
}

/** `P` of a frame, as an honest sender encodes it. */
export function contentOf(meta: Partial<FrameMeta>, ...payloads: readonly Uint8Array[]): Uint8Array {
  return concat(encodeFrameMeta({ ...EMPTY_META, ...meta }), ...encodePayloads(payloads))
}

/** Both ends of a session that a real handshake has opened. */
export class Pair {
  readonly engine: CryptoEngine
  readonly sender: KeyPair
  readonly handshake: Handshake
  /** The handshake on the wire. */
  readonly wire: Uint8Array
  readonly outgoing: OutgoingSession
  readonly incoming: IncomingSession
  readonly sealer: FrameSealer
  readonly #recipients: readonly OwnKey[]
  readonly #opener: FrameOpener

  constructor(engine: CryptoEngine, options: PairOptions = {}) {
    const { sender = engine.ed25519KeyPair(), recipients = [newRecipient(engine)] } = options
    const { padding = 'padme', receivingEngine = engine } = options
    this.engine = engine
    this.sender = sender
    this.handshake = {
      mode: options.mode ?? SessionMode.signed,
      maxFrames: options.maxFrames ?? 1000,
      lifetimeMs: options.lifetimeMs ?? LIFETIME_MS,
    }
    const content = makeContent({ payload: encodeHandshake(this.handshake) })
    const sealed = seal(engine, content, {
      type: 1,
      epoch: EPOCH,
      recipients,
      messageKey: sender.secretKey,
      sentAtMs: SENT_AT_MS,
      padding: 'padme',
    })
    if (sealed.session === undefined) throw new Error('the handshake opens no session')
    this.wire = sealed.bytes
    this.#recipients = recipients
    this.outgoing = this.#outgoing(sealed.session)
    this.incoming = new IncomingSession(receivingEngine, {
      secrets: this.secrets(),
      handshake: this.handshake,
      sentAtMs: SENT_AT_MS,
      messageKey: sender.publicKey,
    })
    this.sealer = new FrameSealer(engine, padding)
    this.#opener = new FrameOpener(receivingEngine)
  }

  /** What any recipient of the handshake learns from it. */
  secrets(): SessionSecrets {
    const result = unseal(this.engine, this.wire, keyring(...this.#recipients))
    if (result.outcome !== 'opened' || result.message.session === undefined)
      throw new Error('the handshake does not open')
    if (!verifySender(this.engine, result.message, this.sender.publicKey))
      throw new Error('the handshake is not signed')
    return result.message.session
  }

  /** The sending end again, as it was at the beginning: what a clone of the process goes on with. */
  twin(): OutgoingSession {
    return this.#outgoing(this.secrets())
  }

  /** Seals payloads in one batch, each in a frame of its own. */
  seal(payloads: readonly Uint8Array[], meta: Partial<FrameMeta> = {}): readonly Uint8Array[] {
    const frames = payloads.map((payload) => ({
      ...this.outgoing.takeNumber(SENT_AT_MS),
      content: [contentOf(meta, payload)],
    }))
    return this.outgoing.seal(this.sealer, frames)
  }

  sealOne(payload: Uint8Array, meta: Partial<FrameMeta> = {}): Uint8Array {
    const [frame] = this.seal([payload], meta)
    if (frame === undefined) throw new Error('there is no frame')
    return frame
  }

  open(frame: Uint8Array): OpenedContent | SessionFailure {
    return this.incoming.open(this.#opener, frame, (content) => content)
  }

  /** What becomes of a frame: `opened`, or why not. */
  fateOf(frame: Uint8Array): 'opened' | 'malformed' | SessionFailure {
    try {
      if (!this.incoming.takes(readFrameHeader(frame))) return 'session'
    } catch (error) {
      if (error instanceof SubrosaError && error.code === 'ERR_MALFORMED') return 'malformed'
      throw error
    }
    const opened = this.open(frame)
    return typeof opened === 'string' ? opened : 'opened'
  }

  #outgoing(secrets: SessionSecrets): OutgoingSession {
    const { mode, maxFrames, lifetimeMs } = this.handshake
    return new OutgoingSession(this.engine, {
      secrets,
      mode,
      maxFrames,
      expiresAtMs: SENT_AT_MS + lifetimeMs,
      messageKey: this.sender.secretKey,
    })
  }
}
