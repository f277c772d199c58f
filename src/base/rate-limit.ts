/** Allows a number of events a second, in bursts of at most as many, or of another number. Time is passed in. */
export class RateLimit {
  readonly #perSecond: number
  readonly #atOnce: number
  #tokens: number
  #refilledAt: number | undefined

  constructor(perSecond: number, atOnce: number = perSecond) {
    this.#perSecond = perSecond
    this.#atOnce = atOnce
    this.#tokens = atOnce
  }

  /** Whether one more is allowed now; it is then spent. */
  take(nowMs: number): boolean {
    if (this.available(nowMs) < 1) return false
    this.#tokens--
    return true
  }

  /**
   * Takes a number at once. It may be more than is there, where anything is: that is paid back before more is allowed.
   *
   * @returns `false` where none is there
   */
  takeMany(count: number, nowMs: number): boolean {
    if (this.available(nowMs) <= 0) return false
    this.#tokens -= count
    return true
  }

  /** What was taken last is not counted after all. */
  giveBack(): void {
    this.#tokens = Math.min(this.#atOnce, this.#tokens + 1)
  }

  /** How many are allowed now. */
  available(nowMs: number): number {
    const elapsed = Math.max(0, nowMs - (this.#refilledAt ?? nowMs))
    this.#tokens = Math.min(this.#atOnce, this.#tokens + (elapsed * this.#perSecond) / 1000)
    this.#refilledAt = nowMs
    return this.#tokens
  }
}
