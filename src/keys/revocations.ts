// Over 300 lines: what comes on its own, what is agreed and what is named act as one set, and are best read together.

import { compareBytes, concat, hex, samePublic } from '../base/bytes.ts'
import { type Clock, type Latest, systemClock, unconfirmed } from '../base/clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import type { Signer } from '../identity/signing-key.ts'
import type { IdentityClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import { WireType } from '../wire/preamble.ts'
import { encodeRevocation, encodeStatement, type Revocation } from '../wire/statements.ts'
import { RevocationDoor } from './revocation-door.ts'
import { BY_PLAN, RevocationLists } from './revocation-lists.ts'
import { isNamedAt, type Reach, RevocationShelf } from './revocation-shelf.ts'
import {
  formerRevoker,
  proveRevocation,
  type ReadRevocation,
  readList,
  readRevocation,
} from './revocation-statement.ts'

/** A revocation whose signer may revoke. */
export interface VerifiedRevocation {
  readonly revocation: Revocation
  /** SHA-256 of the structure. */
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
  /** Whether an authority signed it itself: only then does it reach a rotation service. */
  readonly byAuthority: boolean
  /** The identity that signed it; none where an authority did. */
  readonly revoker: string | undefined
}

/** Signs a revocation. `token` is the revoker's own; without one the signer is an authority. */
export function signRevocation(signer: Signer, revocation: Revocation, token?: string): Uint8Array {
  const structure = encodeRevocation(revocation)
  const signature = signer.sign(concat(labels.revocation, structure))
  return encodeStatement(WireType.revocation, { structure, signature, token })
}

/** What a rotation service names in a tick, as far as revocations go. A `Tick` is one. */
export interface NamedRevocations {
  readonly rotator: string
  readonly revocationsHash: Uint8Array
  readonly now: number
}

/** What {@link RevocationSet.hold} has made of a list. */
export interface HeldList {
  /** Those that were not held before, and are now. */
  readonly added: readonly VerifiedRevocation[]
  /** Whether it is the list that was named, and all of it is held. */
  readonly isHeld: boolean
}

/** What a set of revocations is made of. */
export interface RevocationSetOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  /**
   * By it a revocation that comes on its own is over, and the token of its revoker expired, where it is ahead of the clock.
   * Default: nothing is confirmed.
   */
  readonly latest?: Latest
  /** For budgets. Default: the machine's. */
  readonly clock?: Pick<Clock, 'monotonic' | 'work'>
  /**
   * Called with what is new in the own set, and not restored, before anybody hears of it. Where this throws it is not in the set, and the
   * error is thrown on. Default: nothing is kept.
   */
  readonly keep?: (added: readonly VerifiedRevocation[]) => void
}

const NOTHING: HeldList = { added: [], isHeld: false }

/**
 * The revocations that an agent or a rotation service knows: the own set, and beside it the last list that each rotation service
 * has named, for as far as those do not fit into it. What is held acts, whoever has brought it. SPEC, "Acting on a revocation".
 *
 * @example
 * ```ts
 * const revocations = new RevocationSet({ engine, trust, latest: () => clock.latest })
 * if (revocations.add(message.data, clock.now()) !== undefined) directory.invalidate(clock.now())
 * ```
 */
export class RevocationSet {
  readonly #engine: CryptoEngine
  readonly #trust: Trust
  readonly #latest: Latest
  readonly #clock: Pick<Clock, 'monotonic' | 'work'>
  readonly #keep: (added: readonly VerifiedRevocation[]) => void
  readonly #door: RevocationDoor
  readonly #own: RevocationShelf
  readonly #lists: RevocationLists

  constructor(options: RevocationSetOptions) {
    const { engine, trust, latest = unconfirmed, clock = systemClock, keep = () => {} } = options
    this.#engine = engine
    this.#trust = trust
    this.#latest = latest
    this.#clock = clock
    this.#keep = keep
    this.#door = new RevocationDoor({ engine, trust, clock })
    this.#own = new RevocationShelf(engine)
    this.#lists = new RevocationLists(engine)
  }

