/**
 * A budget of working time: so many milliseconds of work in each second, and at most those of one second at once. What
 * is spent is known only afterwards, so it may be overdrawn, by those of one second: whoever can have more spent must not be
 * able to keep others out for longer.
 */
export class TimeBudget {
  readonly #perSecondMs: number
  #leftMs: number
  #refilledAt: number | undefined

  constructor(perSecondMs: number) {
    this.#perSecondMs = perSecondMs
    this.#leftMs = perSecondMs
  }

  /** Milliseconds until there is budget for another piece of work; 0 where there is. */
  readyIn(nowMs: number): number {
    this.#refill(nowMs)
    return this.#leftMs > 0 ? 0 : Math.ceil(((1 - this.#leftMs) * 1000) / this.#perSecondMs)
  }

  /** Milliseconds of work that are left now; below 0 where more was spent than there was. */
  left(nowMs: number): number {
    this.#refill(nowMs)
    return this.#leftMs
  }

  /** Spends the time that a piece of work took. A negative time gives it back. */
  spend(workMs: number): void {
    this.#leftMs = Math.min(this.#perSecondMs, this.#leftMs - workMs)
  }

  #refill(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - (this.#refilledAt ?? nowMs))
    const leftMs = this.#leftMs + (elapsedMs * this.#perSecondMs) / 1000
    this.#leftMs = Math.max(-this.#perSecondMs, Math.min(this.#perSecondMs, leftMs))
    this.#refilledAt = nowMs
  }
}
