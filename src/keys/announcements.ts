import { concat } from '../bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { KeyUse, keyId, type RecipientKey, SUITE_X25519, wrapContext } from '../envelope/keys.ts'
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
import type { AcceptedEpoch, EpochFloor } from './epochs.ts'
import type { RevocationSet } from './revocations.ts'

declare const verified: unique symbol

const X25519_BYTES = 32

/** An announcement whose signatures, token and epoch were verified. Only {@link verifyAnnouncement} makes them. */
export interface VerifiedAnnouncement {
  readonly [verified]: true
  readonly hash: Uint8Array
  readonly announcement: Announcement
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
  epoch: EpochFloor,
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
 * Proves an announcement: token, epoch, times, the identity's signature and the message key's proof of possession.
 *
 * @returns `undefined` where anything does not hold.
 */
export function verifyAnnouncement(
  around: { readonly engine: CryptoEngine; readonly trust: Trust; readonly revocations: RevocationSet },
  parsed: ParsedAnnouncement,
  at: { readonly epoch: AcceptedEpoch; readonly nowMs: number },
): VerifiedAnnouncement | undefined {
  const { announcement, hash } = parsed
  if (!fitsEpoch(announcement, at.epoch)) return undefined
  const claims = verifyAnnouncer(around, parsed, at.nowMs)
  if (claims === undefined) return undefined
  const isRetirement = announcement.keys.length === 0
  const recipient = isRetirement ? undefined : liveKey(around.engine, parsed)
  if (!isRetirement && recipient === undefined) return undefined
  return { hash, announcement, claims, recipient } as VerifiedAnnouncement
}

/**
 * Proves who made an announcement, for whatever epoch: token, the identity's signature and the message key's proof of
 * possession.
 *
 * @returns `undefined` where anything does not hold.
 */
export function verifyAnnouncer(
  around: { readonly engine: CryptoEngine; readonly trust: Trust; readonly revocations: RevocationSet },
  parsed: ParsedAnnouncement,
  nowMs: number,
): VerifiedClaims | undefined {
  const { engine, trust, revocations } = around
  const { announcement, signed } = parsed
  const claims = verifyClaims(trust, announcement, nowMs)
  if (claims === undefined || revocations.isRevoked(claims)) return undefined
  const identityKey = decodeNkey('U', claims.identity)
  if (!engine.verify(identityKey, concat(labels.announcement, signed.structure), signed.signature))
    return undefined
  const isRetirement = announcement.keys.length === 0
  return isRetirement || provesPossession(engine, parsed) ? claims : undefined
}

function fitsEpoch(announcement: Announcement, epoch: AcceptedEpoch): boolean {
  const { realm, notBefore, notAfter, keys } = announcement
  if (realm !== epoch.realm || announcement.epoch !== epoch.number) return false
  if (notBefore < epoch.notBefore || notAfter > epoch.notAfter || notBefore >= notAfter) return false
  return keys.every(({ suite }) => epoch.suites.includes(suite))
}

function verifyClaims(trust: Trust, announcement: Announcement, nowMs: number): VerifiedClaims | undefined {
  try {
    const claims = trust.verify(announcement.token, nowMs)
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

/** The one live key of suite 01. Keys of suites and uses that this version does not know are left alone. */
function liveKey(engine: CryptoEngine, { announcement, hash }: ParsedAnnouncement): RecipientKey | undefined {
  const isLive = (key: { suite: number; use: number }) =>
    key.suite === SUITE_X25519 && key.use === KeyUse.live
  const [key, second] = announcement.keys.filter(isLive)
  if (key === undefined || second !== undefined || key.publicKey.length !== X25519_BYTES) return undefined
  const kid = keyId(engine, { suite: SUITE_X25519, use: KeyUse.live, announcementHash: hash })
  let context: RecipientKey['context'] | undefined
  return {
    kid,
    publicKey: key.publicKey,
    // Ten hashes that most readers of a directory never need.
    get context() {
      context ??= wrapContext(engine, SUITE_X25519, {
        epochHash: announcement.epochHash,
        announcementHash: hash,
      })
      return context
    },
  }
}
