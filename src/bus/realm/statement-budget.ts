import type { HouseClock } from '../../base/house-clock.ts'
import { STATEMENT_MS_PER_SECOND } from '../../base/limits.ts'
import { TimeBudget } from '../../base/time-budget.ts'

/**
 * Working time for statements of one kind. Anybody can publish any number of them, and each costs a signature check once the
 * cheap tests are passed: what finds no budget is not looked at. Statements of other kinds have budgets of their own.
 */
export class StatementBudget {
  readonly #clock: Pick<HouseClock, 'monotonic' | 'work'>
  readonly #budget: TimeBudget

  constructor(clock: Pick<HouseClock, 'monotonic' | 'work'>, perSecondMs = STATEMENT_MS_PER_SECOND) {
    this.#clock = clock
    this.#budget = new TimeBudget(perSecondMs)
  }

  /** Runs a check and spends the time that it takes. @returns what it says; `undefined` where there is no budget for it */
  run<T>(check: () => T): T | undefined {
    if (this.#budget.readyIn(this.#clock.monotonic()) > 0) return undefined
    const startedAt = this.#clock.work()
    try {
      return check()
    } finally {
      this.#budget.spend(this.#clock.work() - startedAt)
    }
  }
}
