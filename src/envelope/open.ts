import type { CryptoEngine } from '../crypto/engine.ts'
import { keySchedule, sharedSecret } from '../crypto/hpke.ts'
import { isPaddedLength, isZeroFrom, paddedLength } from '../crypto/padding.ts'
import { WireType } from '../wire/preamble.ts'
import {
  decodeContent,
  decodeSealed,
  type FoundWrap,
  findWrap,
  midTime,
  recipientCount,
  type SealedContent,
  type SealedMessage,
  type SealedType,
  SIGNATURE_BYTES,
} from '../wire/sealed.ts'
import {
  contentKeys,
  contextFor,
  headerHash,
  type KeyResolver,
  type OwnKey,
  type SessionSecrets,
  SUITE_X25519,
  sessionSecrets,
  signedBytes,
} from './keys.ts'

const ZERO_NONCE = new Uint8Array(12)

/** Why a message was not opened: counted and reported on this side only, never told to anybody else. */
export type OpenFailure =
  | 'malformed'
  | 'suite'
  | 'epoch'
  | 'wrap'
  | 'commitment'
  | 'ciphertext'
  | 'padding'
  | 'content'

/**
 * A message that was decrypted with an own key, and whose sender is still to be proved with {@link verifySender}.
 * Everyone who opens the same header and commitment has the same content.
 */
export interface Unsealed {
  readonly content: SealedContent
  readonly type: SealedType
  readonly suite: number
  readonly epoch: number
  readonly epochHash: Uint8Array
  readonly mid: Uint8Array
  readonly sentAtMs: number
  /** How many keys the message was sealed to. */
  readonly recipients: number
  readonly signature: Uint8Array
  readonly toVerify: Uint8Array
  /** What a handshake opens; `undefined` for a message. Its key is to be wiped where nothing comes of it. */
  readonly session: SessionSecrets | undefined
}

/**
 * `not addressed`: no wrap is for an own key. `not tried`: one is, and the caller did not want it unwrapped. `failed`:
 * it is wrong.
 */
export type UnsealResult =
  | { readonly outcome: 'opened'; readonly message: Unsealed }
  | { readonly outcome: 'not addressed' }
  | { readonly outcome: 'not tried' }
  | { readonly outcome: 'failed'; readonly failure: OpenFailure; readonly unwrapped: boolean }

/**
 * The steps of SPEC, "Opening", from the sizes to the content. It never throws, whatever the bytes are.
 * `unwrapped` tells whether key agreement was spent on the message before it failed.
 *
 * @param mayUnwrap asked once an own key is named; `false` leaves the message unopened.
 */
export function unseal(
  engine: CryptoEngine,
  bytes: Uint8Array,
  keys: KeyResolver,
  mayUnwrap: () => boolean = () => true,
): UnsealResult {
  const sealed = parse(bytes)
  if (sealed === undefined) return failed('malformed', false)
  const sentAtMs = midTime(sealed.header.mid)
  if (sentAtMs === undefined) return failed('malformed', false)
  if (sealed.header.suite !== SUITE_X25519) return failed('suite', false)
  const own = ownWrap(sealed, keys)
  if (own === 'twice') return failed('malformed', false)
  if (own === undefined) return { outcome: 'not addressed' }
  if (own.key.suite !== sealed.header.suite) return failed('suite', false)
  if (own.key.epoch !== sealed.header.epoch) return failed('epoch', false)
  if (!mayUnwrap()) return { outcome: 'not tried' }
  const contentSecret = unwrap(engine, sealed, own)
  if (contentSecret === undefined) return failed('wrap', true)
  try {
    return openBody(engine, sealed, { bytes, contentSecret, sentAtMs, epochHash: own.key.epochHash })
  } finally {
    engine.wipe(contentSecret)
  }
}

/** Whether the message key `messageKey` of the announced sender signed this message. */
export function verifySender(engine: CryptoEngine, message: Unsealed, messageKey: Uint8Array): boolean {
  return engine.verify(messageKey, message.toVerify, message.signature)
}

function failed(failure: OpenFailure, unwrapped: boolean): UnsealResult {
  return { outcome: 'failed', failure, unwrapped }
}

function parse(bytes: Uint8Array): SealedMessage | undefined {
  try {
    return decodeSealed(bytes)
  } catch {
    return undefined
  }
}

function ownWrap({ header }: SealedMessage, keys: KeyResolver): FoundWrap<OwnKey> | 'twice' | undefined {
  try {
    return findWrap(header.packedWraps, keys.ownKeys())
  } catch {
    return 'twice'
  }
}

function unwrap(
  engine: CryptoEngine,
  { header }: SealedMessage,
  { wrap, key }: FoundWrap<OwnKey>,
): Uint8Array | undefined {
  const secret = sharedSecret(
    engine,
    { secretKey: key.secretKey, publicKey: header.enc },
    { enc: header.enc, recipient: key.publicKey },
  )
  if (secret === undefined) return undefined
  const context = keySchedule(engine, secret, contextFor(key, header.type))
  const contentSecret = engine.aeadOpen({
    key: context.key,
    nonce: context.nonce,
    aad: header.mid,
    data: wrap,
  })
  engine.wipe(secret, context.key)
  return contentSecret
}

function openBody(
  engine: CryptoEngine,
  sealed: SealedMessage,
  known: {
    readonly bytes: Uint8Array
    readonly contentSecret: Uint8Array
    readonly sentAtMs: number
    readonly epochHash: Uint8Array
  },
): UnsealResult {
  const { type, suite, epoch, mid } = sealed.header
  const header = headerHash(engine, sealed.headerBytes)
  const { contentSecret, bytes } = known
  const { key, commitment } = contentKeys(engine, contentSecret, header)
  if (!engine.equal(commitment, sealed.commitment)) return failed('commitment', true)
  const plaintext = engine.aeadOpen({ key, nonce: ZERO_NONCE, aad: header, data: sealed.ciphertext })
  engine.wipe(key)
  if (plaintext === undefined) return failed('ciphertext', true)
  const contentBytes = withoutPadding(plaintext, type)
  if (contentBytes === undefined) return failed('padding', true)
  const content = parseContent(contentBytes)
  if (content === undefined) return failed('content', true)
  const hashes = { header, commitment, content: engine.sha256(contentBytes) }
  return {
    outcome: 'opened',
    message: {
      content,
      type,
      suite,
      epoch,
      epochHash: known.epochHash,
      mid: new Uint8Array(mid),
      sentAtMs: known.sentAtMs,
      recipients: recipientCount(sealed.header),
      signature: plaintext.subarray(0, SIGNATURE_BYTES),
      toVerify: signedBytes(type, suite, hashes),
      session:
        type === WireType.handshake
          ? sessionSecrets(engine, contentSecret, { header, commitment, handshake: bytes })
          : undefined,
    },
  }
}

function withoutPadding(plaintext: Uint8Array, type: SealedType): Uint8Array | undefined {
  const start = SIGNATURE_BYTES + 4
  const view = new DataView(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength)
  const end = start + view.getUint32(SIGNATURE_BYTES)
  if (end > plaintext.length || !isPaddedLength(end, plaintext.length)) return undefined
  // SPEC, "Padding": a second length would give a handshake a second name.
  if (type === WireType.handshake && plaintext.length !== paddedLength(end, 'padme')) return undefined
  return isZeroFrom(plaintext, end) ? plaintext.subarray(start, end) : undefined
}

function parseContent(bytes: Uint8Array): SealedContent | undefined {
  try {
    return decodeContent(bytes)
  } catch {
    return undefined
  }
}
