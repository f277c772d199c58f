import { concat, u32 } from '../../src/base/bytes.ts'
import type { CryptoEngine, KeyPair } from '../../src/crypto/engine.ts'
import { keySchedule, sharedSecret } from '../../src/crypto/hpke.ts'
import { type Padding, paddedLength } from '../../src/crypto/padding.ts'
import {
  contentKeys,
  contextFor,
  headerHash,
  type KeyResolver,
  KeyUse,
  keyId,
  type OwnKey,
  type RecipientKey,
  SUITE_X25519,
  signedBytes,
  wrapContext,
} from '../../src/envelope/keys.ts'
import { seal } from '../../src/envelope/seal.ts'
import { pack } from '../../src/wire/msgpack.ts'
import {
  decodeSealed,
  encodeContent,
  encodeSealed,
  findWrap,
  makeMid,
  type SealedContent,
  type SealedType,
} from '../../src/wire/sealed.ts'

export const SENT_AT_MS = 1_800_000_060_000
export const EPOCH = 7
export const EPOCH_HASH = new Uint8Array(32).fill(0xe7)

/** A recipient of its own announcement, with the secret key. */
export function newRecipient(
  engine: CryptoEngine,
  options: {
    readonly use?: KeyUse
    readonly epochHash?: Uint8Array
    readonly announcementHash?: Uint8Array
  } = {},
): OwnKey {
  const { use = KeyUse.live, epochHash = EPOCH_HASH, announcementHash = engine.randomBytes(32) } = options
  return {
    ...engine.x25519KeyPair(),
    kid: keyId(engine, { suite: SUITE_X25519, use, announcementHash }),
    context: wrapContext(engine, SUITE_X25519, { epochHash, announcementHash }),
    suite: SUITE_X25519,
    epoch: EPOCH,
    epochHash,
  }
}

/** Resolves exactly these keys. */
export function keyring(...keys: readonly OwnKey[]): KeyResolver {
  return { ownKeys: () => keys }
}

export function makeContent(changes: Partial<SealedContent> = {}): SealedContent {
  return {
    sender: new Uint8Array(32).fill(6),
    seq: 1,
    subject: 'orders.new',
    reply: undefined,
    inReplyTo: undefined,
    ttlMs: 0,
    headers: [],
    clearHeaders: [],
    payload: new TextEncoder().encode('payload'),
    ...changes,
  }
}

/** Seals honestly. */
export function sealTo(
  engine: CryptoEngine,
  recipients: readonly RecipientKey[],
  options: {
    readonly sender: KeyPair
    readonly content?: SealedContent
    readonly type?: SealedType
    readonly padding?: Padding
  },
): Uint8Array {
  const { sender, content = makeContent(), type = 0, padding = 'padme' } = options
  return seal(engine, content, {
    type,
    epoch: EPOCH,
    recipients,
    messageKey: sender.secretKey,
    sentAtMs: SENT_AT_MS,
    padding,
  }).bytes
}

/** What a message is made of, for those who make it by hand. Whatever is left out is as an honest sender makes it. */
export interface Forgery {
  readonly recipients: readonly RecipientKey[]
  readonly sender: KeyPair
  readonly content?: SealedContent
  readonly type?: SealedType
  readonly suite?: number
  readonly epoch?: number
  readonly mid?: Uint8Array
  readonly ephemeral?: KeyPair
  readonly contentSecret?: Uint8Array
  readonly headerBytes?: Uint8Array
  /** Changes the packed wraps. */
  readonly wraps?: (wraps: Uint8Array) => Uint8Array
  readonly signature?: Uint8Array
  readonly commitment?: Uint8Array
  /** Lays out the plaintext. */
  readonly plaintext?: (parts: PlaintextParts) => Uint8Array
}

export interface PlaintextParts {
  readonly signature: Uint8Array
  readonly contentBytes: Uint8Array
}

