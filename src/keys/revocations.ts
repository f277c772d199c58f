import { compareBytes, concat, hex, samePublic } from '../base/bytes.ts'
import { type Latest, unconfirmed } from '../base/clock.ts'
import {
  CLOCK_WINDOW_MS,
  MAX_REVOCATION_BYTES,
  MAX_REVOCATION_BYTES_HELD,
  MAX_REVOCATIONS,
  MAX_REVOCATIONS_HELD,
} from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import { type IdentityClaims, readClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import { WireType } from '../wire/preamble.ts'
import {
  decodeRevocation,
  decodeStatement,
  encodeRevocation,
  encodeStatement,
  type Revocation,
} from '../wire/statements.ts'

/** A revocation whose signer may revoke. */
export interface VerifiedRevocation {
  readonly revocation: Revocation
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
  /** Whether an authority signed it itself: only then does it reach a rotator. */
  readonly byAuthority: boolean
}

/** Signs a revocation. `token` is the revoker's own; without one the signer is an authority. */
export function signRevocation(signer: Signer, revocation: Revocation, token?: string): Uint8Array {
  const structure = encodeRevocation(revocation)
  const signature = signer.sign(concat(labels.revocation, structure))
  return encodeStatement(WireType.revocation, { structure, signature, token })
}

/** How many revocations are held at most, and how long they are together. */
export interface RevocationLimits {
  readonly count: number
  readonly bytes: number
  /** Which part of either those may have that revokers have signed. */
  readonly ofRevokers: number
}

/** Beyond what any honest service has, so that nothing depends on the order in which revocations come. */
const HELD: RevocationLimits = {
  count: MAX_REVOCATIONS_HELD,
  bytes: MAX_REVOCATION_BYTES_HELD,
  ofRevokers: 0.5,
}

/** What an epoch can carry, and so a rotation service can hold. */
export const CARRIED: RevocationLimits = {
  count: MAX_REVOCATIONS,
  bytes: MAX_REVOCATION_BYTES,
  ofRevokers: 1,
}

/** The revocations that an agent knows, by the hash of each. */
export class RevocationSet {
  readonly #engine: CryptoEngine
  readonly #trust: Trust
  readonly #latest: Latest
  readonly #byHash = new Map<string, VerifiedRevocation>()
  /** The same by identity: it is asked for every message. */
  readonly #byIdentity = new Map<string, readonly VerifiedRevocation[]>()
  readonly #max: RevocationLimits
  #bytes = 0
  /** Of those that revokers have signed: the authority's are never kept out by them. */
  readonly #byRevokers = { count: 0, bytes: 0 }
  /** The set of the rotation service that was taken in last: all of it is held here too. */
  #adopted: RevocationSet | undefined

  /**
   * @param latest by it a revocation that comes is over, and a revoker's token expired, where it is ahead of the clock
   * @param max what is held at most, however it comes. Default: more than any honest service has
   */
  constructor(engine: CryptoEngine, trust: Trust, latest: Latest = unconfirmed, max = HELD) {
    this.#engine = engine
    this.#trust = trust
    this.#latest = latest
    this.#max = max
  }

  /**
   * Verifies a revocation and takes it in.
   *
   * @returns the revocation where it is new and acts, `undefined` where it is known, over, or not to be believed:
   *   badly signed, by a revoker without the role or itself revoked, dated more than 120 s ahead, or one too many.
   */
  add(bytes: Uint8Array, nowMs: number): VerifiedRevocation | undefined {
    if (this.knows(bytes)) return undefined
    const notBeforeMs = Math.max(nowMs, this.#latest())
    const revokerKey = (token: string): Uint8Array => this.#revokerKey(token, nowMs, notBeforeMs)
    return this.#take(this.#verify(bytes, { nowMs, notBeforeMs, revokerKey }), (one) =>
      this.#hasRoomAtDoor(one),
    )
  }

  /**
   * Takes in a revocation that an accepted epoch carries, or the record of the rotation service: its revoker could
   * revoke when it did, and that its token has ended since does not undo it. Whether it is over is judged by `nowMs` alone:
   * whoever names it goes by that time too, and one that is over and held does no harm. Shares are for whoever lets one in,
   * and not for what is agreed: two that heard of the same ones in another order would hold different sets.
   */
  addCarried(bytes: Uint8Array, nowMs: number): VerifiedRevocation | undefined {
    return this.#take(this.#verifyFormer(bytes, nowMs), (one) => this.#hasRoom(one))
  }

  /**
   * Takes in what another replica of the rotation service has let in, as {@link addCarried}, within the shares of the door: all
   * replicas hear of it in one order.
   */
  addVouched(bytes: Uint8Array, nowMs: number): VerifiedRevocation | undefined {
    return this.#take(this.#verifyFormer(bytes, nowMs), (one) => this.#hasRoomAtDoor(one))
  }

  /** Takes in what was held before, whatever the clock says: it may be wrong when a process starts. */
  restore(bytes: Uint8Array): void {
    this.#take(this.#verifyFormer(bytes, Number.MAX_SAFE_INTEGER, 0), (one) => this.#hasRoom(one))
  }

  /** Whether this very statement is held, or an authority's of the same words: then nothing of it need be verified. */
  knows(bytes: Uint8Array): boolean {
    try {
      const { structure } = decodeStatement(WireType.revocation, bytes)
      const known = this.#byHash.get(hex(this.#engine.sha256(structure)))
      return known !== undefined && (known.byAuthority || samePublic(known.bytes, bytes))
    } catch {
      return false
    }
  }

  /** All that are held, in force or not, in no order. */
  all(): readonly VerifiedRevocation[] {
    return [...this.#byHash.values()]
  }

  /**
   * Takes in the whole set of the rotation service, where it is the one that a verified tick names: as
   * {@link addCarried}. Otherwise nothing changes.
   *
   * @returns those that are new
   */
  adopt(
    statements: readonly Uint8Array[],
    tick: { readonly now: number; readonly revocationsHash: Uint8Array },
  ): readonly VerifiedRevocation[] {
    const set = new RevocationSet(this.#engine, this.#trust)
    for (const bytes of statements) set.addCarried(bytes, tick.now)
    if (!samePublic(set.hash(tick.now), tick.revocationsHash)) return []
    const added = set.all().flatMap((verified) => this.#take(verified, (one) => this.#hasRoom(one)) ?? [])
    if ([...set.#byHash.keys()].every((key) => this.#byHash.has(key))) this.#adopted = set
    return added
  }

  /** Whether every revocation that a verified tick names is held. What is held beyond them does not matter. */
  holds(tick: { readonly now: number; readonly revocationsHash: Uint8Array }): boolean {
    const isNamed = (set: RevocationSet): boolean => samePublic(set.hash(tick.now), tick.revocationsHash)
    return isNamed(this) || (this.#adopted !== undefined && isNamed(this.#adopted))
  }

  /** Those in force that a verified tick, all of whose revocations are held, does not name. */
  beyond(tick: {
    readonly now: number
    readonly revocationsHash: Uint8Array
  }): readonly VerifiedRevocation[] {
    const adopted = this.#adopted
    if (adopted === undefined || samePublic(this.hash(tick.now), tick.revocationsHash)) return []
    return this.inForce(tick.now).filter(({ hash }) => !adopted.#byHash.has(hex(hash)))
  }

  #take(
    verified: VerifiedRevocation | undefined,
    hasRoom: (verified: VerifiedRevocation) => boolean,
  ): VerifiedRevocation | undefined {
    if (verified === undefined) return undefined
    const key = hex(verified.hash)
    const known = this.#byHash.get(key)
    if (known === undefined && !hasRoom(verified)) return undefined
    // A revoker that repeats an authority's words must not take the place of the authority's signature.
    if (known !== undefined && (known.byAuthority || !verified.byAuthority)) return undefined
    if (known !== undefined) this.#count(known, -1)
    this.#byHash.set(key, verified)
    this.#count(verified, 1)
    const { identity } = verified.revocation
    this.#byIdentity.set(identity, [...(this.#byIdentity.get(identity) ?? []), verified])
    return verified
  }

  /** All of them must fit into an epoch, and a revoker that goes wild must leave room for the authority. */
  #hasRoomAtDoor(one: VerifiedRevocation): boolean {
    const share = one.byAuthority ? 1 : 0.5
    // What revokers have signed may fill the door of an agent by way of the service: it takes nothing from the authority's share.
    const others = one.byAuthority ? this.#byRevokers : { count: 0, bytes: 0 }
    const bytes = this.#bytes - others.bytes + one.bytes.length
    const isFew = this.#byHash.size - others.count < MAX_REVOCATIONS * share
    return isFew && bytes <= MAX_REVOCATION_BYTES * share && this.#hasRoom(one)
  }

  #hasRoom({ bytes, byAuthority }: VerifiedRevocation): boolean {
    const { count, bytes: most, ofRevokers } = this.#max
    const theirs = this.#byRevokers
    const hasShare = theirs.count < count * ofRevokers && theirs.bytes + bytes.length <= most * ofRevokers
    return this.#byHash.size < count && this.#bytes + bytes.length <= most && (byAuthority || hasShare)
  }

  #count({ bytes, byAuthority }: VerifiedRevocation, by: 1 | -1): void {
    this.#bytes += by * bytes.length
    if (byAuthority) return
    this.#byRevokers.count += by
    this.#byRevokers.bytes += by * bytes.length
  }

  /** Whether every token that an authority issued to this identity until then (seconds since 1970) is refused. */
  covers(of: { readonly identity: string; readonly issuedAt: number; readonly isRotator: boolean }): boolean {
    const { identity, issuedAt, isRotator } = of
    const held = this.#byIdentity.get(identity) ?? []
    return held.some(
      ({ revocation, byAuthority }) => (byAuthority || !isRotator) && issuedAt * 1000 <= revocation.since,
    )
  }

  /** Whether tokens issued to this identity at this time are refused. */
  isRevoked(claims: IdentityClaims): boolean {
    return (this.#byIdentity.get(claims.identity) ?? []).some(({ revocation, byAuthority }) => {
      const reaches = byAuthority || !claims.roles.includes('rotator')
      // Whoever signs its own tokens would sign a newer one.
      const isSelfSigned = claims.issuer === claims.identity
      return reaches && (isSelfSigned || claims.issuedAt * 1000 <= revocation.since)
    })
  }

  /** The revocations in force at a time, in the order of their hashes. */
  inForce(nowMs: number): readonly VerifiedRevocation[] {
    return [...this.#byHash.values()]
      .filter(({ revocation }) => revocation.until > nowMs)
      .sort((a, b) => compareBytes(a.hash, b.hash))
  }

  /** `revocations_hash` of SPEC: SHA-256 over the sorted hashes of those in force. */
  hash(nowMs: number): Uint8Array {
    return this.#engine.sha256(concat(...this.inForce(nowMs).map(({ hash }) => hash)))
  }

  /** Forgets what is long over, by the latest time: a clock that is ahead for a moment lifts no revocation. */
  prune(latestMs: number): void {
    for (const [key, held] of this.#byHash) {
      const { revocation } = held
      if (revocation.until + CLOCK_WINDOW_MS >= latestMs) continue
      this.#byHash.delete(key)
      this.#count(held, -1)
      const others = (this.#byIdentity.get(revocation.identity) ?? []).filter(({ hash }) => hex(hash) !== key)
      this.#byIdentity.set(revocation.identity, others)
      if (others.length === 0) this.#byIdentity.delete(revocation.identity)
    }
  }

  /** As of the issue of the revoker's token: it could revoke when it did. */
  #verifyFormer(bytes: Uint8Array, nowMs: number, notBeforeMs = nowMs): VerifiedRevocation | undefined {
    const revokerKey = (token: string): Uint8Array => this.#formerRevokerKey(token)
    return this.#verify(bytes, { nowMs, notBeforeMs, revokerKey })
  }

  #verify(
    bytes: Uint8Array,
    {
      nowMs,
      notBeforeMs,
      revokerKey,
    }: {
      readonly nowMs: number
      readonly notBeforeMs: number
      readonly revokerKey: (token: string) => Uint8Array
    },
  ): VerifiedRevocation | undefined {
    try {
      const { structure, signature, token } = decodeStatement(WireType.revocation, bytes)
      const revocation = decodeRevocation(structure)
      if (revocation.realm !== this.#trust.realm || revocation.until <= notBeforeMs) return undefined
      // Dated ahead is judged by the wall clock, as every "too new" is.
      if (revocation.since > nowMs + CLOCK_WINDOW_MS) return undefined
      const keys = token === undefined ? this.#trust.authorityKeys() : [revokerKey(token)]
      const message = concat(labels.revocation, structure)
      if (!keys.some((key) => this.#engine.verify(key, message, signature))) return undefined
      return {
        revocation,
        hash: this.#engine.sha256(structure),
        bytes: new Uint8Array(bytes),
        byAuthority: token === undefined,
      }
    } catch {
      return undefined
    }
  }

  #revokerKey(token: string, nowMs: number, notBeforeMs: number): Uint8Array {
    const claims = this.#trust.verify(token, nowMs, notBeforeMs)
    if (!claims.roles.includes('revoker') || this.isRevoked(claims)) throw new TypeError('not a revoker')
    return decodeNkey('U', claims.identity)
  }

  #formerRevokerKey(token: string): Uint8Array {
    const claims = this.#trust.verify(token, readClaims(token).issuedAt * 1000)
    if (!claims.roles.includes('revoker')) throw new TypeError('not a revoker')
    return decodeNkey('U', claims.identity)
  }
}
