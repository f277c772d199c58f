import { hex, standsAt } from '../base/bytes.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { SessionSecrets } from '../envelope/keys.ts'
import {
  decodeFrameContent,
  decodePayloads,
  type FrameContent,
  type FrameHeader,
  type FrameMeta,
} from '../wire/frame.ts'
import { type Handshake, SessionMode } from '../wire/handshake.ts'
import type { RefusalReason } from '../wire/refusal.ts'
import type { FrameFailure, FrameOpener, OpenedFrame } from './frame-cipher.ts'
import { refusalTag } from './refusal.ts'
import { BatchVerifier, channelAuthLength, frameLeaf, signedAuthLength } from './session-auth.ts'

/** What a session that was opened to this instance is made of. */
export interface IncomingSessionParts {
  readonly secrets: SessionSecrets
  readonly handshake: Handshake
  /** When its sender's clock says that it began. */
  readonly sentAtMs: number
  /** The sender's Ed25519 message key of the epoch. */
  readonly messageKey: Uint8Array
}

/** A frame that was opened, and whose sender is proved as far as its mode goes. */
export interface OpenedContent {
  readonly meta: FrameMeta
  /** One, or many from two on. Each has memory that no other payload shares. */
  readonly payloads: readonly Uint8Array[]
}

/** Why a frame was not opened. */
export type SessionFailure = FrameFailure | 'content' | 'signature' | 'session'

/** A longer beginning of a frame is read each time: its sender chooses how long it is. */
const MAX_KEPT_META_BYTES = 2048
/** What is kept of a beginning that was read: for each of its bytes (the bytes and the texts in them), and besides. */
const KEPT_META_FACTOR = 3
const KEPT_META_BYTES = 1024
/** For each header, whose name and value may be empty. */
const KEPT_PAIR_BYTES = 64

/** The beginning of a frame, and what was read there. */
interface KeptMeta {
  readonly bytes: Uint8Array
  readonly meta: FrameMeta
}

/** A session that another instance has opened to this one. SPEC, "Sessions". */
export class IncomingSession {
  /** In hexadecimal. */
  readonly sid: string
  readonly mode: SessionMode
  readonly startsAtMs: number
  readonly endsAtMs: number
  readonly #engine: CryptoEngine
  readonly #parts: IncomingSessionParts
  readonly #batches: BatchVerifier
  #isEnded = false
  /** What came before the payload in earlier frames, and what was read there: most frames repeat it. */
  #lastMeta: KeptMeta | undefined

  constructor(engine: CryptoEngine, parts: IncomingSessionParts) {
    const { secrets, handshake, sentAtMs, messageKey } = parts
    this.#engine = engine
    this.#parts = parts
    this.#batches = new BatchVerifier(engine, { messageKey, binding: secrets.binding })
    this.sid = hex(secrets.sid)
    this.mode = handshake.mode
    this.startsAtMs = sentAtMs
    this.endsAtMs = sentAtMs + handshake.lifetimeMs
  }

  /** How much memory it takes for what it remembers of its frames, in bytes. */
  get bytes(): number {
    const kept = this.#lastMeta
    const metaBytes = kept === undefined ? 0 : keptBytes(kept)
    return this.#batches.bytes + metaBytes
  }

  /** Whether no frame can come any more: the last ones take their time, and the sender's clock may be behind. */
  isOver(nowMs: number): boolean {
    return nowMs >= this.endsAtMs + CLOCK_WINDOW_MS
  }

  /** Whether a frame of this number and time can be one of this session. The sender's clock may have been set back. */
  takes({ counter, sentAtMs }: FrameHeader): boolean {
    return (
      counter < this.#parts.handshake.maxFrames &&
      sentAtMs >= this.startsAtMs - CLOCK_WINDOW_MS &&
      sentAtMs < this.endsAtMs
    )
  }

  /** The steps of SPEC, "Opening a frame", from the AEAD to the content. It never throws, whatever the bytes are. */
  open(opener: FrameOpener, frame: Uint8Array): OpenedContent | SessionFailure {
    const { secrets } = this.#parts
    // Its key is zeros by now, which anybody has.
    if (this.#isEnded) return 'session'
    const isSigned = this.mode === SessionMode.signed
    const opened = opener.open(frame, secrets.key, isSigned ? signedAuthLength : channelAuthLength)
    if (typeof opened === 'string') return opened
    const content = this.#content(opened)
    // Of a long plaintext, which has memory of its own, a single payload is handed on as it is.
    const isHandedOn = typeof content !== 'string' && content.payloads.length === 1 && !opened.isScratch
    if (!isHandedOn) this.#engine.wipe(opened.plaintext)
    return content
  }

  /**
   * What proves that this recipient refuses the session, for {@link encodeRefusal}: to be made before the session ends.
   *
   * @throws RangeError when it has ended
   */
  refusalTag(reason: RefusalReason, announcementHash: Uint8Array): Uint8Array {
    // Its key is zeros by then, which anybody has.
    if (this.#isEnded) throw new RangeError('the session has ended')
    return refusalTag(this.#engine, this.#parts.secrets, { reason, announcementHash })
  }

  /** Forgets what it remembers of its frames. It saves work, and is learned again. */
  forget(): void {
    this.#batches.forget()
    this.#lastMeta = undefined
  }

  /** Wipes the key. No frame is opened any more. */
  end(): void {
    this.#isEnded = true
    this.forget()
    this.#engine.wipe(this.#parts.secrets.key)
  }

  toJSON(): { readonly sid: string } {
    return { sid: this.sid }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `IncomingSession { sid: '${this.sid}', key: [secret] }`
  }

  #content({ header, plaintext, start, end, isScratch }: OpenedFrame): OpenedContent | SessionFailure {
    const content = plaintext.subarray(start, end)
    const isSigned = this.mode === SessionMode.signed
    if (isSigned && !this.#isProved(header, content, plaintext)) return 'signature'
    const read = this.#read(content)
    if (read === undefined) return 'content'
    const { meta, payloads } = read
    if (payloads.length === 1 && !isScratch) return { meta, payloads }
    return { meta, payloads: payloads.map((payload) => payload.slice()) }
  }

  #isProved(header: Uint8Array, content: Uint8Array, auth: Uint8Array): boolean {
    return this.#batches.verify(frameLeaf(this.#engine, header, [content]), auth)
  }

  #read(content: Uint8Array): Omit<FrameContent, 'metaBytes'> | undefined {
    const last = this.#lastMeta
    try {
      // The items before the payloads say where they end by themselves: the same bytes mean the same.
      if (last !== undefined && content.length > last.bytes.length && standsAt(last.bytes, content, 0))
        return { meta: last.meta, payloads: decodePayloads(content, last.bytes.length) }
      const { meta, payloads, metaBytes } = decodeFrameContent(content)
      if (meta.inReplyTo === undefined && meta.reply === undefined && metaBytes <= MAX_KEPT_META_BYTES)
        this.#lastMeta = { bytes: content.slice(0, metaBytes), meta }
      return { meta, payloads }
    } catch {
      return undefined
    }
  }
}

/** How much memory it takes: a test compares what is counted with what is in use. */
function keptBytes({ bytes, meta }: KeptMeta): number {
  const pairs = meta.headers.length + meta.clearHeaders.length
  return KEPT_META_BYTES + KEPT_META_FACTOR * bytes.length + KEPT_PAIR_BYTES * pairs
}
