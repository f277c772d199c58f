import { samePublic } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { invalidPlan } from '../wire/plans.ts'
import { type AroundPlan, type HeldPlan, listHash, verifyPlan } from './plan.ts'
import type { RevocationSet } from './revocations.ts'

/** A plan as it is kept and handed on: always together with its list. */
export interface KeptPlan {
  /** The wire message. */
  readonly plan: Uint8Array
  /** The wire messages of the revocations that `revocations_hash` of the plan names, in any order. */
  readonly list: readonly Uint8Array[]
}

/** What a plan book needs around it. */
export interface PlanBookOptions extends AroundPlan {
  /** Takes in the lists. */
  readonly revocations: Pick<RevocationSet, 'holdPlan'>
  /** The version below which no plan is acted on: the highest that the state, the bundle and the own token name. */
  readonly floor: number
  /** What an earlier process has kept, or what came with the identity. */
  readonly kept: KeptPlan | undefined
  /** Called with a plan before it is acted on. It must be durable when this returns; where this throws, it is not acted on. */
  readonly keep: (kept: KeptPlan) => void
}

/**
 * The plan by which one agent or rotation service goes. It only ever moves to a higher version, and never without the whole
 * list of revocations. SPEC, "Plan".
 *
 * @example
 * ```ts
 * const book = new PlanBook({ engine, trust, revocations, floor: claims.plan ?? 0, kept: state.plan, keep: state.keepPlan })
 * if (book.offer({ plan, list }, clock.now()) !== undefined) epochs.adopt(book.plan)
 * ```
 */
export class PlanBook {
  readonly #options: PlanBookOptions
  #plan: HeldPlan | undefined
  #kept: KeptPlan | undefined
  #floor: number

  /**
   * What was kept counts again where an authority that is still trusted has signed it and it reaches the floor. Otherwise it is
   * as though nothing had been kept.
   */
  constructor(options: PlanBookOptions) {
    this.#options = options
    this.#floor = options.floor
    const { kept } = options
    if (kept === undefined) return
    try {
      // It was judged by the clock when it was taken, which may be wrong when a process starts.
      const plan = verifyPlan(options, kept.plan, Number.MAX_SAFE_INTEGER)
      if (plan.version < this.#floor) return
      this.#takeList(plan, kept.list)
      this.#act(plan, kept)
    } catch (error) {
      if (!(error instanceof SubrosaError)) throw error
    }
  }

  /** The plan that is acted on; `undefined` where there is none that reaches the floor. It may have expired. */
  get plan(): HeldPlan | undefined {
    return this.#plan
  }

  /** The same as it is handed on, with its list. */
  get kept(): KeptPlan | undefined {
    return this.#kept
  }

  /** The lowest version that is acted on. */
  get floor(): number {
    return this.#floor
  }

  /**
   * Takes a plan that is newer than the one that is held, together with its list.
   *
   * @param nowMs the wall clock
   * @returns the plan where it is new, `undefined` where it is the one that is held
   * @throws SubrosaError ERR_MALFORMED; ERR_PLAN_INVALID (see {@link verifyPlan}, and where the list is not the one that
   *   it names); ERR_ROLLBACK below the floor; ERR_PLAN_CONFLICT for another plan of the version that is held; and what
   *   `keep` throws. Nothing is acted on then.
   */
  offer(kept: KeptPlan, nowMs: number): HeldPlan | undefined {
    if (this.#plan !== undefined && samePublic(this.#plan.bytes, kept.plan)) return undefined
    const plan = verifyPlan(this.#options, kept.plan, nowMs)
    if (this.#plan !== undefined && samePublic(this.#plan.hash, plan.hash)) return undefined
    this.#checkVersion(plan)
    this.#takeList(plan, kept.list)
    const whole = { plan: plan.bytes, list: kept.list.map((bytes) => new Uint8Array(bytes)) }
    this.#options.keep(whole)
    this.#act(plan, whole)
    return plan
  }

  #checkVersion({ version }: HeldPlan): void {
    if (version < this.#floor) {
      throw new SubrosaError(
        'ERR_ROLLBACK',
        `plan ${version} is older than plan ${this.#floor}, which was seen before`,
        { hint: 'get the newest plan of the realm: subrosa plan show' },
      )
    }
    if (version === this.#plan?.version) {
      throw new SubrosaError('ERR_PLAN_CONFLICT', `an authority has signed two plans of version ${version}`, {
        hint: 'find out who else holds the key of the authority; then make a plan of a higher version: subrosa plan renew',
      })
    }
  }

  /** Takes in the whole list that the plan names, as what is agreed already. */
  #takeList(plan: HeldPlan, list: readonly Uint8Array[]): void {
    const { engine, revocations } = this.#options
    // The very list, and nothing beside it: it is kept, and handed on.
    if (!samePublic(listHash(engine, list), plan.revocationsHash)) throw otherList()
    if (!revocations.holdPlan(list, plan).isHeld) {
      throw invalidPlan(
        'a revocation beside it is not signed by anybody who may revoke',
        'the authority makes a plan of a higher version, with a list that holds: subrosa plan renew',
      )
    }
  }

  #act(plan: HeldPlan, kept: KeptPlan): void {
    this.#plan = plan
    this.#kept = kept
    this.#floor = plan.version
  }
}

function otherList(): SubrosaError {
  return invalidPlan(
    'the revocations beside it are not those that it names',
    'get the plan again, together with its list',
  )
}
