import type { Plan } from '../wire/plans.ts'

/** What of a plan says whose ticks count, and how many it takes. */
export type CountedPlan = Pick<Plan, 'rotators' | 'threshold'>

/**
 * Whose ticks have counted under a plan: for each rotation service when the newest nonce was sent that it has answered. One is
 * fresh for as long as the last of the newest `threshold` is not too long ago. SPEC, "Freshness".
 *
 * Neither the order of ticks nor what they say of the time goes into it: a tick that was delayed brings only as much as its
 * nonce is worth.
 *
 * @example
 * ```ts
 * count.adopt(plan)
 * count.count(tick.rotator, sentAtLateMs)
 * const since = count.freshFrom(plan.threshold)
 * if (since !== undefined) clock.counted(since)
 * ```
 */
export class TickCount {
  readonly #newest = new Map<string, number>()
  #plan: CountedPlan = { rotators: [], threshold: Number.POSITIVE_INFINITY }
  /** What was reached under former plans. */
  #reached: number | undefined

  /**
   * Counts under another plan from now on, and begins with nothing: ticks of a smaller threshold never stand in for those of
   * a larger one. What was reached before stays reached, until it is too long ago.
   */
  adopt({ rotators, threshold }: CountedPlan): void {
    this.#reached = this.freshFrom(this.#plan.threshold)
    this.#plan = { rotators, threshold }
    this.#newest.clear()
  }

  /**
   * A tick of this rotation service, under the plan that was adopted last, has proved a nonce.
   *
   * @param sentAtLateMs when the nonce was sent, on the clock that counts the most that can have passed
   */
  count(rotator: string, sentAtLateMs: number): void {
    if (!this.#plan.rotators.includes(rotator)) return
    const before = this.#newest.get(rotator) ?? sentAtLateMs
    this.#newest.set(rotator, Math.max(before, sentAtLateMs))
  }

  /** A rotation service counts no more under this plan: an authority has revoked it. */
  drop(rotator: string): void {
    this.#newest.delete(rotator)
    this.#plan = { ...this.#plan, rotators: this.#plan.rotators.filter((key) => key !== rotator) }
  }

  /**
   * From when on freshness counts: so many rotation services have answered nonces that were sent then or later.
   *
   * @param threshold that of the plan that was adopted last
   * @returns `undefined` where too few have answered anything
   */
  freshFrom(threshold: number): number | undefined {
    const counted = [...this.#newest.values()].sort((a, b) => b - a)[threshold - 1]
    if (counted === undefined || this.#reached === undefined) return counted ?? this.#reached
    return Math.max(counted, this.#reached)
  }
}
