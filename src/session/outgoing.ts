import { hex } from '../base/bytes.ts'
import { MAX_FRAMES_PER_BATCH } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { SessionSecrets } from '../envelope/keys.ts'
import { FRAME_ID_START } from '../wire/frame.ts'
import { SessionMode } from '../wire/handshake.ts'
import type { Refusal } from '../wire/refusal.ts'
import type { FrameSealer, HeaderSlot } from './frame-cipher.ts'
import { provesRefusal } from './refusal.ts'
import { CHANNEL_AUTH, frameLeaf, maxAuthLength, signBatch } from './session-auth.ts'

/** What a session that this instance has opened is made of. */
export interface OutgoingSessionParts {
  readonly secrets: SessionSecrets
  readonly mode: SessionMode
  readonly maxFrames: number
  /** When it ends, in milliseconds since 1970: its life, or the end of its epoch. */
  readonly expiresAtMs: number
  /** The instance's Ed25519 message key of the epoch. */
  readonly messageKey: Uint8Array
}

/** The number of a frame, and when it was published. */
export interface FrameNumber {
  readonly counter: number
  readonly sentAtMs: number
}

/** A frame that is to be sealed. */
export interface UnsealedFrame extends FrameNumber {
  /** `P`, in its parts. */
  readonly content: readonly Uint8Array[]
  /** Where sid, salt and counter are to be left once they are fixed: they name the frame. */
  readonly named?: FrameName | undefined
}

/** What names a frame, once it is sealed: a response repeats it. */
export interface FrameName {
  id: Uint8Array
}

/** A session that this instance has opened: numbers frames, and seals them. SPEC, "Sessions". */
export class OutgoingSession {
  /** In hexadecimal. */
  readonly sid: string
  readonly mode: SessionMode
  readonly expiresAtMs: number
  readonly #engine: CryptoEngine
  readonly #parts: OutgoingSessionParts
  #counter = 0
  #isEnded = false

  constructor(engine: CryptoEngine, parts: OutgoingSessionParts) {
    this.#engine = engine
    this.#parts = parts
    this.sid = hex(parts.secrets.sid)
    this.mode = parts.mode
    this.expiresAtMs = parts.expiresAtMs
  }

  /** Whether another frame may be made now. */
  isOpen(nowMs: number): boolean {
    return !this.#isEnded && nowMs < this.expiresAtMs && this.#counter < this.#parts.maxFrames
  }

  /** How many bytes a frame with this content has on the wire, at most. */
  maxSize(sealer: FrameSealer, contentBytes: number, batch: number): number {
    return sealer.size(maxAuthLength(this.mode, batch), contentBytes)
  }

  /**
   * Takes the next number for a frame.
   *
   * @throws RangeError when the session has ended, or has had all its frames
   */
  takeNumber(sentAtMs: number): FrameNumber {
    if (this.#isEnded || this.#counter >= this.#parts.maxFrames)
      throw new RangeError('the session takes no more frames')
    return { counter: this.#counter++, sentAtMs }
  }

  /**
   * Seals frames of one batch: they are signed together.
   *
   * @throws RangeError for none, and for more than 64
   */
  seal(sealer: FrameSealer, frames: readonly UnsealedFrame[]): readonly Uint8Array[] {
    if (frames.length === 0 || frames.length > MAX_FRAMES_PER_BATCH)
      throw new RangeError(`a batch has 1 to ${MAX_FRAMES_PER_BATCH} frames`)
    // Its key is zeros by now.
    if (this.#isEnded) throw new RangeError('the session has ended')
    const { key, sid } = this.#parts.secrets
    const numbered = frames.map((frame, i) => ({ frame, header: sealer.writeHeader(i, sid, frame) }))
    const auths = this.#prove(numbered)
    return numbered.map(({ frame, header }, i) => {
      const auth = auths[i]
      if (auth === undefined) throw new RangeError('a frame has no proof of its sender')
      const { content, named } = frame
      if (named !== undefined) named.id = header.bytes.slice(FRAME_ID_START)
      return sealer.seal(header, { key, auth, content })
    })
  }

  /**
   * Whether a recipient of this session has refused it: SPEC, "Sessions". `false` once it has ended.
   *
   * @param announcementHash that of the recipient whose `kid` the refusal has.
   */
  isRefusedBy(refusal: Refusal, announcementHash: Uint8Array): boolean {
    if (this.#isEnded) return false
    return provesRefusal(this.#engine, this.#parts.secrets, { refusal, announcementHash })
  }

  /** Wipes the key. No frame follows. */
  end(): void {
    this.#isEnded = true
    this.#engine.wipe(this.#parts.secrets.key)
  }

  toJSON(): { readonly sid: string } {
    return { sid: this.sid }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `OutgoingSession { sid: '${this.sid}', frames: ${this.#counter}, key: [secret] }`
  }

  #prove(
    frames: readonly { readonly frame: UnsealedFrame; readonly header: HeaderSlot }[],
  ): readonly Uint8Array[] {
    if (this.mode === SessionMode.channel) return frames.map(() => CHANNEL_AUTH)
    const { secrets, messageKey } = this.#parts
    const leaves = frames.map(({ frame, header }) => frameLeaf(this.#engine, header.bytes, frame.content))
    return signBatch(this.#engine, leaves, { messageKey, binding: secrets.binding })
  }
}
