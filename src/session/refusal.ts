import { byte, samePublic } from '../base/bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import type { SessionSecrets } from '../envelope/keys.ts'
import { REFUSAL_TAG_BYTES, type Refusal, type RefusalReason } from '../wire/refusal.ts'

/**
 * `tag` of SPEC, "Sessions": 16 bytes with which a recipient proves that it has opened the handshake. It is no secret once
 * it is published, and may be kept when the session's key is wiped.
 *
 * @param by the refuser's announcement hash, and what it says.
 * @example encodeRefusal({ sid: secrets.sid, kid: own.kid, reason, tag: refusalTag(engine, secrets, { reason, announcementHash }) })
 */
export function refusalTag(
  engine: CryptoEngine,
  secrets: Pick<SessionSecrets, 'sid' | 'key'>,
  by: { readonly reason: RefusalReason; readonly announcementHash: Uint8Array },
): Uint8Array {
  const { reason, announcementHash } = by
  const mac = engine.hmac(secrets.key, labels.refusal, secrets.sid, byte(reason), announcementHash)
  return mac.slice(0, REFUSAL_TAG_BYTES)
}

/**
 * Whether a refusal of this session comes from somebody who has opened it, and names this recipient.
 *
 * @param announcementHash that of the recipient whose `kid` the refusal has.
 */
export function provesRefusal(
  engine: CryptoEngine,
  secrets: Pick<SessionSecrets, 'sid' | 'key'>,
  { refusal, announcementHash }: { readonly refusal: Refusal; readonly announcementHash: Uint8Array },
): boolean {
  const { sid, reason, tag } = refusal
  if (!samePublic(sid, secrets.sid)) return false
  return engine.equal(tag, refusalTag(engine, secrets, { reason, announcementHash }))
}
