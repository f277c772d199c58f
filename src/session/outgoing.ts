import { hex } from '../bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { SessionSecrets } from '../envelope/keys.ts'
import { MAX_FRAMES_PER_BATCH } from '../limits.ts'
import { FRAME_HEADER_BYTES } from '../wire/frame.ts'
import { SessionMode } from '../wire/handshake.ts'
import type { FrameSealer } from './frame-cipher.ts'
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
  /** The handshake as it was published, for those who have missed it. */
  readonly handshake: Uint8Array
}

/** A frame whose header is made and whose content is fixed: it only needs its proof. */
export interface PendingFrame {
  /** `D` of SPEC. From the fourth byte on it names the frame: sid, salt, counter. */
  readonly header: Uint8Array
  readonly meta: Uint8Array
  readonly payload: Uint8Array
  readonly leaf: Uint8Array | undefined
}

/** A session that this instance has opened: numbers frames, and seals them. SPEC, "Sessions". */
export class OutgoingSession {
  /** In hexadecimal. */
  readonly sid: string
  readonly mode: SessionMode
  readonly handshake: Uint8Array
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
    this.handshake = parts.handshake
    this.expiresAtMs = parts.expiresAtMs
  }

  /** Whether another frame may be made now. */
  isOpen(nowMs: number): boolean {
    return !this.#isEnded && nowMs < this.expiresAtMs && this.#counter < this.#parts.maxFrames
  }

  /** How many bytes a frame with this content has on the wire, at most. */
  maxSize(sealer: FrameSealer, contentBytes: number, batch: number): number {
    const isChannel = this.mode === SessionMode.channel
    return sealer.size(isChannel ? CHANNEL_AUTH.length : maxAuthLength(batch), contentBytes)
  }

  /**
   * Takes the next number and fixes a frame. The payload must not change until it is sealed.
   *
   * @throws RangeError when the session has ended, or has had all its frames
   */
  nextFrame(
    sealer: FrameSealer,
    nowMs: number,
    content: { readonly meta: Uint8Array; readonly payload: Uint8Array },
  ): PendingFrame {
    const { meta, payload } = content
    if (this.#isEnded || this.#counter >= this.#parts.maxFrames)
      throw new RangeError('the session takes no more frames')
    const header = new Uint8Array(FRAME_HEADER_BYTES)
    sealer.writeHeader(header, this.#parts.secrets.sid, { sentAtMs: nowMs, counter: this.#counter++ })
    const isSigned = this.mode === SessionMode.signed
    return {
      header,
      meta,
      payload,
      leaf: isSigned ? frameLeaf(this.#engine, header, [meta, payload]) : undefined,
    }
  }

  /**
   * Seals frames of one batch: they are signed together.
   *
   * @throws RangeError for none, and for more than 64
   */
  seal(sealer: FrameSealer, frames: readonly PendingFrame[]): readonly Uint8Array[] {
    if (frames.length === 0 || frames.length > MAX_FRAMES_PER_BATCH)
      throw new RangeError(`a batch has 1 to ${MAX_FRAMES_PER_BATCH} frames`)
    // Its key is zeros by now.
    if (this.#isEnded) throw new RangeError('the session has ended')
    const { secrets, messageKey } = this.#parts
    const leaves = frames.flatMap(({ leaf }) => leaf ?? [])
    const auths =
      this.mode === SessionMode.signed
        ? signBatch(this.#engine, leaves, { messageKey, binding: secrets.binding })
        : undefined
    return frames.map(({ header, meta, payload }, i) => {
      const auth = auths === undefined ? CHANNEL_AUTH : auths[i]
      if (auth === undefined) throw new RangeError('a signed frame has no leaf')
      return sealer.seal(header, { key: secrets.key, auth, meta, payload })
    })
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
}
