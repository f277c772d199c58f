import { copy, hex, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_PLAN_CHOICES } from '../../base/limits.ts'
import { type AroundPlan, type HeldPlan, listHash, verifyPlan } from '../../keys/plan.ts'
import { areProved } from '../../keys/revocation-statement.ts'
import { decodePlan, decodeSignedPlan } from '../../wire/plans.ts'
import type { Page } from '../../wire/queries.ts'

/** A plan that rotation services have answered with. */
export interface PlanCandidate {
  readonly plan: HeldPlan
  /** Its list; `undefined` while no whole one has come. */
  readonly list: readonly Uint8Array[] | undefined
}

interface Candidate extends PlanCandidate {
  list: readonly Uint8Array[] | undefined
  /** The questions that it has answered, by their nonces, in hexadecimal: nobody answers one twice. */
  readonly answered: Set<string>
}

/** Which plans are of use. */
export interface PlanChoiceOptions {
  /** The lowest version that is of use: one below it is an error. Default: any. */
  readonly floor?: number
  /** The version that is held: what is not above it is no news. Default: none. */
  readonly held?: number
}

/**
 * Which plan somebody takes who has none, or an older one, and has asked all rotation services. Plans prove themselves, so it does
 * not matter who answers: the highest version wins. One old plan that is played again neither fails nor delays anything, and what is
 * of no use takes no place, however often it comes: whoever offers has a budget for that.
 */
export class PlanChoice {
  readonly #around: AroundPlan
  readonly #floor: number
  readonly #held: number
  /** By the hash of the wire message, in hexadecimal. */
  readonly #candidates = new Map<string, Candidate>()

  constructor(around: AroundPlan, { floor = 0, held = 0 }: PlanChoiceOptions = {}) {
    this.#around = around
    this.#floor = floor
    this.#held = held
  }

  /**
   * Takes the first page of an answer.
   *
   * @throws SubrosaError what was wrong with it: ERR_MALFORMED, ERR_PLAN_INVALID, or ERR_ROLLBACK below the floor
   */
  offer({ nonce, statements, next }: Pick<Page, 'nonce' | 'statements' | 'next'>, nowMs: number): void {
    const { engine } = this.#around
    const [wire, ...list] = statements
    if (wire === undefined) return
    const key = hex(engine.sha256(wire))
    const candidate = this.#candidates.get(key) ?? this.#verified(wire, nowMs)
    if (candidate === undefined) return
    this.#candidates.set(key, candidate)
    candidate.answered.add(hex(nonce))
    if (candidate.list !== undefined || next !== undefined) return
    // The hash that the plan names covers no signatures: whoever answers first may have spoilt them.
    const isWhole = samePublic(listHash(engine, list), candidate.plan.revocationsHash)
    if (isWhole && areProved(this.#around, list)) candidate.list = list.map(copy)
  }

  /** The highest version that has come. */
  get best(): PlanCandidate | undefined {
    return this.#best()
  }

  /** Whether as many questions were answered with the best one as services must count under it: there is hardly a better one. */
  get isDecided(): boolean {
    const best = this.#best()
    return best !== undefined && best.answered.size >= best.plan.threshold
  }

  /** A plan turned out to be of no use. */
  drop({ plan }: PlanCandidate): void {
    for (const [key, candidate] of this.#candidates) if (candidate.plan === plan) this.#candidates.delete(key)
  }

  #best(): Candidate | undefined {
    const [first, ...others] = this.#candidates.values()
    return others.reduce((best, other) => {
      return best !== undefined && best.plan.version >= other.plan.version ? best : other
    }, first)
  }

  #verified(wire: Uint8Array, nowMs: number): Candidate | undefined {
    const { version } = decodePlan(decodeSignedPlan(wire).structure)
    const lowest = this.#candidates.size < MAX_PLAN_CHOICES ? undefined : this.#lowest()
    if (version <= Math.max(this.#held, lowest?.plan.version ?? 0)) return undefined
    const plan = verifyPlan(this.#around, wire, nowMs)
    if (version < this.#floor) throw olderPlan(version, this.#floor)
    if (lowest !== undefined) this.drop(lowest)
    return { plan, list: undefined, answered: new Set() }
  }

  #lowest(): Candidate | undefined {
    return [...this.#candidates.values()].sort((a, b) => a.plan.version - b.plan.version)[0]
  }
}

function olderPlan(version: number, floor: number): SubrosaError {
  return new SubrosaError(
    'ERR_ROLLBACK',
    `a rotation service answers with plan ${version}, and plan ${floor} was seen before`,
    { hint: 'give the rotation services the newest plan of the realm: subrosa plan publish' },
  )
}
