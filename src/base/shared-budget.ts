const WINDOW_MS = 1000

/**
 * A budget of working time that several share, window by window: in each second every one that asks may spend as much as the
 * others, and what nobody else asks for is for those who do. So whoever spends all of its part keeps nobody else out. What
 * a piece of work takes is known only afterwards: the last one in each window may take more than was left.
 *
 * In the second in which somebody new asks, what others have spent before stays spent; it has its part all the same.
 *
 * @example
 * ```ts
 * const budget = new SharedBudget<string>(50)
 * if (budget.mayWork('alice', performance.now())) budget.spend('alice', 3)
 * ```
 */
export class SharedBudget<Who> {
  readonly #perSecondMs: number
  #startedAt = Number.NEGATIVE_INFINITY
  /** What those who have asked in this window have spent in it. */
  #spent = new Map<Who, number>()
  /** Those who asked in the window before: they are likely to ask in this one. */
  #before: ReadonlyMap<Who, number> = new Map()

  /** @param perSecondMs for all of them together, in ms of work a second */
  constructor(perSecondMs: number) {
    this.#perSecondMs = perSecondMs
  }

  /**
   * Whether a part of the budget is left for another piece of work. The question itself counts: who asks has a part.
   *
   * @param nowMs a clock that nobody sets: it only has to go on
   */
  mayWork(who: Who, nowMs: number): boolean {
    this.#turn(nowMs)
    const spent = this.#spent.get(who) ?? 0
    this.#spent.set(who, spent)
    let sharers = this.#spent.size
    for (const other of this.#before.keys()) if (!this.#spent.has(other)) sharers++
    return spent < this.#perSecondMs / sharers
  }

  /** Notes what a piece of work took, in ms. */
  spend(who: Who, workMs: number): void {
    this.#spent.set(who, (this.#spent.get(who) ?? 0) + Math.max(0, workMs))
  }

  #turn(nowMs: number): void {
    const elapsedMs = nowMs - this.#startedAt
    if (elapsedMs < WINDOW_MS) return
    this.#before = elapsedMs < 2 * WINDOW_MS ? this.#spent : new Map()
    this.#spent = new Map()
    this.#startedAt = nowMs
  }
}
