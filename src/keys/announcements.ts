import { concat } from '../base/bytes.ts'
import { type Latest, unconfirmed } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { isLowOrder } from '../crypto/low-order.ts'
import {
  KeyUse,
  keyId,
  type LeftOutReason,
  type RecipientKey,
  SUITE_X25519,
  type WrapContext,
  wrapContext,
} from '../envelope/keys.ts'
import type { Identity } from '../identity/identity.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Trust, VerifiedClaims } from '../identity/trust.ts'
import {
  type Announcement,
  decodeAnnouncement,
  decodeSignedAnnouncement,
  encodeAnnouncement,
  encodeSignedAnnouncement,
  type SignedAnnouncement,
} from '../wire/statements.ts'
import type { Epoch } from './epochs.ts'
import type { KeyMemory } from './key-memory.ts'
import type { RevocationSet } from './revocations.ts'

declare const verified: unique symbol

const X25519_BYTES = 32

/** What counts of an announcement once it is proved: a directory holds it of every agent, and no more. */
type AnnouncedInstance = Pick<
  Announcement,
  'instance' | 'epoch' | 'epochHash' | 'messageKey' | 'notBefore' | 'seq'
>

/** An announcement whose signatures, token and epoch were verified. Only {@link judgeAnnouncement} makes them. */
export interface VerifiedAnnouncement {
  readonly [verified]: true
  readonly hash: Uint8Array
  readonly announcement: AnnouncedInstance
  readonly claims: VerifiedClaims
  /** The live key to seal to; `undefined` when the instance has retired. */
  readonly recipient: RecipientKey | undefined
}

/** An announcement in parts, as it was received: nothing of it is proved. */
export interface ParsedAnnouncement {
  readonly bytes: Uint8Array
  readonly hash: Uint8Array
  readonly signed: SignedAnnouncement
  readonly announcement: Announcement
}

/** The hash by which an announcement is asked for; `undefined` where it is none. Nothing else of it is read. */
export function announcementHash(engine: CryptoEngine, bytes: Uint8Array): Uint8Array | undefined {
  try {
    return engine.sha256(decodeSignedAnnouncement(bytes).structure)
  } catch (error) {
    if (error instanceof SubrosaError) return undefined
    throw error
  }
}

/** Reads an announcement. @throws SubrosaError ERR_MALFORMED */
export function parseAnnouncement(engine: CryptoEngine, bytes: Uint8Array): ParsedAnnouncement {
  const signed = decodeSignedAnnouncement(bytes)
  return {
    bytes: new Uint8Array(bytes),
    hash: engine.sha256(signed.structure),
    signed,
    announcement: decodeAnnouncement(signed.structure),
  }
}

/** Signs an announcement with the identity, and with the message key that it announces. */
export function signAnnouncement(
  engine: CryptoEngine,
  announcement: Announcement,
  keys: { readonly identity: Identity; readonly messageKey: Uint8Array },
): ParsedAnnouncement {
  const structure = encodeAnnouncement(announcement)
  const hash = engine.sha256(structure)
  const signature = keys.identity.sign(concat(labels.announcement, structure))
  const proof = engine.sign(keys.messageKey, concat(labels.possession, hash))
  const signed = { structure, signature, proof }
  return { bytes: encodeSignedAnnouncement(signed), hash, signed, announcement }
}

/** The wire message with which an identity retires one of its instances: an announcement without keys. */
export function signRetirement(
  identity: Identity,
  epoch: Pick<Epoch, 'number' | 'hash'>,
  retired: {
    readonly instance: Uint8Array
    readonly seq: number
    readonly notBefore: number
    readonly notAfter: number
  },
): Uint8Array {
  const structure = encodeAnnouncement({
    realm: identity.claims.realm,
    agent: identity.name,
    instance: retired.instance,
    epoch: epoch.number,
    epochHash: epoch.hash,
    identity: identity.publicKey,
    messageKey: new Uint8Array(0),
    keys: [],
    notBefore: retired.notBefore,
    notAfter: retired.notAfter,
    storedMs: 0,
    seq: retired.seq,
    token: identity.token,
  })
  const signature = identity.sign(concat(labels.announcement, structure))
  return encodeSignedAnnouncement({ structure, signature, proof: undefined })
}

/**
 * What is wrong with an announcement. `unproved`: something in it does not hold, so that nobody knows who made it. Else
 * its identity made it, and nothing can be sealed to it.
 */
export type AnnouncementFault = 'unproved' | LeftOutReason

/** What a verification works with: the announcement's epoch, and the time. */
interface VerifiedAt {
  readonly epoch: Epoch
  readonly nowMs: number
  /** Keeps the bytes of what is proved. Default: they stay where they are. */
  readonly memory?: KeyMemory
}

/** By what the signer of an announcement is judged. */
interface AroundSigner {
  readonly trust: Trust
  readonly revocations: RevocationSet
  /** By it a token has expired where it is ahead of the clock. */
  readonly latest?: Latest
}

/** What an announcement is verified against. */
interface Around extends AroundSigner {
  readonly engine: CryptoEngine
}

