import { MAX_FETCH_AGAIN_MS, MIN_FETCH_AGAIN_MS } from '../../base/limits.ts'

/** As many as there are services in a few plans. */
const MAX_REMEMBERED = 64

interface Failure {
  readonly waitMs: number
  readonly until: number
}

/**
 * Which rotation services are left alone for a while, since they did not deliver what they had named: for 2 s, and for twice as
 * long each time, up to 8 s. Time is passed in.
 */
export class FetchBackoff {
  readonly #failures = new Map<string, Failure>()

  /** Whether this service may be asked now. */
  mayAsk(rotator: string, nowMs: number): boolean {
    return nowMs >= (this.#failures.get(rotator)?.until ?? nowMs)
  }

  /** It did not deliver. */
  failed(rotator: string, nowMs: number): void {
    const before = this.#failures.get(rotator)?.waitMs ?? 0
    const waitMs = Math.min(MAX_FETCH_AGAIN_MS, Math.max(MIN_FETCH_AGAIN_MS, 2 * before))
    this.#failures.delete(rotator)
    const [oldest] = this.#failures.keys()
    if (oldest !== undefined && this.#failures.size >= MAX_REMEMBERED) this.#failures.delete(oldest)
    this.#failures.set(rotator, { waitMs, until: nowMs + waitMs })
  }

  /** It has delivered. */
  succeeded(rotator: string): void {
    this.#failures.delete(rotator)
  }
}
