import { SID_BYTES } from './frame.ts'
import { unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody } from './preamble.ts'
import { KID_BYTES } from './sealed.ts'

export const REFUSAL_TAG_BYTES = 16
const MAX_REFUSAL_BYTES = 64

/** Why a recipient wants no frames of a session. SPEC, "Sessions". */
export const RefusalReason = {
  /** It holds as many sessions as it may. */
  noRoom: 0,
  /** It has ended the session. */
  ended: 1,
  /** Another recipient forges frames of the session. */
  forged: 2,
} as const

export type RefusalReason = (typeof RefusalReason)[keyof typeof RefusalReason]

/** What a recipient says to the sender of a session that it does not take. */
export interface Refusal {
  readonly sid: Uint8Array
  /** Of the refuser's wrap in the handshake. */
  readonly kid: Uint8Array
  readonly reason: RefusalReason
  /** Proves that the refuser has opened the handshake. */
  readonly tag: Uint8Array
}

/** The wire message of a refusal. */
export function encodeRefusal({ sid, kid, reason, tag }: Refusal): Uint8Array {
  return encodeWire(WireType.refusal, [sid, kid, reason, tag])
}

/**
 * Reads a refusal. It says nothing before its tag is compared, see `provesRefusal`. Byte fields are views into `bytes`.
 *
 * @throws SubrosaError ERR_MALFORMED, for a reason that is not known too
 */
export function decodeRefusal(bytes: Uint8Array): Refusal {
  const what = 'refusal of a session'
  const body = wireBody(bytes, WireType.refusal, MAX_REFUSAL_BYTES, what)
  const fields = unpack(body, what, ['sid', 'kid', 'reason', 'tag'])
  const sid = fields.bytes(SID_BYTES)
  const kid = fields.bytes(KID_BYTES)
  const value = fields.uint()
  const reason = Object.values(RefusalReason).find((known) => known === value)
  if (reason === undefined) throw fields.malformed()
  const tag = fields.bytes(REFUSAL_TAG_BYTES)
  fields.end()
  return { sid, kid, reason, tag }
}
