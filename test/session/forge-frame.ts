import { concat, u32 } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import { paddedLength } from '../../src/crypto/padding.ts'
import type { SessionSecrets } from '../../src/envelope/keys.ts'
import { FRAME_HEADER_BYTES, FRAME_NONCE_START, writeFrameHeader } from '../../src/wire/frame.ts'
import { SENT_AT_MS } from '../envelope/forge.ts'

/** A frame taken apart by somebody who has the session's key. */
export interface FrameParts {
  /** `D` */
  readonly header: Uint8Array
  readonly auth: Uint8Array
  /** `P` */
  readonly content: Uint8Array
}

/** `D` with what a forger likes. */
export function headerOf(
  engine: CryptoEngine,
  sid: Uint8Array,
  fresh: { readonly counter: number; readonly sentAtMs?: number },
): Uint8Array {
  const header = new Uint8Array(FRAME_HEADER_BYTES)
  const { counter, sentAtMs = SENT_AT_MS } = fresh
  writeFrameHeader(header, sid, { sentAtMs, random: engine.randomBytes(10), at: 0, counter })
  return header
}

/** Encrypts a frame from its parts, with the right key and none of the checks of an honest sender. */
export function forgeFrame(
  engine: CryptoEngine,
  secrets: SessionSecrets,
  parts: FrameParts,
  layOut: (parts: FrameParts) => Uint8Array = honestPlaintext,
): Uint8Array {
  const { header } = parts
  const nonce = header.subarray(FRAME_NONCE_START)
  return concat(header, engine.xaeadSeal({ key: secrets.key, nonce, aad: header, data: layOut(parts) }))
}

/** As an honest sender lays it out. */
export function honestPlaintext({ auth, content }: FrameParts): Uint8Array {
  const bare = concat(auth, u32(content.length), content)
  const padded = new Uint8Array(paddedLength(bare.length, 'padme'))
  padded.set(bare)
  return padded
}

/** Decrypts a frame as somebody who has the key. `authBytes` is how long `auth` is in it. */
export function lookIntoFrame(
  engine: CryptoEngine,
  secrets: SessionSecrets,
  frame: Uint8Array,
  authBytes: number,
): FrameParts {
  const header = frame.slice(0, FRAME_HEADER_BYTES)
  const nonce = header.subarray(FRAME_NONCE_START)
  const data = frame.subarray(FRAME_HEADER_BYTES)
  const plaintext = engine.xaeadOpen({ key: secrets.key, nonce, aad: header, data })
  if (plaintext === undefined) throw new Error('the frame does not open')
  const view = new DataView(plaintext.buffer, plaintext.byteOffset)
  const start = authBytes + 4
  return {
    header,
    auth: plaintext.slice(0, authBytes),
    content: plaintext.slice(start, start + view.getUint32(authBytes)),
  }
}