/**
 * Proves an announcement: token, epoch, times, the identity's signature, the message key's proof of possession, and a
 * key that others can seal to. The key comes last: whoever is reported for an unusable one has signed it. SPEC,
 * "Announcement".
 *
 * @returns what is wrong where anything does not hold
 */
export function judgeAnnouncement(
  around: Around,
  parsed: ParsedAnnouncement,
  at: VerifiedAt,
): VerifiedAnnouncement | AnnouncementFault {
  const { announcement } = parsed
  const { epoch, nowMs, memory } = at
  if (!fitsEpoch(announcement, epoch)) return 'unproved'
  const claims = verifyAnnouncer(around, parsed, nowMs)
  if (claims === undefined) return 'unproved'
  const isRetirement = announcement.keys.length === 0
  const publicKey = isRetirement ? undefined : livePublicKey(announcement)
  if (!isRetirement && publicKey === undefined) return 'unusable key'
  const { instance, messageKey, notBefore, seq } = announcement
  const keep = (bytes: Uint8Array): Uint8Array => memory?.keep(bytes) ?? bytes
  const hash = keep(parsed.hash)
  return {
    hash,
    announcement: {
      instance: keep(instance),
      epoch: epoch.number,
      epochHash: epoch.hash,
      messageKey: keep(messageKey),
      notBefore,
      seq,
    },
    claims,
    recipient: publicKey && new LiveKey(around.engine, keep(publicKey), { epochHash: epoch.hash, hash }),
  } as VerifiedAnnouncement
}

/**
 * Proves who made an announcement, for whatever epoch: token, the identity's signature and the message key's proof of
 * possession.
 *
 * @returns `undefined` where anything does not hold.
 */
export function verifyAnnouncer(
  around: Around,
  parsed: ParsedAnnouncement,
  nowMs: number,
): VerifiedClaims | undefined {
  const { engine, revocations } = around
  const { announcement, signed } = parsed
  const claims = verifyClaims(around, announcement, nowMs)
  if (claims === undefined || revocations.isRevoked(claims)) return undefined
  const identityKey = decodeNkey('U', claims.identity)
  if (!engine.verify(identityKey, concat(labels.announcement, signed.structure), signed.signature))
    return undefined
  const isRetirement = announcement.keys.length === 0
  return isRetirement || provesPossession(engine, parsed) ? claims : undefined
}

function fitsEpoch(announcement: Announcement, epoch: Epoch): boolean {
  const { realm, notBefore, notAfter, keys } = announcement
  if (realm !== epoch.realm || announcement.epoch !== epoch.number) return false
  if (notBefore < epoch.notBefore || notAfter > epoch.notAfter || notBefore >= notAfter) return false
  return keys.every(({ suite }) => epoch.suites.includes(suite))
}

function verifyClaims(
  { trust, latest = unconfirmed }: AroundSigner,
  announcement: Announcement,
  nowMs: number,
): VerifiedClaims | undefined {
  try {
    const claims = trust.verify(announcement.token, nowMs, Math.max(nowMs, latest()))
    return claims.identity === announcement.identity && claims.name === announcement.agent
      ? claims
      : undefined
  } catch {
    return undefined
  }
}

function provesPossession(engine: CryptoEngine, { signed, announcement, hash }: ParsedAnnouncement): boolean {
  if (signed.proof === undefined) return false
  return engine.verify(announcement.messageKey, concat(labels.possession, hash), signed.proof)
}

/**
 * The one live key of suite 01, where something can be sealed to it. A recipient's key comes from nowhere else. Keys of
 * suites and uses that this version does not know are left alone.
 */
function livePublicKey({ keys }: Announcement): Uint8Array | undefined {
  const isLive = (key: { suite: number; use: number }) =>
    key.suite === SUITE_X25519 && key.use === KeyUse.live
  const [key, second] = keys.filter(isLive)
  if (key === undefined || second !== undefined || key.publicKey.length !== X25519_BYTES) return undefined
  return isLowOrder(key.publicKey) ? undefined : key.publicKey
}

/** An announced key. What else sealing needs is made when it is first asked for: few members seal to everybody. */
class LiveKey implements RecipientKey {
  readonly publicKey: Uint8Array
  readonly #engine: CryptoEngine
  readonly #epochHash: Uint8Array
  readonly #announcementHash: Uint8Array
  #kid: Uint8Array | undefined
  #context: WrapContext | undefined

  constructor(
    engine: CryptoEngine,
    publicKey: Uint8Array,
    { epochHash, hash }: { readonly epochHash: Uint8Array; readonly hash: Uint8Array },
  ) {
    this.#engine = engine
    this.publicKey = publicKey
    this.#epochHash = epochHash
    this.#announcementHash = hash
  }

  get kid(): Uint8Array {
    this.#kid ??= keyId(this.#engine, {
      suite: SUITE_X25519,
      use: KeyUse.live,
      announcementHash: this.#announcementHash,
    })
    return this.#kid
  }

  get context(): WrapContext {
    this.#context ??= wrapContext(this.#engine, SUITE_X25519, {
      epochHash: this.#epochHash,
      announcementHash: this.#announcementHash,
    })
    return this.#context
  }
}
