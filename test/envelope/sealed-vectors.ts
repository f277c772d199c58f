import { expect } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import { type KeyUse, keyId, type OwnKey, wrapContext } from '../../src/envelope/keys.ts'
import type { SealOptions } from '../../src/envelope/seal.ts'
import type { HeaderPair, SealedContent, SealedType } from '../../src/wire/sealed.ts'

interface Recipient {
  readonly name: string
  readonly use: KeyUse
  readonly announcement_hash: string
  readonly secret_key: string
  readonly public_key: string
}

/** A sealed message with every step, as the vectors have it. */
export interface SealedVector {
  readonly name: string
  readonly input: {
    readonly type: SealedType
    readonly suite: number
    readonly epoch: number
    readonly epoch_hash: string
    readonly sent_at_ms: number
    readonly padding: 'padme' | 'none'
    readonly recipients: readonly Recipient[]
    readonly mid_random: string
    readonly ephemeral_secret: string
    readonly cek: string
    readonly message_key: { readonly seed: string; readonly public: string }
    readonly content: {
      readonly sender: string
      readonly seq: number
      readonly subject: string
      readonly reply: string | null
      readonly in_reply_to: string | null
      readonly ttl_ms: number
      readonly headers: readonly (readonly [string, string])[]
      readonly clear_headers: readonly (readonly [string, string])[]
      readonly payload: string
    }
  }
  readonly steps: {
    readonly enc: string
    readonly mid: string
    readonly recipients: readonly {
      readonly kid: string
      readonly info: string
      readonly dh: string
      readonly shared_secret: string
      readonly key_schedule_context: string
      readonly key: string
      readonly nonce: string
      readonly wrap: string
    }[]
    readonly H: string
    readonly TH: string
    readonly PRK: string
    readonly K: string
    readonly COM: string
    readonly P: string
    readonly sha256_P: string
    readonly signed: string
    readonly signature: string
    readonly plaintext: string
    readonly ciphertext: string
    readonly wire: string
  }
}

/** A recipient of a vector, with its secret key. */
export function recipientKey(
  engine: CryptoEngine,
  recipient: Recipient,
  input: SealedVector['input'],
): OwnKey {
  const announcementHash = fromHex(recipient.announcement_hash)
  const epochHash = fromHex(input.epoch_hash)
  const { secretKey, publicKey } = engine.x25519KeyPair(fromHex(recipient.secret_key))
  expect(hex(publicKey)).toBe(recipient.public_key)
  return {
    kid: keyId(engine, { suite: input.suite, use: recipient.use, announcementHash }),
    context: wrapContext(engine, input.suite, { epochHash, announcementHash }),
    publicKey,
    secretKey,
    suite: input.suite,
    epoch: input.epoch,
    epochHash,
  }
}

/** What the message of a vector is sealed with, but for what is drawn at random. */
export function optionsOf(
  engine: CryptoEngine,
  { input }: Pick<SealedVector, 'input'>,
  recipients: readonly OwnKey[],
): SealOptions {
  return {
    type: input.type,
    epoch: input.epoch,
    recipients,
    messageKey: engine.ed25519KeyPair(fromHex(input.message_key.seed)).secretKey,
    sentAtMs: input.sent_at_ms,
    padding: input.padding,
  }
}

/** The content of a vector's message. */
export function contentOf(content: SealedVector['input']['content']): SealedContent {
  return {
    sender: fromHex(content.sender),
    seq: content.seq,
    subject: content.subject,
    reply: content.reply ?? undefined,
    inReplyTo: content.in_reply_to === null ? undefined : fromHex(content.in_reply_to),
    ttlMs: content.ttl_ms,
    headers: content.headers.map(pair),
    clearHeaders: content.clear_headers.map(pair),
    payload: fromHex(content.payload),
  }
}

function pair([name, value]: readonly [string, string]): HeaderPair {
  return { name, value }
}
