import { hex } from '../../base/bytes.ts'
import { paddedLength } from '../../crypto/padding.ts'
import { SUITE_X25519 } from '../../envelope/keys.ts'
import {
  AEAD_TAG_BYTES,
  decodeSealed,
  midTime,
  recipientCount,
  SIGNATURE_BYTES,
  splitWraps,
} from '../../wire/sealed.ts'
import { whenShown } from '../terminal/times.ts'
import type { Anatomy } from './anatomy.ts'

/** What is encrypted besides the content: the signature and the content's length. */
const CONTENT_OVERHEAD_BYTES = SIGNATURE_BYTES + 4

/**
 * What a sealed message shows to whoever has no key.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function dissectSealed(bytes: Uint8Array): Anatomy {
  const { header, headerBytes, commitment, ciphertext } = decodeSealed(bytes)
  const { suite, epoch, mid, enc, packedWraps } = header
  const sentAt = midTime(mid)
  return {
    suite,
    ...(suite !== SUITE_X25519 && { suiteNote: 'not known here: receivers refuse it' }),
    epoch,
    messageId: uuid(mid),
    sentAt: sentAt === undefined ? 'the message id is no UUIDv7: receivers refuse it' : whenShown(sentAt),
    ephemeralKey: hex(enc),
    recipients: recipientCount(header),
    kids: splitWraps(packedWraps).map(({ kid }) => hex(kid)),
    headerBytes: headerBytes.length,
    bodyBytes: commitment.length + ciphertext.length,
    commitment: hex(commitment),
    ciphertextBytes: ciphertext.length,
    ...contentSize(ciphertext.length - AEAD_TAG_BYTES),
    inside: 'sender, subject, reply, headers and payload: nothing of them shows without a key',
  }
}

/** How long the content may be, by the length of what is encrypted. */
function contentSize(plaintextBytes: number): Anatomy {
  const isBucket = paddedLength(plaintextBytes, 'padme') === plaintextBytes
  const atMost = plaintextBytes - CONTENT_OVERHEAD_BYTES
  if (!isBucket) return { padding: 'none', contentBytes: atMost }
  const atLeast = Math.max(0, smallestIn(plaintextBytes) - CONTENT_OVERHEAD_BYTES)
  return {
    padding: `a bucket of ${plaintextBytes} bytes, or none`,
    contentBytesAtLeast: atLeast,
    contentBytesAtMost: atMost,
  }
}

/** The shortest plaintext that is padded to this length: by halves, since padding keeps the order. */
function smallestIn(bucket: number): number {
  let low = 0
  let high = bucket
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (paddedLength(middle, 'padme') < bucket) low = middle + 1
    else high = middle
  }
  return low
}

function uuid(mid: Uint8Array): string {
  return hex(mid).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
