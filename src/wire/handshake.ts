import { MAX_FRAMES_PER_SESSION, MAX_SESSION_MS } from '../base/limits.ts'
import { SID_BYTES } from './frame.ts'
import { pack, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody } from './preamble.ts'

/** How the sender of a frame is proved: by a signature, or by the session's key alone. */
export const SessionMode = { signed: 0, channel: 1 } as const

export type SessionMode = (typeof SessionMode)[keyof typeof SessionMode]

const MAX_REQUEST_BYTES = 64

/** What a handshake says of the session that it opens: its payload. */
export interface Handshake {
  readonly mode: SessionMode
  readonly maxFrames: number
  readonly lifetimeMs: number
}

/** The payload of a handshake. */
export function encodeHandshake({ mode, maxFrames, lifetimeMs }: Handshake): Uint8Array {
  return pack([mode, maxFrames, lifetimeMs])
}

/**
 * Reads the payload of a handshake.
 *
 * @throws SubrosaError ERR_MALFORMED, for a longer life or more frames than a session may have too
 */
export function decodeHandshake(bytes: Uint8Array): Handshake {
  const fields = unpack(bytes, 'handshake', ['mode', 'max_frames', 'lifetime_ms'])
  const mode =
    fields.uint(SessionMode.channel) === SessionMode.signed ? SessionMode.signed : SessionMode.channel
  const maxFrames = fields.uint(MAX_FRAMES_PER_SESSION)
  const lifetimeMs = fields.uint(MAX_SESSION_MS)
  fields.end()
  return { mode, maxFrames, lifetimeMs }
}

/** Asks the sender of a session for its handshake again. */
export function encodeSessionRequest(sid: Uint8Array): Uint8Array {
  return encodeWire(WireType.sessionRequest, [sid])
}

/**
 * The sid that is asked for.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeSessionRequest(bytes: Uint8Array): Uint8Array {
  const what = 'session request'
  const fields = unpack(wireBody(bytes, WireType.sessionRequest, MAX_REQUEST_BYTES, what), what, ['sid'])
  const sid = fields.bytes(SID_BYTES)
  fields.end()
  return sid
}
