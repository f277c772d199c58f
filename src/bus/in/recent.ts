import type { HouseClock } from '../../base/house-clock.ts'

interface Entry<Value> {
  readonly value: Value
  readonly atMs: number
}

/** What is known for a while, by names: so many of them, and the oldest gives way. */
export class Recent<Value> {
  readonly #clock: HouseClock
  readonly #ttlMs: number
  readonly #max: number
  /** In the order of their times. */
  readonly #entries = new Map<string, Entry<Value>>()

  constructor(clock: HouseClock, { ttlMs, max }: { readonly ttlMs: number; readonly max: number }) {
    this.#clock = clock
    this.#ttlMs = ttlMs
    this.#max = max
  }

  get(name: string): Value | undefined {
    if (this.#entries.size === 0) return undefined
    const entry = this.#entries.get(name)
    return entry !== undefined && this.#isGood(entry) ? entry.value : undefined
  }

  set(name: string, value: Value): void {
    this.#entries.delete(name)
    this.#entries.set(name, { value, atMs: this.#clock.monotonic() })
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.#max && this.#isGood(entry)) return
      this.#entries.delete(oldest)
    }
  }

  clear(): void {
    this.#entries.clear()
  }

  #isGood({ atMs }: Entry<Value>): boolean {
    return this.#clock.monotonic() - atMs < this.#ttlMs
  }
}