/** Makes a message from its parts, with the right keys but none of the checks of an honest sender. */
export function forge(engine: CryptoEngine, forgery: Forgery): Uint8Array {
  const {
    recipients,
    sender,
    content = makeContent(),
    type = 0,
    suite = SUITE_X25519,
    epoch = EPOCH,
  } = forgery
  const mid = forgery.mid ?? makeMid(SENT_AT_MS, engine.randomBytes(10))
  const ephemeral = forgery.ephemeral ?? engine.x25519KeyPair()
  const contentSecret = forgery.contentSecret ?? engine.randomBytes(32)
  const wraps = recipients.map((recipient) =>
    wrapFor(engine, recipient, { type, mid, ephemeral, contentSecret }),
  )
  const changeWraps = forgery.wraps ?? ((bytes) => bytes)
  const headerBytes =
    forgery.headerBytes ?? pack([type, suite, epoch, mid, ephemeral.publicKey, changeWraps(concat(...wraps))])
  const header = headerHash(engine, headerBytes)
  const keys = contentKeys(engine, contentSecret, header)
  const contentBytes = encodeContent(content)
  const toSign = signedBytes(type, suite, {
    header,
    commitment: keys.commitment,
    content: engine.sha256(contentBytes),
  })
  const signature = forgery.signature ?? engine.sign(sender.secretKey, toSign)
  const layOut = forgery.plaintext ?? honestPlaintext
  const ciphertext = engine.aeadSeal({
    key: keys.key,
    nonce: new Uint8Array(12),
    aad: header,
    data: layOut({ signature, contentBytes }),
  })
  return encodeSealed(type, headerBytes, concat(forgery.commitment ?? keys.commitment, ciphertext))
}

/** `kid ‖ wrap` of one recipient. */
export function wrapFor(
  engine: CryptoEngine,
  recipient: RecipientKey,
  message: {
    readonly type: SealedType
    readonly mid: Uint8Array
    readonly ephemeral: KeyPair
    readonly contentSecret: Uint8Array
    readonly secret?: Uint8Array
  },
): Uint8Array {
  const { type, mid, ephemeral, contentSecret } = message
  const secret =
    message.secret ??
    sharedSecret(
      engine,
      { secretKey: ephemeral.secretKey, publicKey: recipient.publicKey },
      { enc: ephemeral.publicKey, recipient: recipient.publicKey },
    )
  if (secret === undefined) throw new Error('the recipient has a key of low order')
  const { key, nonce } = keySchedule(engine, secret, contextFor(recipient, type))
  return concat(recipient.kid, engine.aeadSeal({ key, nonce, aad: mid, data: contentSecret }))
}

/** As an honest sender lays it out. */
export function honestPlaintext({ signature, contentBytes }: PlaintextParts): Uint8Array {
  const bare = concat(signature, u32(contentBytes.length), contentBytes)
  const padded = new Uint8Array(paddedLength(bare.length, 'padme'))
  padded.set(bare)
  return padded
}

/** Everything that a recipient learns from a message that was sealed to it. */
export interface Insight {
  readonly type: SealedType
  readonly headerBytes: Uint8Array
  readonly mid: Uint8Array
  readonly contentSecret: Uint8Array
  readonly commitment: Uint8Array
  readonly signature: Uint8Array
  readonly plaintext: Uint8Array
}

/** Opens a message as a recipient who wants to abuse it. */
export function lookInto(engine: CryptoEngine, bytes: Uint8Array, own: OwnKey): Insight {
  const { header, headerBytes, commitment, ciphertext } = decodeSealed(bytes)
  const wrap = findWrap(header.packedWraps, [own])?.wrap
  const secret = sharedSecret(
    engine,
    { secretKey: own.secretKey, publicKey: header.enc },
    { enc: header.enc, recipient: own.publicKey },
  )
  if (wrap === undefined || secret === undefined) throw new Error('the message is not for this recipient')
  const context = keySchedule(engine, secret, contextFor(own, header.type))
  const contentSecret = engine.aeadOpen({ ...context, aad: header.mid, data: wrap })
  if (contentSecret === undefined) throw new Error('the wrap does not open')
  const hash = headerHash(engine, headerBytes)
  const { key } = contentKeys(engine, contentSecret, hash)
  const plaintext = engine.aeadOpen({ key, nonce: new Uint8Array(12), aad: hash, data: ciphertext })
  if (plaintext === undefined) throw new Error('the body does not open')
  return {
    type: header.type,
    headerBytes,
    mid: header.mid,
    contentSecret,
    commitment,
    signature: plaintext.subarray(0, 64),
    plaintext,
  }
}
