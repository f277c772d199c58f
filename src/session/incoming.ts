import { allocate, hex, standsAt } from '../base/bytes.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { SessionSecrets } from '../envelope/keys.ts'
import { decodeFrameContent, type FrameContent, type FrameHeader, type FrameMeta } from '../wire/frame.ts'
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
  /** A copy of its own. */
  readonly payload: Uint8Array
}

/** Why a frame was not opened. */
export type SessionFailure = FrameFailure | 'content' | 'signature' | 'session'

/** A longer beginning of a frame is read each time: its sender chooses how long it is. */
const MAX_KEPT_META_BYTES = 2048
/** What is kept of a beginning that was read, for each of its bytes (the bytes and the texts in them), and besides. */
const KEPT_META_FACTOR = 3
const KEPT_META_BYTES = 1024

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
  #lastMeta: { readonly bytes: Uint8Array; readonly content: FrameContent } | undefined

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
    const metaBytes = kept === undefined ? 0 : KEPT_META_BYTES + KEPT_META_FACTOR * kept.bytes.length
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
    if (isSigned && !this.#isProved(opened)) return 'signature'
    const read = this.#read(opened)
    if (read === undefined) return 'content'
    const { plaintext, start, end, isScratch } = opened
    const { meta, payloadStart } = read
    const payload = plaintext.subarray(start + payloadStart, end)
    return { meta, payload: isScratch ? copyOf(payload) : payload }
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

  #isProved({ header, plaintext, start, end }: OpenedFrame): boolean {
    const leaf = frameLeaf(this.#engine, header, [plaintext.subarray(start, end)])
    return this.#batches.verify(leaf, plaintext)
  }

  #read(opened: OpenedFrame): FrameContent | undefined {
    const { plaintext, start, end } = opened
    const last = this.#lastMeta
    // What was read before says where it ends by itself: the same bytes mean the same.
    if (last !== undefined && stands(last.bytes, opened)) return last.content
    const content = plaintext.subarray(start, end)
    try {
      const read = decodeFrameContent(content)
      // Where there are many payloads, their lengths must be compared with what follows each time.
      if (
        read.meta.lengths === undefined &&
        read.meta.inReplyTo === undefined &&
        read.meta.reply === undefined &&
        read.payloadStart <= MAX_KEPT_META_BYTES
      )
        this.#lastMeta = { bytes: content.slice(0, read.payloadStart), content: read }
      return read
    } catch {
      return undefined
    }
  }
}

/** Whether `P` begins with these bytes. */
function stands(bytes: Uint8Array, { plaintext, start, end }: OpenedFrame): boolean {
  return end - start >= bytes.length && standsAt(bytes, plaintext, start)
}

function copyOf(bytes: Uint8Array): Uint8Array {
  const copied = allocate(bytes.length)
  copied.set(bytes)
  return copied
}
