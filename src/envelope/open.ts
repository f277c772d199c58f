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
  /** `kid` of the own key to which it was sealed. */
  readonly kid: Uint8Array
  /** How many keys the message was sealed to. */
  readonly recipients: number
  readonly signature: Uint8Array
  readonly toVerify: Uint8Array
  /** What a handshake opens; `undefined` for a message. Its key is to be wiped where nothing comes of it. */
  readonly session: SessionSecrets | undefined
}

/** A message that names an own key. Nothing secret was done with it yet: everything here can be junk. */
export interface Addressed {
  /** The whole message as it came: that of a handshake names its session. */
  readonly wire: Uint8Array
  readonly sealed: SealedMessage
  readonly own: FoundWrap<OwnKey>
  /** The time in clear. It is authenticated once the message is open. */
  readonly sentAtMs: number
}

/** `not addressed`: no wrap is for an own key. `failed`: it is wrong, and it took no cipher to see that. */
export type Reading =
  | { readonly outcome: 'addressed'; readonly message: Addressed }
  | { readonly outcome: 'not addressed' }
  | { readonly outcome: 'failed'; readonly failure: OpenFailure; readonly unwrapped: false }

/** What comes of opening a message that names an own key. */
export type Opening =
  | { readonly outcome: 'opened'; readonly message: Unsealed }
  | { readonly outcome: 'failed'; readonly failure: OpenFailure; readonly unwrapped: true }

/**
 * The steps of SPEC, "Opening", that need no cipher: sizes, fields, the own key. It never throws, whatever the bytes are.
 */
export function readSealed(bytes: Uint8Array, keys: KeyResolver): Reading {
  const refused = (failure: OpenFailure) => ({ outcome: 'failed', failure, unwrapped: false }) as const
  const sealed = parse(bytes)
  const sentAtMs = sealed === undefined ? undefined : midTime(sealed.header.mid)
  if (sealed === undefined || sentAtMs === undefined) return refused('malformed')
  const { suite, epoch } = sealed.header
  if (suite !== SUITE_X25519) return refused('suite')
  const own = ownWrap(sealed, keys)
  if (own === 'twice') return refused('malformed')
  if (own === undefined) return { outcome: 'not addressed' }
  if (own.key.suite !== suite) return refused('suite')
  if (own.key.epoch !== epoch) return refused('epoch')
  return { outcome: 'addressed', message: { wire: bytes, sealed, own, sentAtMs } }
}

/** The steps that follow, from the key agreement to the content. It never throws. */
export function openSealed(engine: CryptoEngine, message: Addressed): Opening {
  const { sealed, own } = message
  const contentSecret = unwrap(engine, sealed, own)
  if (contentSecret === undefined) return failed('wrap')
  try {
    return openBody(engine, message, contentSecret)
  } finally {
    engine.wipe(contentSecret)
  }
}

/** Whether the message key `messageKey` of the announced sender signed this message. */
export function verifySender(engine: CryptoEngine, message: Unsealed, messageKey: Uint8Array): boolean {
  return engine.verify(messageKey, message.toVerify, message.signature)
}

/** Both in one, for whoever has no budget to ask in between. `unwrapped` tells whether a key agreement was spent. */
export function unseal(
  engine: CryptoEngine,
  bytes: Uint8Array,
  keys: KeyResolver,
): Opening | Exclude<Reading, { readonly outcome: 'addressed' }> {
  const reading = readSealed(bytes, keys)
  return reading.outcome === 'addressed' ? openSealed(engine, reading.message) : reading
}

function failed(failure: OpenFailure): Opening {
  return { outcome: 'failed', failure, unwrapped: true }
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
  { wire, sealed, own, sentAtMs }: Addressed,
  contentSecret: Uint8Array,
): Opening {
  const { type, suite, epoch, mid } = sealed.header
  const header = headerHash(engine, sealed.headerBytes)
  const { key, commitment } = contentKeys(engine, contentSecret, header)
  const plaintext = decrypt(engine, sealed, { header, key, commitment })
  if (typeof plaintext === 'string') return failed(plaintext)
  const contentBytes = withoutPadding(plaintext, type)
  if (contentBytes === undefined) return failed('padding')
  const content = parseContent(contentBytes)
  if (content === undefined) return failed('content')
  const hashes = { header, commitment, content: engine.sha256(contentBytes) }
  return {
    outcome: 'opened',
    message: {
      content,
      type,
      suite,
      epoch,
      epochHash: own.key.epochHash,
      mid: new Uint8Array(mid),
      sentAtMs,
      kid: own.key.kid,
      recipients: recipientCount(sealed.header),
      signature: plaintext.subarray(0, SIGNATURE_BYTES),
      toVerify: signedBytes(type, suite, hashes),
      session:
        type === WireType.handshake
          ? sessionSecrets(engine, contentSecret, { header, commitment, handshake: wire })
          : undefined,
    },
  }
}

/** The plaintext, or what is wrong. The key is wiped either way. */
function decrypt(
  engine: CryptoEngine,
  sealed: SealedMessage,
  by: { readonly header: Uint8Array; readonly key: Uint8Array; readonly commitment: Uint8Array },
): Uint8Array | 'commitment' | 'ciphertext' {
  const { header, key, commitment } = by
  try {
    if (!engine.equal(commitment, sealed.commitment)) return 'commitment'
    const input = { key, nonce: ZERO_NONCE, aad: header, data: sealed.ciphertext }
    return engine.aeadOpen(input) ?? 'ciphertext'
  } finally {
    engine.wipe(key)
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
