import { concat, readUint, samePublic, u32 } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { MAX_RECIPIENTS } from '../base/limits.ts'
import type { CryptoEngine, KeyPair } from '../crypto/engine.ts'
import { keySchedule, sharedSecret } from '../crypto/hpke.ts'
import { type Padding, paddedLength } from '../crypto/padding.ts'
import { WireType } from '../wire/preamble.ts'
import {
  encodeContent,
  encodeSealed,
  encodeSealedHeader,
  makeMid,
  packWraps,
  type SealedContent,
  type SealedType,
  SIGNATURE_BYTES,
  type Wrap,
} from '../wire/sealed.ts'
import {
  contentKeys,
  contextFor,
  headerHash,
  type LeftOutReason,
  type RecipientKey,
  type SessionSecrets,
  SUITE_X25519,
  sessionSecrets,
  signedBytes,
} from './keys.ts'

const ZERO_NONCE = new Uint8Array(12)
const PUBLIC_KEY_BYTES = 32
const EPHEMERAL_BYTES = 32
const CONTENT_SECRET_BYTES = 32
const MID_RANDOM_BYTES = 10

/** What `seal` needs to know about the message besides its content. */
export interface SealOptions {
  readonly type: SealedType
  readonly epoch: number
  readonly recipients: readonly RecipientKey[]
  /** The instance's Ed25519 message key of this epoch. */
  readonly messageKey: Uint8Array
  readonly sentAtMs: number
  /** A handshake is always padded. */
  readonly padding: Padding
}

/** A sealed message, ready to publish. */
export interface Sealed {
  readonly bytes: Uint8Array
  readonly mid: Uint8Array
  /** What a handshake opens; `undefined` for a message. */
  readonly session: SessionSecrets | undefined
  /** The recipients that it is not sealed to, to be reported. */
  readonly leftOut: readonly LeftOutRecipient[]
}

/** A recipient that got no wrap. */
interface LeftOutRecipient {
  readonly recipient: RecipientKey
  readonly why: LeftOutReason
}

/** What is drawn at random for one message. Fixed only by the tool that writes the known-answer vectors. */
export interface SealRandomness {
  readonly ephemeral: KeyPair
  readonly contentSecret: Uint8Array
  readonly mid: Uint8Array
}

/**
 * Seals content to every recipient in suite 01: SPEC, "Sealing". The result shares no memory with its inputs. A
 * recipient for which no wrap can be made is left out: what one announces fails no message to others.
 *
 * @throws SubrosaError ERR_EMPTY_AUDIENCE without recipients and where no wrap can be made for any of them,
 *   ERR_MESSAGE_TOO_LARGE above 16,384 recipients
 */
export function seal(engine: CryptoEngine, content: SealedContent, options: SealOptions): Sealed {
  // One draw for everything: each costs a system call.
  const random = engine.randomBytes(EPHEMERAL_BYTES + CONTENT_SECRET_BYTES + MID_RANDOM_BYTES)
  const contentStart = EPHEMERAL_BYTES + CONTENT_SECRET_BYTES
  try {
    return sealWith(engine, content, options, {
      ephemeral: engine.x25519KeyPair(random.subarray(0, EPHEMERAL_BYTES)),
      contentSecret: random.subarray(EPHEMERAL_BYTES, contentStart),
      mid: makeMid(options.sentAtMs, random.subarray(contentStart)),
    })
  } finally {
    engine.wipe(random)
  }
}

/** `seal` with given randomness, which it wipes. For vectors only: a repeated secret breaks every guarantee. */
export function sealWith(
  engine: CryptoEngine,
  content: SealedContent,
  options: SealOptions,
  randomness: SealRandomness,
): Sealed {
  const { type, epoch, recipients } = options
  const { ephemeral, contentSecret, mid } = randomness
  if (recipients.length === 0)
    throw new SubrosaError('ERR_EMPTY_AUDIENCE', 'there is no recipient to seal to')
  if (recipients.length > MAX_RECIPIENTS) {
    throw new SubrosaError(
      'ERR_MESSAGE_TOO_LARGE',
      `${recipients.length} recipients are above the limit of ${MAX_RECIPIENTS}`,
    )
  }
  try {
    const enc = ephemeral.publicKey
    const { wraps, leftOut } = wrapAll(engine, options, randomness)
    const packedWraps = packWraps(wraps)
    const headerBytes = encodeSealedHeader({ type, suite: SUITE_X25519, epoch, mid, enc, packedWraps })
    const { body, header, commitment } = sealBody(engine, content, headerBytes, { contentSecret, options })
    const bytes = encodeSealed(type, headerBytes, body)
    const session =
      type === WireType.handshake
        ? sessionSecrets(engine, contentSecret, { header, commitment, handshake: bytes })
        : undefined
    return { bytes, mid, session, leftOut }
  } finally {
    engine.wipe(ephemeral.secretKey, contentSecret)
  }
}

