/** Allows a number of events a second, in bursts of at most as many. Time is passed in. */
export class RateLimit {
  readonly #perSecond: number
  #tokens: number
  #refilledAt: number | undefined

  constructor(perSecond: number) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
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
    this.#tokens = Math.min(this.#perSecond, this.#tokens + 1)
  }

  /** How many are allowed now. */
  available(nowMs: number): number {
    const elapsed = Math.max(0, nowMs - (this.#refilledAt ?? nowMs))
    this.#tokens = Math.min(this.#perSecond, this.#tokens + (elapsed * this.#perSecond) / 1000)
    this.#refilledAt = nowMs
    return this.#tokens
  }
}
