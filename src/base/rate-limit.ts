/** Allows a number of events in a period, in bursts of at most as many. Time is passed in. */
export class RateLimit {
  readonly #most: number
  readonly #periodMs: number
  #tokens: number
  #refilledAt: number | undefined

  /** @param periodMs in which so many are allowed, in ms. Default: a second */
  constructor(most: number, periodMs = 1000) {
    this.#most = most
    this.#periodMs = periodMs
    this.#tokens = most
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
    this.#tokens = Math.min(this.#most, this.#tokens + 1)
  }

  /** Whether none was taken lately, so that as many are allowed as ever. No clock is needed to tell. */
  get isFull(): boolean {
    return this.#tokens === this.#most
  }

  /** How many are allowed now. */
  available(nowMs: number): number {
    const elapsed = Math.max(0, nowMs - (this.#refilledAt ?? nowMs))
    this.#tokens = Math.min(this.#most, this.#tokens + (elapsed * this.#most) / this.#periodMs)
    this.#refilledAt = nowMs
    return this.#tokens
  }
}
