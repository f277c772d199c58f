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

  /**
   * The steps of SPEC, "Opening a frame", from the AEAD to the signature. It never throws, whatever the bytes are.
   *
   * @param judge what comes of the content if its signature holds; or a string that says why it is not wanted, whoever says it.
   *   Then no signature is looked at: that is the dearest step, and anybody can repeat a recorded frame where it is not
   *   wanted
   */
  open<Verdict>(
    opener: FrameOpener,
    frame: Uint8Array,
    judge: (content: OpenedContent) => Verdict,
  ): Verdict | SessionFailure {
    const { secrets } = this.#parts
    // Its key is zeros by now, which anybody has.
    if (this.#isEnded) return 'session'
    const isSigned = this.mode === SessionMode.signed
    const opened = opener.open(frame, secrets.key, isSigned ? signedAuthLength : channelAuthLength)
    if (typeof opened === 'string') return opened
    const { plaintext, start, end, isScratch } = opened
    const read = this.#read(plaintext.subarray(start, end))
    const verdict = read === undefined ? 'content' : this.#judged(opened, read, judge)
    // Of a long plaintext, which has memory of its own, a single payload is handed on as it is.
    const isHandedOn = typeof verdict !== 'string' && read?.payloads.length === 1 && !isScratch
    if (!isHandedOn) this.#engine.wipe(plaintext)
    return verdict
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

  #judged<Verdict>(
    { header, plaintext, start, end, isScratch }: OpenedFrame,
    read: FrameContent,
    judge: (content: OpenedContent) => Verdict,
  ): Verdict | 'signature' {
    const verdict = judge({ meta: read.meta, payloads: ownPayloads(read.payloads, isScratch) })
    if (typeof verdict === 'string') return verdict
    const bytes = plaintext.subarray(start, end)
    if (this.mode === SessionMode.signed && !this.#isProved(header, bytes, plaintext)) return 'signature'
    this.#keep(read, bytes)
    return verdict
  }

  #isProved(header: Uint8Array, content: Uint8Array, auth: Uint8Array): boolean {
    return this.#batches.verify(frameLeaf(this.#engine, header, [content]), auth)
  }

  #read(content: Uint8Array): FrameContent | undefined {
    const last = this.#lastMeta
    try {
      // The items before the payloads say where they end by themselves: the same bytes mean the same.
      if (last !== undefined && content.length > last.bytes.length && standsAt(last.bytes, content, 0)) {
        const metaBytes = last.bytes.length
        return { meta: last.meta, payloads: decodePayloads(content, metaBytes), metaBytes }
      }
      return decodeFrameContent(content)
    } catch {
      return undefined
    }
  }

  /** Only what its sender has said is kept, for the frames that follow. */
  #keep({ meta, metaBytes }: FrameContent, content: Uint8Array): void {
    if (meta === this.#lastMeta?.meta || metaBytes > MAX_KEPT_META_BYTES) return
    if (meta.inReplyTo !== undefined || meta.reply !== undefined) return
    this.#lastMeta = { bytes: content.slice(0, metaBytes), meta }
  }
}

/** A long plaintext has memory of its own, in which nothing stands but its frame: a single payload may stay there. */
function ownPayloads(payloads: readonly Uint8Array[], isScratch: boolean): readonly Uint8Array[] {
  return payloads.length === 1 && !isScratch ? payloads : payloads.map((payload) => payload.slice())
}

/** How much memory it takes: a test compares what is counted with what is in use. */
function keptBytes({ bytes, meta }: KeptMeta): number {
  const pairs = meta.headers.length + meta.clearHeaders.length
  return KEPT_META_BYTES + KEPT_META_FACTOR * bytes.length + KEPT_PAIR_BYTES * pairs
}
