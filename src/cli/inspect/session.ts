import { hex } from '../../base/bytes.ts'
import { FRAME_HEADER_BYTES, frameSid, readFrameHeader } from '../../wire/frame.ts'
import { decodeRefusal, RefusalReason } from '../../wire/refusal.ts'
import { AEAD_TAG_BYTES } from '../../wire/sealed.ts'
import { whenShown } from '../terminal/times.ts'
import type { Anatomy } from './anatomy.ts'

/**
 * What a frame shows to somebody who does not have the key of its session.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function dissectFrame(bytes: Uint8Array): Anatomy {
  const { sentAtMs, counter } = readFrameHeader(bytes)
  return {
    session: hex(frameSid(bytes)),
    number: counter,
    sentAt: whenShown(sentAtMs),
    plaintextBytes: Math.max(0, bytes.length - FRAME_HEADER_BYTES - AEAD_TAG_BYTES),
    inside: 'proof of the sender, subject, reply, headers and payload: nothing of them shows without a key',
  }
}

/**
 * Who refuses which session. Only the session's sender can tell whether it is true.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function dissectRefusal(bytes: Uint8Array): Anatomy {
  const { sid, kid, reason, tag } = decodeRefusal(bytes)
  const name = Object.entries(RefusalReason).find(([, value]) => value === reason)?.[0] ?? ''
  return { session: hex(sid), kid: hex(kid), reason: `${reason} (${name})`, tag: hex(tag) }
}
