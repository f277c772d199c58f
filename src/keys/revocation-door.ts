import { hex } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import {
  FAILED_REVOCATION_MS_PER_SECOND,
  MAX_REVOCATION_BYTES,
  MAX_REVOCATIONS,
  MAX_REVOCATIONS_PER_IDENTITY,
} from '../base/limits.ts'
import { MostHeard } from '../base/most-heard.ts'
import { SharedBudget } from '../base/shared-budget.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { readClaims } from '../identity/token.ts'
import type { Trust } from '../identity/trust.ts'
import type { RevocationShelf } from './revocation-shelf.ts'
import type { ReadRevocation } from './revocation-statement.ts'
import type { VerifiedRevocation } from './revocations.ts'

/** Those who name themselves by a token that nobody has verified: they can name themselves as they like. */
const STRANGERS = 'strangers'
const AUTHORITY = 'authority'
const NOTHING = { count: 0, bytes: 0 }

/** What the door goes by. */
export interface RevocationDoorOptions {
  readonly engine: Pick<CryptoEngine, 'sha256'>
  readonly trust: Pick<Trust, 'knows' | 'verify'>
  /** Default: the machine's. */
  readonly clock?: Pick<Clock, 'monotonic' | 'work'>
}

/**
 * Which single revocations are let in that anybody has published: how many, and how much work those may make that come to
 * nothing. What is agreed already passes it by. SPEC, "Acting on a revocation".
 */
export class RevocationDoor {
  readonly #engine: Pick<CryptoEngine, 'sha256'>
  readonly #trust: Pick<Trust, 'knows' | 'verify'>
  readonly #clock: Pick<Clock, 'monotonic' | 'work'>
  readonly #budget = new SharedBudget<string>(FAILED_REVOCATION_MS_PER_SECOND)
  /** What waits for its budget, by those in whose name it comes. */
  readonly #lines = new Map<string, MostHeard<ReadRevocation>>()

  constructor({ engine, trust, clock = systemClock }: RevocationDoorOptions) {
    this.#engine = engine
    this.#trust = trust
    this.#clock = clock
  }

  /**
   * Whether one more may be let in, by what is held already of its kind of signer, and of its signer: a revoker that goes wild leaves
   * room for the authority, and for other revokers. It costs no signature.
   */
  hasRoom(one: ReadRevocation, held: RevocationShelf, nowMs: number): boolean {
    const { count, bytes } = held.amount(one)
    // Of what there is for revokers, each leaves as much as it takes.
    const signer = revokerOf(one)
    if (!one.byAuthority && signer === undefined) return false
    const own = signer === undefined ? NOTHING : held.amountBy(signer)
    if (own.count + count >= MAX_REVOCATIONS) return false
    if (own.bytes + bytes + one.bytes.length > MAX_REVOCATION_BYTES) return false
    let naming = 0
    for (const { byAuthority, revoker, revocation } of held.naming(one.revocation.identity)) {
      if (byAuthority === one.byAuthority && revoker === signer && revocation.until > nowMs) naming++
      if (naming >= MAX_REVOCATIONS_PER_IDENTITY) return false
    }
    return held.hasRoom(one)
  }

  /**
   * Has one proved, where the budget of those lasts in whose name it comes: the authority, a revoker whose token is known, or all
   * others together. Junk in the name of one of them keeps nobody else's word out. What finds no budget waits, and what was heard
   * most often is proved first: whoever says a true word again and again is heard beside junk in his name.
   *
   * @param prove is called for this one, for others that have waited, or for none
   * @returns what was proved
   */
  admit(
    one: ReadRevocation,
    prove: (one: ReadRevocation) => VerifiedRevocation | undefined,
  ): readonly VerifiedRevocation[] {
    const claimant = this.#claimantOf(one)
    if (claimant === undefined) return []
    const line = this.#lines.get(claimant) ?? new MostHeard()
    this.#lines.set(claimant, line)
    // By all of it: junk with the same words counts for itself.
    line.hear(hex(this.#engine.sha256(one.bytes)), one)
    const allProved: VerifiedRevocation[] = []
    for (let turn = line.next(); turn !== undefined; turn = line.next()) {
      if (!this.#budget.mayWork(claimant, this.#clock.monotonic())) break
      line.delete(turn.key)
      const begunAt = this.#workedMs()
      const proved = prove(turn.item)
      if (proved === undefined) this.#budget.spend(claimant, this.#workedMs() - begunAt)
      else allProved.push(proved)
    }
    if (line.isEmpty) this.#lines.delete(claimant)
    return allProved
  }

  /** `undefined` where it is in the name of somebody who is known to be no revoker: else anybody's token would make a part of the budget. */
  #claimantOf({ token }: ReadRevocation): string | undefined {
    if (token === undefined) return AUTHORITY
    if (!this.#trust.knows(token)) return STRANGERS
    // Known: it is read from memory. That it has not begun, or has ended, is judged with the rest.
    const claims = this.#trust.verify(token, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)
    return claims.roles.includes('revoker') ? claims.identity : undefined
  }

  #workedMs(): number {
    return this.#clock.work?.() ?? performance.now()
  }
}

/** Whose token it bears, as far as that says; `undefined` where there is none that can be read. */
function revokerOf({ token }: ReadRevocation): string | undefined {
  try {
    return token === undefined ? undefined : readClaims(token).identity
  } catch {
    return undefined
  }
}
