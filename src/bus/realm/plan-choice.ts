import { copy, hex, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_PLAN_ANSWERS, MAX_PLAN_CHOICES } from '../../base/limits.ts'
import { type AroundPlan, type HeldPlan, listHash, verifyPlan } from '../../keys/plan.ts'
import type { Page } from '../../wire/queries.ts'

/** A plan that rotation services have answered with. */
export interface PlanCandidate {
  readonly plan: HeldPlan
  /** Its list; `undefined` while no whole one has come. */
  readonly list: readonly Uint8Array[] | undefined
}

interface Candidate extends PlanCandidate {
  list: readonly Uint8Array[] | undefined
  /** How many answers have brought it. */
  answers: number
}

/**
 * Which plan somebody takes who has none and has asked all rotation services. Plans prove themselves, so it does not matter who
 * answers: the highest version wins. One old plan that is played again neither fails nor delays anything.
 */
export class PlanChoice {
  readonly #around: AroundPlan
  readonly #floor: number
  /** By the hash of the wire message, in hexadecimal. */
  readonly #candidates = new Map<string, Candidate>()
  #answers = 0

  /** @param floor the lowest version that is of use */
  constructor(around: AroundPlan, floor: number) {
    this.#around = around
    this.#floor = floor
  }

  /**
   * Takes the first page of an answer.
   *
   * @throws SubrosaError what was wrong with it: ERR_MALFORMED, ERR_PLAN_INVALID, or ERR_ROLLBACK below the floor
   */
  offer({ statements, next }: Pick<Page, 'statements' | 'next'>, nowMs: number): void {
    const { engine } = this.#around
    const [wire, ...list] = statements
    if (wire === undefined || this.#answers++ >= MAX_PLAN_ANSWERS) return
    const key = hex(engine.sha256(wire))
    const candidate = this.#candidates.get(key) ?? this.#verified(wire, nowMs)
    if (candidate === undefined) return
    this.#candidates.set(key, candidate)
    candidate.answers++
    const isWhole = next === undefined && samePublic(listHash(engine, list), candidate.plan.revocationsHash)
    if (isWhole) candidate.list ??= list.map(copy)
  }

  /** The highest version that has come. */
  get best(): PlanCandidate | undefined {
    return this.#best()
  }

  /** Whether as many have answered with the best one as must count under it: there is hardly a better one. */
  get isDecided(): boolean {
    const best = this.#best()
    return best !== undefined && best.answers >= best.plan.threshold
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
    if (this.#candidates.size >= MAX_PLAN_CHOICES) return undefined
    const plan = verifyPlan(this.#around, wire, nowMs)
    if (plan.version < this.#floor) throw olderPlan(plan.version, this.#floor)
    return { plan, list: undefined, answers: 0 }
  }
}

function olderPlan(version: number, floor: number): SubrosaError {
  return new SubrosaError(
    'ERR_ROLLBACK',
    `a rotation service answers with plan ${version}, and plan ${floor} was seen before`,
    { hint: 'give the rotation services the newest plan of the realm: subrosa plan publish' },
  )
}
