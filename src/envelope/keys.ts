import { byte, concat } from '../base/bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { scheduleContext } from '../crypto/hpke.ts'
import { labels } from '../crypto/labels.ts'
import { SID_BYTES } from '../wire/frame.ts'
import { WireType } from '../wire/preamble.ts'
import { KID_BYTES, type SealedType } from '../wire/sealed.ts'

/** The suite that everyone has. SPEC, "Suites". */
export const SUITE_X25519 = 0x01

/** What a recipient key is for. Live keys open what arrives now, stored keys what a stream redelivers. */
export const KeyUse = { live: 0, stored: 1 } as const

export type KeyUse = (typeof KeyUse)[keyof typeof KeyUse]

/** A recipient as the sender sees it: one announced public key. */
export interface RecipientKey {
  readonly kid: Uint8Array
  readonly context: WrapContext
  readonly publicKey: Uint8Array
}

/**
 * Why nothing is sealed to a recipient that others may be sealed to: its public key has low order or is none of X25519,
 * or its `kid` is that of another recipient.
 */
export type LeftOutReason = 'unusable key' | 'kid in use'

/** A recipient's own key, with what its announcement binds it to. */
export interface OwnKey extends RecipientKey {
  readonly secretKey: Uint8Array
  readonly suite: number
  readonly epoch: number
  readonly epochHash: Uint8Array
}

/** The own secret keys that a wrap may be for. */
export interface KeyResolver {
  /** All of them: one for each epoch whose grace lasts, and those that fresh ones have just replaced, so a few. Nothing is computed in it: each message asks. */
  ownKeys(): readonly OwnKey[]
}

/** `kid` of SPEC: 16 bytes that name one announced key. */
export function keyId(
  engine: CryptoEngine,
  key: { readonly suite: number; readonly use: KeyUse; readonly announcementHash: Uint8Array },
): Uint8Array {
  const { suite, use, announcementHash } = key
  return engine.sha256(labels.kid, byte(suite), byte(use), announcementHash).slice(0, KID_BYTES)
}

/** What binds a wrap to its recipient, ready for HPKE. The same for every message of one epoch, so it is kept. */
export interface WrapContext {
  readonly sealed: Uint8Array
  readonly handshake: Uint8Array
}

/** The HPKE contexts of a key: `info` is the label, type, suite, epoch hash and announcement hash. */
export function wrapContext(
  engine: CryptoEngine,
  suite: number,
  hashes: { readonly epochHash: Uint8Array; readonly announcementHash: Uint8Array },
): WrapContext {
  const context = (type: number): Uint8Array =>
    scheduleContext(
      engine,
      concat(labels.wrap, byte(type), byte(suite), hashes.epochHash, hashes.announcementHash),
    )
  return { sealed: context(WireType.sealed), handshake: context(WireType.handshake) }
}

/** The context for one type of message. */
export function contextFor(key: RecipientKey, type: SealedType): Uint8Array {
  return type === WireType.sealed ? key.context.sealed : key.context.handshake
}

/** What the instance's message key signs: the header, the commitment and the content. */
export function signedBytes(
  type: number,
  suite: number,
  hashes: { readonly header: Uint8Array; readonly commitment: Uint8Array; readonly content: Uint8Array },
): Uint8Array {
  return concat(labels.message, byte(type), byte(suite), hashes.header, hashes.commitment, hashes.content)
}

/** `TH` of SPEC: the hash of the header as it travels. */
export function headerHash(engine: CryptoEngine, headerBytes: Uint8Array): Uint8Array {
  return engine.sha256(labels.header, headerBytes)
}

/** `K` and `COM` of SPEC, from the content key and the header's hash. */
export function contentKeys(
  engine: CryptoEngine,
  contentSecret: Uint8Array,
  header: Uint8Array,
): { readonly key: Uint8Array; readonly commitment: Uint8Array } {
  const prk = engine.hmac(header, contentSecret)
  const key = engine.hmac(prk, labels.contentKey)
  const commitment = engine.hmac(prk, labels.commitment)
  engine.wipe(prk)
  return { key, commitment }
}

/** What a handshake opens, on either side. */
export interface SessionSecrets {
  /** Names the session: {@link sessionId} of its handshake. */
  readonly sid: Uint8Array
  /** Encrypts its frames. It is a secret. */
  readonly key: Uint8Array
  /** The sid, the header's hash and the commitment: every signature over frames covers them. */
  readonly binding: Uint8Array
}

/**
 * `sid` of SPEC: 16 bytes that name one handshake, by its whole wire message as received. It takes no key to compute, and
 * costs one hash over all of it.
 */
export function sessionId(engine: CryptoEngine, handshake: Uint8Array): Uint8Array {
  return engine.sha256(labels.session, handshake).slice(0, SID_BYTES)
}

/** `sid` and `SK` of SPEC. The key gets memory of its own, which native calls take without a copy. */
export function sessionSecrets(
  engine: CryptoEngine,
  contentSecret: Uint8Array,
  opening: {
    readonly header: Uint8Array
    readonly commitment: Uint8Array
    /** The whole wire message. */
    readonly handshake: Uint8Array
  },
): SessionSecrets {
  const { header, commitment, handshake } = opening
  const sid = sessionId(engine, handshake)
  const prk = engine.hmac(header, contentSecret)
  const derived = engine.hmac(prk, labels.sessionKey)
  const key = new Uint8Array(new ArrayBuffer(derived.length))
  key.set(derived)
  engine.wipe(prk, derived)
  return { sid, key, binding: concat(sid, header, commitment) }
}
