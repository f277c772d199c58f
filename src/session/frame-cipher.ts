import { allocate, allocateOwn, readUint, writeUint } from '../base/bytes.ts'
import { MAX_FRAMES_PER_BATCH } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { isPaddedLength, isZeroFrom, type Padding, paddedLength } from '../crypto/padding.ts'
import { FRAME_HEADER_BYTES, FRAME_NONCE_START, writeFrameHeader } from '../wire/frame.ts'
import { Scratch } from './scratch.ts'

const TAG_BYTES = 16
const LENGTH_BYTES = 4
const RANDOM_BYTES = 10
/** Frames of one millisecond for which randomness is drawn at once: each draw is a call into native code. */
const RANDOM_FRAMES = 64
/** Up to here a copy costs less than handing native code a view that it has not seen before. */
const MAX_COPIED_BYTES = 4096
/** Plaintexts up to here are put together in memory that is used again. */
const MAX_PLAINTEXT_BYTES = 65_536

/** Memory for `D` of one frame. */
export interface HeaderSlot {
  readonly bytes: Uint8Array
  /** The nonce, within it. */
  readonly nonce: Uint8Array
}

/** The parts of one frame, but for its header. */
export interface FrameParts {
  readonly key: Uint8Array
  /** What proves the sender, by the session's mode. */
  readonly auth: Uint8Array
  /** `P`, in its parts. */
  readonly content: readonly Uint8Array[]
}

/** Encrypts frames: SPEC, "Frames". Everything is synchronous, so its memory serves one batch at a time. */
export class FrameSealer {
  readonly #engine: CryptoEngine
  readonly #padding: Padding
  readonly #random: Uint8Array
  readonly #plaintexts = new Scratch(MAX_PLAINTEXT_BYTES)
  readonly #ciphertexts = new Scratch(MAX_COPIED_BYTES)
  readonly #slots = headerSlots(MAX_FRAMES_PER_BATCH)
  #randomAt = 0
  #drawn = 0
  #drawnAtMs = -1

  constructor(engine: CryptoEngine, padding: Padding) {
    this.#engine = engine
    this.#padding = padding
    this.#random = new Uint8Array(RANDOM_FRAMES * RANDOM_BYTES)
  }