function wrapAll(
  engine: CryptoEngine,
  options: SealOptions,
  randomness: SealRandomness,
): { readonly wraps: readonly Wrap[]; readonly leftOut: readonly LeftOutRecipient[] } {
  const wraps: Wrap[] = []
  const leftOut: LeftOutRecipient[] = []
  const kids = new KidSet()
  for (const recipient of options.recipients) {
    // SPEC, "Format": a receiver refuses a message that has its kid twice, so the second one must not spoil the first.
    if (kids.has(recipient.kid)) {
      leftOut.push({ recipient, why: 'kid in use' })
      continue
    }
    const wrap = wrapFor(engine, recipient, options, randomness)
    if (wrap === undefined) {
      leftOut.push({ recipient, why: 'unusable key' })
      continue
    }
    kids.add(recipient.kid)
    wraps.push(wrap)
  }
  if (wraps.length === 0) {
    throw new SubrosaError('ERR_EMPTY_AUDIENCE', 'nothing can be sealed to any recipient', {
      hint: 'every one of them announced a key of low order',
    })
  }
  return { wraps, leftOut }
}

/** The kids of one message, without text for each: most differ in their first bytes. */
class KidSet {
  readonly #kids = new Map<number, Uint8Array[]>()

  has(kid: Uint8Array): boolean {
    return this.#kids.get(beginning(kid))?.some((known) => samePublic(known, kid)) ?? false
  }

  add(kid: Uint8Array): void {
    const alike = this.#kids.get(beginning(kid))
    if (alike === undefined) this.#kids.set(beginning(kid), [kid])
    else alike.push(kid)
  }
}

function beginning(kid: Uint8Array): number {
  return readUint(kid, 0, 4)
}

/** `undefined` where nothing can be sealed to the recipient's key: it has low order, or is no key of X25519. */
function wrapFor(
  engine: CryptoEngine,
  recipient: RecipientKey,
  { type }: SealOptions,
  { ephemeral, contentSecret, mid }: SealRandomness,
): Wrap | undefined {
  const { kid, publicKey } = recipient
  if (publicKey.length !== PUBLIC_KEY_BYTES) return undefined
  const secret = sharedSecret(
    engine,
    { secretKey: ephemeral.secretKey, publicKey },
    { enc: ephemeral.publicKey, recipient: publicKey },
  )
  if (secret === undefined) return undefined
  const { key, nonce } = keySchedule(engine, secret, contextFor(recipient, type))
  const wrap = engine.aeadSeal({ key, nonce, aad: mid, data: contentSecret })
  engine.wipe(secret, key)
  return { kid, wrap }
}

function sealBody(
  engine: CryptoEngine,
  content: SealedContent,
  headerBytes: Uint8Array,
  { contentSecret, options }: { readonly contentSecret: Uint8Array; readonly options: SealOptions },
): { readonly body: Uint8Array; readonly header: Uint8Array; readonly commitment: Uint8Array } {
  const contentBytes = encodeContent(content)
  const header = headerHash(engine, headerBytes)
  const { key, commitment } = contentKeys(engine, contentSecret, header)
  const hashes = { header, commitment, content: engine.sha256(contentBytes) }
  const toSign = signedBytes(options.type, SUITE_X25519, hashes)
  const length = SIGNATURE_BYTES + 4 + contentBytes.length
  const isHandshake = options.type === WireType.handshake
  const plaintext = new Uint8Array(paddedLength(length, isHandshake ? 'padme' : options.padding))
  plaintext.set(engine.sign(options.messageKey, toSign))
  plaintext.set(u32(contentBytes.length), SIGNATURE_BYTES)
  plaintext.set(contentBytes, SIGNATURE_BYTES + 4)
  // SPEC, "Sealing": the key serves one message, so the nonce is zero.
  const ciphertext = engine.aeadSeal({ key, nonce: ZERO_NONCE, aad: header, data: plaintext })
  engine.wipe(key, plaintext, contentBytes)
  return { body: concat(commitment, ciphertext), header, commitment }
}