  /**
   * Verifies a revocation that comes on its own, and takes it in. It is judged as of now, within the quotas and the budget of
   * the door.
   *
   * @returns the revocation where it is new and acts, `undefined` where it is known, over, or not to be believed: badly signed,
   *   by a revoker without the role or itself revoked, dated more than 120 s ahead, for more than 400 days, or one too many. Where there is
   *   no budget for it, it waits; then one that has waited may be returned in its place, now or with a later one.
   */
  add(bytes: Uint8Array, nowMs: number): VerifiedRevocation | undefined {
    const read = readRevocation(this.#engine, this.#trust.realm, bytes)
    if (read === undefined || !this.#isWanted(read, nowMs)) return undefined
    const added = this.#door.admit(read, (one) => this.#letIn(one, nowMs))
    return added.find(({ hash }) => samePublic(hash, read.hash)) ?? added[0]
  }

  /** Whether one that comes on its own has to be proved: it is news, of now, and has room. */
  #isWanted(one: ReadRevocation, nowMs: number): boolean {
    const { revocation } = one
    if (this.#isKnown(one)) return false
    if (revocation.until <= Math.max(nowMs, this.#latest()) || !isNamedAt(revocation, nowMs)) return false
    return this.#door.hasRoom(one, this.#own, nowMs)
  }

  /** Proves one that comes on its own, and takes it in. It may have waited. */
  #letIn(one: ReadRevocation, nowMs: number): VerifiedRevocation | undefined {
    if (!this.#isWanted(one, nowMs)) return undefined
    const around = { engine: this.#engine, trust: this.#trust }
    const verified = proveRevocation(around, one, (token) => {
      const claims = this.#trust.verify(token, nowMs, Math.max(nowMs, this.#latest()))
      return claims.roles.includes('revoker') && !this.isRevoked(claims) ? claims : undefined
    })
    return verified === undefined ? undefined : this.#takeIn([verified])[0]
  }

  /**
   * Takes in a revocation on which others have agreed: its revoker could revoke when it did, and that its token has ended since, or was
   * revoked, does not undo it. The quotas of the door are not for it: else those who have heard of the same ones in another order would hold
   * different sets.
   *
   * @param asOfMs the time of whoever names it. What is over since does no harm
   */
  take(bytes: Uint8Array, asOfMs: number): VerifiedRevocation | undefined {
    const read = readRevocation(this.#engine, this.#trust.realm, bytes)
    if (read === undefined || this.#isKnown(read) || !isNamedAt(read.revocation, asOfMs)) return undefined
    const verified = this.#proveFormer(read)
    return verified === undefined ? undefined : this.#takeIn([verified])[0]
  }

  /** Takes in what was held before, whatever the clock says: it may be wrong when a process starts. */
  restore(bytes: Uint8Array): void {
    const read = readRevocation(this.#engine, this.#trust.realm, bytes)
    if (read === undefined) return
    const known = this.#find(read)
    const verified = known !== undefined && isAsGood(known, read) ? known : this.#proveFormer(read)
    if (verified !== undefined) this.#own.put(verified)
  }

  /**
   * Takes in the list that a rotation service has sent for the hash in its verified tick, as {@link take}. What finds no room in the
   * own set is held beside it, until this service names another list: nobody can fill a set so that it lacks what another service
   * names. Of a list that is none, or cannot be held as a whole, the authority's word is taken in all the same where it is proved.
   *
   * @param list wire messages, in any order
   */
  hold(list: readonly Uint8Array[], { rotator, revocationsHash, now }: NamedRevocations): HeldList {
    const members = readList(this.#engine, this.#trust.realm, list).filter(({ revocation }) =>
      isNamedAt(revocation, now),
    )
    const hashes = members.map(({ hash }) => hash).sort(compareBytes)
    // Nothing of it is verified before it is what was named.
    if (!samePublic(this.#engine.sha256(concat(...hashes)), revocationsHash)) return NOTHING
    const { proved, isWhole } = this.#proveList(members, rotator)
    const news = proved.filter((one) => !this.#isKnown(one))
    this.#takeIn(proved)
    const left = isWhole ? this.#lists.replace(rotator, proved) : undefined
    // What was held for another list alone may have room by now.
    if (left !== undefined) this.#takeIn(left)
    return { added: news.filter((one) => this.#isKnown(one)), isHeld: left !== undefined }
  }

  /**
   * Takes in the list that travels beside a plan, in the same way.
   *
   * @returns what is new; `isHeld` says whether the plan may be acted on
   */
  holdPlan(
    list: readonly Uint8Array[],
    { revocationsHash, made }: { readonly revocationsHash: Uint8Array; readonly made: number },
  ): HeldList {
    return this.hold(list, { rotator: BY_PLAN, revocationsHash, now: made })
  }

  /** Whether every revocation that a verified tick names is held. What is held beyond them does not matter. */
  holds({ rotator, revocationsHash, now }: NamedRevocations): boolean {
    if (samePublic(this.#own.hash(now), revocationsHash)) return true
    const list = this.#lists.of(rotator)
    return list !== undefined && samePublic(list.hash(now), revocationsHash)
  }

  /** Whether every revocation that a verified tick names is in the own set, and so in what {@link hash} covers, and was kept. */
  owns({ rotator, revocationsHash, now }: NamedRevocations): boolean {
    if (samePublic(this.#own.hash(now), revocationsHash)) return true
    const list = this.#lists.of(rotator)
    if (list === undefined || !samePublic(list.hash(now), revocationsHash)) return false
    return list.inForce(now).every(({ hash }) => this.#own.get(hex(hash)) !== undefined)
  }

  /** Those of the own set in force that a verified tick does not name. None, where what it names is not held. */
  beyond({ rotator, revocationsHash, now }: NamedRevocations): readonly VerifiedRevocation[] {
    const list = this.#lists.of(rotator)
    if (list === undefined || samePublic(this.#own.hash(now), revocationsHash)) return []
    if (!samePublic(list.hash(now), revocationsHash)) return []
    return this.#own.inForce(now).filter(({ hash }) => list.get(hex(hash)) === undefined)
  }

  /** Whether this very statement is held, or the same words of anybody whose word counts for as much. */
  knows(bytes: Uint8Array): boolean {
    const read = readRevocation(this.#engine, this.#trust.realm, bytes)
    return read !== undefined && this.#isKnown(read)
  }

  /** All that are held, in force or not, those that an authority has signed first. */
  all(): readonly VerifiedRevocation[] {
    const all = new Map<string, VerifiedRevocation>()
    for (const shelf of this.#shelves()) {
      for (const one of shelf.all()) {
        const key = hex(one.hash)
        if (one.byAuthority || !all.has(key)) all.set(key, one)
      }
    }
    const inOrder = [...all.values()]
    return [
      ...inOrder.filter(({ byAuthority }) => byAuthority),
      ...inOrder.filter(({ byAuthority }) => !byAuthority),
    ]
  }

  /** Whether every token that an authority issued to this identity until then (seconds since 1970) is refused. */
  covers(of: { readonly identity: string; readonly issuedAt: number; readonly isRotator: boolean }): boolean {
    const { byAuthority, byAny } = this.#reach(of.identity)
    return of.issuedAt * 1000 <= (of.isRotator ? byAuthority : byAny)
  }

  /** Whether tokens issued to this identity at this time are refused. */
  isRevoked(claims: IdentityClaims): boolean {
    const { byAuthority, byAny } = this.#reach(claims.identity)
    const reach = claims.roles.includes('rotator') ? byAuthority : byAny
    // Whoever signs its own tokens would sign a newer one.
    return claims.issuer === claims.identity ? reach >= 0 : claims.issuedAt * 1000 <= reach
  }

  /**
   * Whether an authority has revoked this identity. A rotation service of which that is true counts for no threshold, whatever a
   * revoker says of it.
   *
   * @param issuedAt of the token in question, in seconds since 1970. Default: any token
   */
  revokedByAuthority(identity: string, issuedAt = 0): boolean {
    return issuedAt * 1000 <= this.#reach(identity).byAuthority
  }

  /** Those of the own set that a list of this time names, in the order of their hashes. */
  inForce(nowMs: number): readonly VerifiedRevocation[] {
    return this.#own.inForce(nowMs)
  }

  /** `revocations_hash` of SPEC for the own set: SHA-256 over the sorted hashes of {@link inForce}. */
  hash(nowMs: number): Uint8Array {
    return this.#own.hash(nowMs)
  }

  /** Forgets what is long over, by the latest time: a clock that is ahead for a moment lifts no revocation. */
  prune(latestMs: number): void {
    for (const shelf of this.#shelves()) shelf.prune(latestMs)
  }

  /** Proves what is not known of a list, up to the first one that does not hold. */
  #proveList(
    members: readonly ReadRevocation[],
    rotator: string,
  ): { readonly proved: readonly VerifiedRevocation[]; readonly isWhole: boolean } {
    const begunAt = this.#workedMs()
    const proved: VerifiedRevocation[] = []
    let mayProve = this.#lists.mayProve(rotator, this.#clock.monotonic())
    for (const member of members) {
      const known = this.#find(member)
      const isProved = known !== undefined && isAsGood(known, member)
      const one = isProved || !mayProve ? known : (this.#proveFormer(member) ?? known)
      if (one === undefined) mayProve = false
      else proved.push(one)
    }
    this.#lists.spend(rotator, this.#workedMs() - begunAt, this.#clock.monotonic())
    return { proved, isWhole: proved.length === members.length }
  }

  /** Into the own set, as far as there is room. @returns those that are new there */
  #takeIn(all: readonly VerifiedRevocation[]): readonly VerifiedRevocation[] {
    const replaced = new Map<VerifiedRevocation, VerifiedRevocation | undefined>()
    for (const one of all) {
      const known = this.#own.get(hex(one.hash))
      if (this.#own.put(one)) replaced.set(one, known)
    }
    const added = [...replaced.keys()]
    if (added.length === 0) return added
    try {
      this.#keep(added)
    } catch (error) {
      for (const [one, known] of replaced) {
        this.#own.drop(one)
        if (known !== undefined) this.#own.put(known)
      }
      throw error
    }
    return added
  }

  *#shelves(): Iterable<RevocationShelf> {
    yield this.#own
    yield* this.#lists.shelves()
  }

  /** The same words with the best signature that is held. */
  #find({ hash }: Pick<VerifiedRevocation, 'hash'>): VerifiedRevocation | undefined {
    const key = hex(hash)
    let found: VerifiedRevocation | undefined
    for (const shelf of this.#shelves()) {
      const one = shelf.get(key)
      if (found === undefined || one?.byAuthority === true) found = one ?? found
    }
    return found
  }

  /** Nothing of it need be verified then. */
  #isKnown(one: Pick<VerifiedRevocation, 'hash' | 'byAuthority'>): boolean {
    const known = this.#find(one)
    return known !== undefined && isAsGood(known, one)
  }

  #reach(identity: string): Reach {
    let { byAuthority, byAny } = this.#own.reach(identity)
    for (const list of this.#lists.shelves()) {
      const reach = list.reach(identity)
      byAuthority = Math.max(byAuthority, reach.byAuthority)
      byAny = Math.max(byAny, reach.byAny)
    }
    return { byAuthority, byAny }
  }

  #proveFormer(read: ReadRevocation): VerifiedRevocation | undefined {
    const around = { engine: this.#engine, trust: this.#trust }
    return proveRevocation(around, read, (token) => formerRevoker(this.#trust, token))
  }

  #workedMs(): number {
    return this.#clock.work?.() ?? performance.now()
  }
}

/** Whether what is held of the same words has a signature that counts for as much: an authority's counts for more. */
function isAsGood(
  held: Pick<VerifiedRevocation, 'byAuthority'>,
  other: Pick<VerifiedRevocation, 'byAuthority'>,
): boolean {
  return held.byAuthority || !other.byAuthority
}