  /**
   * Writes a header with a fresh salt into memory for the frame at `index` of a batch: for every frame anew, right
   * before it is encrypted, so that no two plaintexts can come under one nonce.
   */
  writeHeader(
    index: number,
    sid: Uint8Array,
    { sentAtMs, counter }: { readonly sentAtMs: number; readonly counter: number },
  ): HeaderSlot {
    const slot = this.#slots[index]
    if (slot === undefined) throw new RangeError(`a batch has at most ${MAX_FRAMES_PER_BATCH} frames`)
    // What is left of another millisecond is not used: a copy of this process has it too.
    if (sentAtMs !== this.#drawnAtMs) this.#draw(sentAtMs, 1)
    else if (this.#randomAt === this.#drawn) this.#draw(sentAtMs, RANDOM_FRAMES)
    writeFrameHeader(slot.bytes, sid, { sentAtMs, random: this.#random, at: this.#randomAt, counter })
    this.#randomAt += RANDOM_BYTES
    return slot
  }

  #draw(sentAtMs: number, frames: number): void {
    this.#drawn = frames * RANDOM_BYTES
    this.#random.set(this.#engine.randomBytes(this.#drawn))
    this.#randomAt = 0
    this.#drawnAtMs = sentAtMs
  }

  /** How many bytes a frame has on the wire. */
  size(authBytes: number, contentBytes: number): number {
    const plain = paddedLength(authBytes + LENGTH_BYTES + contentBytes, this.#padding)
    return FRAME_HEADER_BYTES + plain + TAG_BYTES
  }

  /** The frame with this header. It shares no memory with what it is made of, and no plaintext is left behind. */
  seal({ bytes: header, nonce }: HeaderSlot, { key, auth, content }: FrameParts): Uint8Array {
    let contentBytes = 0
    for (const part of content) contentBytes += part.length
    const start = auth.length + LENGTH_BYTES
    const plainBytes = paddedLength(start + contentBytes, this.#padding)
    const plaintext = this.#plaintexts.view(plainBytes) ?? allocateOwn(plainBytes)
    plaintext.set(auth)
    writeUint(plaintext, contentBytes, { start: auth.length, size: LENGTH_BYTES })
    let at = start
    for (const part of content) {
      plaintext.set(part, at)
      at += part.length
    }
    plaintext.fill(0, at)
    const input = { key, nonce, aad: header, data: plaintext }
    const frame = allocate(FRAME_HEADER_BYTES + plainBytes + TAG_BYTES)
    frame.set(header)
    const ciphertext = this.#ciphertexts.view(plainBytes + TAG_BYTES)
    if (ciphertext === undefined) this.#engine.xaeadSeal(input, frame.subarray(FRAME_HEADER_BYTES))
    else frame.set(this.#engine.xaeadSeal(input, ciphertext), FRAME_HEADER_BYTES)
    this.#engine.wipe(plaintext)
    return frame
  }
}

function headerSlots(count: number): readonly HeaderSlot[] {
  const memory = new Uint8Array(new ArrayBuffer(count * FRAME_HEADER_BYTES))
  return Array.from({ length: count }, (_, i) => {
    const bytes = memory.subarray(i * FRAME_HEADER_BYTES, (i + 1) * FRAME_HEADER_BYTES)
    return { bytes, nonce: bytes.subarray(FRAME_NONCE_START) }
  })
}

/** What decrypting a frame gives. */
export interface OpenedFrame {
  /** `D`, to be read before the next frame is opened. */
  readonly header: Uint8Array
  /** `auth`, a length, `P`, and padding. */
  readonly plaintext: Uint8Array
  readonly authBytes: number
  /** Where `P` begins in it, and ends. */
  readonly start: number
  readonly end: number
  /** Whether the plaintext is in memory of the opener: what is to be kept must be copied, and the rest wiped. */
  readonly isScratch: boolean
}

/** Why a frame was not decrypted. */
export type FrameFailure = 'ciphertext' | 'padding' | 'signature'

/** Decrypts frames. Everything is synchronous, so its memory serves one frame at a time. */
export class FrameOpener {
  readonly #engine: CryptoEngine
  readonly #frames = new Scratch(FRAME_HEADER_BYTES + MAX_COPIED_BYTES)
  readonly #bodies = this.#frames.after(FRAME_HEADER_BYTES)
  readonly #plaintexts = new Scratch(MAX_COPIED_BYTES)
  readonly #header: Uint8Array
  readonly #nonce: Uint8Array

  constructor(engine: CryptoEngine) {
    this.#engine = engine
    this.#header = this.#frames.first(FRAME_HEADER_BYTES)
    this.#nonce = this.#header.subarray(FRAME_NONCE_START)
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
    const ciphertext = this.#load(frame)
    const scratch = this.#plaintexts.view(bytes - TAG_BYTES)
    const plaintext = scratch ?? allocateOwn(bytes - TAG_BYTES)
    const input = { key, nonce: this.#nonce, aad: this.#header, data: ciphertext }
    if (this.#engine.xaeadOpen(input, plaintext) === undefined) return 'ciphertext'
    const parts = partsOf(plaintext, authLength)
    if (typeof parts === 'string') {
      this.#engine.wipe(plaintext)
      return parts
    }
    const { authBytes, start, end } = parts
    return { header: this.#header, plaintext, authBytes, start, end, isScratch: scratch !== undefined }
  }

  /** Puts `D` into memory that native code knows, and the ciphertext too where it is short. @returns the ciphertext */
  #load(frame: Uint8Array): Uint8Array {
    const copied = this.#frames.view(frame.length)
    const body = this.#bodies.view(frame.length - FRAME_HEADER_BYTES)
    if (copied !== undefined && body !== undefined) {
      copied.set(frame)
      return body
    }
    for (let i = 0; i < FRAME_HEADER_BYTES; i++) this.#header[i] = frame[i] ?? 0
    return frame.subarray(FRAME_HEADER_BYTES)
  }
}

/** Where the parts of a plaintext are, or what is wrong with it. */
function partsOf(
  plaintext: Uint8Array,
  authLength: (plaintext: Uint8Array) => number | undefined,
): Pick<OpenedFrame, 'authBytes' | 'start' | 'end'> | FrameFailure {
  const authBytes = authLength(plaintext)
  if (authBytes === undefined) return 'signature'
  const start = authBytes + LENGTH_BYTES
  if (plaintext.length < start) return 'padding'
  const end = start + readUint(plaintext, authBytes, LENGTH_BYTES)
  if (end > plaintext.length || !isPaddedLength(end, plaintext.length)) return 'padding'
  if (!isZeroFrom(plaintext, end)) return 'padding'
  return { authBytes, start, end }
}
