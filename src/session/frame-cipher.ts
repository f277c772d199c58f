import { allocate } from '../bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { isPaddedLength, isZeroFrom, type Padding, paddedLength } from '../crypto/padding.ts'
import { FRAME_HEADER_BYTES, FRAME_NONCE_START, writeFrameHeader } from '../wire/frame.ts'

const TAG_BYTES = 16
const LENGTH_BYTES = 4
const RANDOM_BYTES = 10
/** Frames of one millisecond for which randomness is drawn at once: each draw is a call into native code. */
const RANDOM_FRAMES = 64
/** Up to here a copy costs less than handing native code a view that it has not seen before. */
const MAX_SCRATCH_BYTES = 4096

/** Memory that is used again, in views of the lengths that occur: native calls are fastest with views they know. */
class Scratch {
  readonly #memory = new Uint8Array(MAX_SCRATCH_BYTES)
  readonly #views: (Uint8Array | undefined)[] = []

  /** `undefined` for what is so long that a copy would cost more. */
  view(length: number): Uint8Array | undefined {
    if (length > MAX_SCRATCH_BYTES) return undefined
    const known = this.#views[length]
    if (known !== undefined) return known
    const view = this.#memory.subarray(0, length)
    this.#views[length] = view
    return view
  }
}

/** The parts of one frame, but for its header. */
export interface FrameParts {
  readonly key: Uint8Array
  /** What proves the sender, by the session's mode. */
  readonly auth: Uint8Array
  /** What comes before the payload. */
  readonly meta: Uint8Array
  readonly payload: Uint8Array
}

/** Encrypts frames: SPEC, "Frames". Everything is synchronous, so its memory serves one frame at a time. */
export class FrameSealer {
  readonly #engine: CryptoEngine
  readonly #padding: Padding
  readonly #random: Uint8Array
  readonly #plaintexts = new Scratch()
  readonly #ciphertexts = new Scratch()
  readonly #header = new Uint8Array(new ArrayBuffer(FRAME_HEADER_BYTES))
  readonly #nonce = this.#header.subarray(FRAME_NONCE_START)
  #randomAt: number
  #drawnAtMs = -1

  constructor(engine: CryptoEngine, padding: Padding) {
    this.#engine = engine
    this.#padding = padding
    this.#random = new Uint8Array(RANDOM_FRAMES * RANDOM_BYTES)
    this.#randomAt = this.#random.length
  }

  /** Writes a header with a fresh salt into `target`. */
  writeHeader(
    target: Uint8Array,
    sid: Uint8Array,
    { sentAtMs, counter }: { readonly sentAtMs: number; readonly counter: number },
  ): void {
    // What is left of another millisecond is not used: a copy of this process has it too.
    if (this.#randomAt === this.#random.length || sentAtMs !== this.#drawnAtMs) {
      this.#random.set(this.#engine.randomBytes(this.#random.length))
      this.#randomAt = 0
      this.#drawnAtMs = sentAtMs
    }
    writeFrameHeader(target, sid, { sentAtMs, random: this.#random, at: this.#randomAt, counter })
    this.#randomAt += RANDOM_BYTES
  }

  /** How many bytes a frame has on the wire. */
  size(authBytes: number, contentBytes: number): number {
    const plain = paddedLength(authBytes + LENGTH_BYTES + contentBytes, this.#padding)
    return FRAME_HEADER_BYTES + plain + TAG_BYTES
  }

  /** The frame with this header. It shares no memory with what it is made of. */
  seal(header: Uint8Array, { key, auth, meta, payload }: FrameParts): Uint8Array {
    const contentBytes = meta.length + payload.length
    const start = auth.length + LENGTH_BYTES
    const plainBytes = paddedLength(start + contentBytes, this.#padding)
    const plaintext = this.#plaintexts.view(plainBytes) ?? allocate(plainBytes)
    plaintext.set(auth)
    plaintext[auth.length] = contentBytes >>> 24
    plaintext[auth.length + 1] = contentBytes >>> 16
    plaintext[auth.length + 2] = contentBytes >>> 8
    plaintext[auth.length + 3] = contentBytes
    plaintext.set(meta, start)
    plaintext.set(payload, start + meta.length)
    plaintext.fill(0, start + contentBytes)
    this.#header.set(header)
    const input = { key, nonce: this.#nonce, aad: this.#header, data: plaintext }
    const frame = allocate(FRAME_HEADER_BYTES + plainBytes + TAG_BYTES)
    frame.set(header)
    const scratch = this.#ciphertexts.view(plainBytes + TAG_BYTES)
    if (scratch === undefined) this.#engine.xaeadSeal(input, frame.subarray(FRAME_HEADER_BYTES))
    else frame.set(this.#engine.xaeadSeal(input, scratch), FRAME_HEADER_BYTES)
    return frame
  }
}

/** What decrypting a frame gives. */
export interface OpenedFrame {
  readonly auth: Uint8Array
  /** `P` */
  readonly content: Uint8Array
  /** Whether the next frame overwrites both: what is to be kept must be copied. */
  readonly isScratch: boolean
}

/** Why a frame was not decrypted. */
export type FrameFailure = 'ciphertext' | 'padding' | 'signature'

/** Decrypts frames. Everything is synchronous, so its memory serves one frame at a time. */
export class FrameOpener {
  readonly #engine: CryptoEngine
  readonly #ciphertexts = new Scratch()
  readonly #plaintexts = new Scratch()
  readonly #header = new Uint8Array(new ArrayBuffer(FRAME_HEADER_BYTES))
  readonly #nonce = this.#header.subarray(FRAME_NONCE_START)

  constructor(engine: CryptoEngine) {
    this.#engine = engine
  }

  /**
   * Decrypts a frame and takes it apart.
   *
   * @param authLength how long the proof of the sender is, by its first byte: it depends on the session's mode
   */
  open(
    frame: Uint8Array,
    key: Uint8Array,
    authLength: (plaintext: Uint8Array) => number | undefined,
  ): OpenedFrame | FrameFailure {
    const bytes = frame.length - FRAME_HEADER_BYTES
    if (bytes < TAG_BYTES) return 'ciphertext'
    for (let i = 0; i < FRAME_HEADER_BYTES; i++) this.#header[i] = frame[i] ?? 0
    const body = frame.subarray(FRAME_HEADER_BYTES)
    const copied = this.#ciphertexts.view(bytes)
    copied?.set(body)
    const ciphertext = copied ?? body
    const scratch = this.#plaintexts.view(bytes - TAG_BYTES)
    const plaintext = scratch ?? allocate(bytes - TAG_BYTES)
    const input = { key, nonce: this.#nonce, aad: this.#header, data: ciphertext }
    if (this.#engine.xaeadOpen(input, plaintext) === undefined) return 'ciphertext'
    const authBytes = authLength(plaintext)
    if (authBytes === undefined) return 'signature'
    const start = authBytes + LENGTH_BYTES
    if (plaintext.length < start) return 'padding'
    const end = start + readU32(plaintext, authBytes)
    if (end > plaintext.length || !isPaddedLength(end, plaintext.length)) return 'padding'
    if (!isZeroFrom(plaintext, end)) return 'padding'
    return {
      auth: plaintext.subarray(0, authBytes),
      content: plaintext.subarray(start, end),
      isScratch: scratch !== undefined,
    }
  }
}

function readU32(bytes: Uint8Array, at: number): number {
  let value = 0
  for (let i = 0; i < LENGTH_BYTES; i++) value = value * 256 + (bytes[at + i] ?? 0)
  return value
}
