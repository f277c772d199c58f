import { type Clock, systemClock } from '../base/clock.ts'
import {
  FAILED_REVOCATION_MS_PER_SECOND,
  MAX_REVOCATION_BYTES,
  MAX_REVOCATIONS,
  MAX_REVOCATIONS_PER_IDENTITY,
} from '../base/limits.ts'
import { SharedBudget } from '../base/shared-budget.ts'
import type { Trust } from '../identity/trust.ts'
import type { RevocationShelf } from './revocation-shelf.ts'
import type { ReadRevocation } from './revocation-statement.ts'
import type { VerifiedRevocation } from './revocations.ts'

/** Those who name themselves by a token that nobody has verified: they can name themselves as they like. */
const STRANGERS = 'strangers'
const AUTHORITY = 'authority'

/** What the door goes by. */
export interface RevocationDoorOptions {
  readonly trust: Pick<Trust, 'knows' | 'verify'>
  /** Default: the machine's. */
  readonly clock?: Pick<Clock, 'monotonic' | 'work'>
}

/**
 * Which single revocations are let in that anybody has published: how many, and how much work those may make that come to
 * nothing. What is agreed already passes it by. SPEC, "Acting on a revocation".
 */
export class RevocationDoor {
  readonly #trust: Pick<Trust, 'knows' | 'verify'>
  readonly #clock: Pick<Clock, 'monotonic' | 'work'>
  readonly #budget = new SharedBudget<string>(FAILED_REVOCATION_MS_PER_SECOND)

  constructor({ trust, clock = systemClock }: RevocationDoorOptions) {
    this.#trust = trust
    this.#clock = clock
  }

  /**
   * Whether one more may be let in, by what is held already of its kind of signer: a revoker that goes wild leaves room for the
   * authority. It costs no signature.
   */
  hasRoom(one: ReadRevocation, held: RevocationShelf, nowMs: number): boolean {
    const { count, bytes } = held.amount(one)
    if (count >= MAX_REVOCATIONS || bytes + one.bytes.length > MAX_REVOCATION_BYTES) return false
    let naming = 0
    for (const { byAuthority, revocation } of held.naming(one.revocation.identity)) {
      if (byAuthority === one.byAuthority && revocation.until > nowMs) naming++
      if (naming >= MAX_REVOCATIONS_PER_IDENTITY) return false
    }
    return held.hasRoom(one)
  }

  /**
   * Has one proved, where the budget of those lasts in whose name it comes: the authority, a revoker whose token is known, or all
   * others together. Junk in the name of one of them keeps nobody else's word out.
   */
  admit(one: ReadRevocation, prove: () => VerifiedRevocation | undefined): VerifiedRevocation | undefined {
    const claimant = this.#claimantOf(one)
    if (!this.#budget.mayWork(claimant, this.#clock.monotonic())) return undefined
    const begunAt = this.#workedMs()
    const proved = prove()
    if (proved === undefined) this.#budget.spend(claimant, this.#workedMs() - begunAt)
    return proved
  }

  #claimantOf({ token }: ReadRevocation): string {
    if (token === undefined) return AUTHORITY
    if (!this.#trust.knows(token)) return STRANGERS
    // Known: it is read from memory. That it has not begun, or has ended, is judged with the rest.
    return this.#trust.verify(token, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY).identity
  }

  #workedMs(): number {
    return this.#clock.work?.() ?? performance.now()
  }
}
