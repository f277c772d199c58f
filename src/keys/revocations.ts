import { compareBytes, concat, hex, samePublic } from '../base/bytes.ts'
import { type Clock, type Latest, systemClock, unconfirmed } from '../base/clock.ts'
import { LIST_REST_PER_MS, MAX_REVOCATION_LISTS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { decodeNkey } from '../identity/nkey.ts'
import type { Signer } from '../identity/signing-key.ts'
import { type IdentityClaims, readClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import { WireType } from '../wire/preamble.ts'
import { encodeRevocation, encodeStatement, type Revocation } from '../wire/statements.ts'
import { RevocationDoor } from './revocation-door.ts'
import { isNamedAt, type Reach, RevocationShelf } from './revocation-shelf.ts'
import { proveRevocation, type ReadRevocation, readRevocation } from './revocation-statement.ts'

/** A revocation whose signer may revoke. */
export interface VerifiedRevocation {
  readonly revocation: Revocation
  /** SHA-256 of the structure. */
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
  /** Whether an authority signed it itself: only then does it reach a rotation service. */
  readonly byAuthority: boolean
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
  /** Whether all of it is in the own set too, and so in what {@link RevocationSet.hash} covers. */
  readonly isOwn: boolean
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

/** The list beside a plan stands among those of rotation services. No nkey has this name. */
const PLAN = 'plan'
const NOTHING: HeldList = { added: [], isHeld: false, isOwn: false }

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
  /** By the rotation service that has named it, the one that came last at the end. */
  readonly #lists = new Map<string, RevocationShelf>()
  /** Until when no further list of a rotation service is proved, by the monotonic clock. */
  readonly #restsUntil = new Map<string, number>()

  constructor(options: RevocationSetOptions) {
    const { engine, trust, latest = unconfirmed, clock = systemClock, keep = () => {} } = options
    this.#engine = engine
    this.#trust = trust
    this.#latest = latest
    this.#clock = clock
    this.#keep = keep
    this.#door = new RevocationDoor({ trust, clock })
    this.#own = new RevocationShelf(engine)
  }

  /**
   * Verifies a revocation that comes on its own, and takes it in. It is judged as of now, within the quotas and the budget of
   * the door.
   *
   * @returns the revocation where it is new and acts, `undefined` where it is known, over, or not to be believed: badly signed,
   *   by a revoker without the role or itself revoked, dated more than 120 s ahead, for more than 400 days, or one too many.
   */
  add(bytes: Uint8Array, nowMs: number): VerifiedRevocation | undefined {
    const read = readRevocation(this.#engine, this.#trust.realm, bytes)
    if (read === undefined || this.#isKnown(read)) return undefined
    const notBeforeMs = Math.max(nowMs, this.#latest())
    if (read.revocation.until <= notBeforeMs || !isNamedAt(read.revocation, nowMs)) return undefined
    if (!this.#door.hasRoom(read, this.#own, nowMs)) return undefined
    const verified = this.#door.admit(read, () =>
      this.#prove(read, (token) => {
        const claims = this.#trust.verify(token, nowMs, notBeforeMs)
        return claims.roles.includes('revoker') && !this.isRevoked(claims) ? claims : undefined
      }),
    )
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
    if (read === undefined || this.#isKnown(read)) return
    const verified = this.#proveFormer(read)
    if (verified !== undefined) this.#own.put(verified)
  }

  /**
   * Takes in the list that a rotation service has sent for the hash in its verified tick, as {@link take}. What finds no room in the
   * own set is held beside it, until this service names another list: nobody can fill a set so that it lacks what another service
   * names. Of a list that is none, or cannot be held as a whole, the authority's word is taken in all the same where it is proved.
   *
   * @param list wire messages, in any order
   */
  hold(list: readonly Uint8Array[], named: NamedRevocations): HeldList {
    return this.#hold(list, named)
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
    return this.#hold(list, { rotator: PLAN, revocationsHash, now: made })
  }

  /** Whether every revocation that a verified tick names is held. What is held beyond them does not matter. */
  holds({ rotator, revocationsHash, now }: NamedRevocations): boolean {
    if (samePublic(this.#own.hash(now), revocationsHash)) return true
    const list = this.#lists.get(rotator)
    return list !== undefined && samePublic(list.hash(now), revocationsHash)
  }

  /** Those of the own set in force that a verified tick does not name. None, where what it names is not held. */
  beyond({ rotator, revocationsHash, now }: NamedRevocations): readonly VerifiedRevocation[] {
    const list = this.#lists.get(rotator)
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

  #hold(list: readonly Uint8Array[], { rotator, revocationsHash, now }: NamedRevocations): HeldList {
    const members = this.#membersOf(list, now)
    const hashes = members.map(({ hash }) => hash).sort(compareBytes)
    // Nothing of it is verified before it is what was named.
    if (!samePublic(this.#engine.sha256(concat(...hashes)), revocationsHash)) return NOTHING
    const { proved, isWhole } = this.#proveList(members, rotator)
    const news = proved.filter((one) => !this.#isKnown(one))
    this.#takeIn(proved)
    const isHeld = isWhole && this.#remember(rotator, proved)
    return {
      added: news.filter((one) => this.#isKnown(one)),
      isHeld,
      isOwn: isHeld && proved.every(({ hash }) => this.#own.get(hex(hash)) !== undefined),
    }
  }

  /** What a list of that time can name, each once, those first that an authority must have signed. */
  #membersOf(list: readonly Uint8Array[], nowMs: number): readonly ReadRevocation[] {
    const read = list.flatMap((bytes) => readRevocation(this.#engine, this.#trust.realm, bytes) ?? [])
    const members = new Map<string, ReadRevocation>()
    for (const byAuthority of [true, false]) {
      for (const one of read) {
        const key = hex(one.hash)
        if (one.byAuthority !== byAuthority || members.has(key) || !isNamedAt(one.revocation, nowMs)) continue
        members.set(key, one)
      }
    }
    return [...members.values()]
  }

  /**
   * Proves what is not known of a list, up to the first one that does not hold. A rotation service in the wrong hands, and a revoker, can
   * name another list with each tick: what it takes to prove one is what it rests for, several times.
   */
  #proveList(
    members: readonly ReadRevocation[],
    rotator: string,
  ): { readonly proved: readonly VerifiedRevocation[]; readonly isWhole: boolean } {
    const begunAt = this.#workedMs()
    const proved: VerifiedRevocation[] = []
    let isWhole = true
    let isResting = this.#clock.monotonic() < (this.#restsUntil.get(rotator) ?? 0)
    for (const member of members) {
      const known = this.#find(member)
      const hasToProve = known === undefined || !isAsGood(known, member)
      const one = hasToProve && !isResting ? (this.#proveFormer(member) ?? known) : known
      if (one !== undefined) proved.push(one)
      else {
        isWhole = false
        isResting = true
      }
    }
    const workMs = this.#workedMs() - begunAt
    // What an authority has signed with its plan is not made to burden anybody.
    if (rotator !== PLAN) this.#restsUntil.set(rotator, this.#clock.monotonic() + workMs * LIST_REST_PER_MS)
    return { proved, isWhole }
  }

  /** @returns whether all of it has room there */
  #remember(rotator: string, proved: readonly VerifiedRevocation[]): boolean {
    const list = new RevocationShelf(this.#engine)
    for (const one of proved) list.put(one)
    if (list.size !== proved.length) return false
    const before = this.#lists.get(rotator)
    this.#lists.delete(rotator)
    this.#lists.set(rotator, list)
    const [oldest] = [...this.#lists.keys()].filter((name) => name !== PLAN)
    if (oldest !== undefined && this.#lists.size > MAX_REVOCATION_LISTS + 1) {
      this.#lists.delete(oldest)
      this.#restsUntil.delete(oldest)
    }
    // What was held for that list alone may have room by now.
    if (before !== undefined) this.#takeIn([...before.all()])
    return true
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

  #shelves(): readonly RevocationShelf[] {
    return [this.#own, ...this.#lists.values()]
  }

  /** The same words with the best signature that is held. */
  #find({ hash }: Pick<VerifiedRevocation, 'hash'>): VerifiedRevocation | undefined {
    const key = hex(hash)
    const held = this.#shelves().flatMap((shelf) => shelf.get(key) ?? [])
    return held.find(({ byAuthority }) => byAuthority) ?? held[0]
  }

  /** Nothing of it need be verified then. */
  #isKnown(one: Pick<VerifiedRevocation, 'hash' | 'byAuthority'>): boolean {
    const known = this.#find(one)
    return known !== undefined && isAsGood(known, one)
  }

  #reach(identity: string): Reach {
    let { byAuthority, byAny } = this.#own.reach(identity)
    for (const list of this.#lists.values()) {
      const reach = list.reach(identity)
      byAuthority = Math.max(byAuthority, reach.byAuthority)
      byAny = Math.max(byAny, reach.byAny)
    }
    return { byAuthority, byAny }
  }

  /** As of the issue of the revoker's token: it could revoke when it did. */
  #proveFormer(read: ReadRevocation): VerifiedRevocation | undefined {
    return this.#prove(read, (token) => {
      const claims = this.#trust.verify(token, readClaims(token).issuedAt * 1000)
      return claims.roles.includes('revoker') ? claims : undefined
    })
  }

  /** @param revoker whose token it is; `undefined`, or an error, where it is nobody's who may revoke */
  #prove(
    read: ReadRevocation,
    revoker: (token: string) => IdentityClaims | undefined,
  ): VerifiedRevocation | undefined {
    if (read.token === undefined) return proveRevocation(this.#engine, read, this.#trust.authorityKeys())
    try {
      const claims = revoker(read.token)
      if (claims === undefined) return undefined
      return proveRevocation(this.#engine, read, [decodeNkey('U', claims.identity)])
    } catch {
      return undefined
    }
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
