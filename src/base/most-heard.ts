import { MAX_HEARD_COUNTED, MAX_HEARD_WAITING } from './limits.ts'

/** What waits, and what it is known by. */
export interface Heard<T> {
  readonly key: string
  readonly item: T
}

/**
 * A short line of what waits for a budget: what was heard most often is first, and of several that which waits the longest. So
 * one that is said again and again has its turn beside any number of others that are said once; and to get before it, each of
 * those must be said more often.
 *
 * @example
 * ```ts
 * const line = new MostHeard<string>()
 * line.hear('a', 'once')
 * line.hear('b', 'twice')
 * line.hear('b', 'twice')
 * line.next() // { key: 'b', item: 'twice' }
 * ```
 */
export class MostHeard<T> {
  /** How often, those first that were not heard for the longest time. */
  readonly #counts = new Map<string, number>()
  readonly #waiting = new Map<string, T>()

  /** Whether nothing waits, and nothing is counted. */
  get isEmpty(): boolean {
    return this.#counts.size === 0
  }

  /** It is heard once more. It waits, unless all that wait were heard as often. */
  hear(key: string, item: T): void {
    const count = (this.#counts.get(key) ?? 0) + 1
    this.#counts.delete(key)
    this.#counts.set(key, count)
    if (this.#counts.size > MAX_HEARD_COUNTED)
      for (const oldest of this.#counts.keys()) {
        this.delete(oldest)
        break
      }
    if (this.#waiting.has(key)) return
    if (this.#waiting.size >= MAX_HEARD_WAITING) {
      const least = this.#find((other, found) => other < found)
      if (least === undefined || this.#countOf(least) >= count) return
      this.#waiting.delete(least)
    }
    this.#waiting.set(key, item)
  }

  /** Whose turn it is. It waits on. */
  next(): Heard<T> | undefined {
    const key = this.#find((other, found) => other > found)
    const item = key === undefined ? undefined : this.#waiting.get(key)
    return key === undefined || item === undefined ? undefined : { key, item }
  }

  /** It waits no more, and is counted from the beginning. */
  delete(key: string): void {
    this.#waiting.delete(key)
    this.#counts.delete(key)
  }

  #find(isBetter: (count: number, found: number) => boolean): string | undefined {
    let best: string | undefined
    for (const key of this.#waiting.keys())
      if (best === undefined || isBetter(this.#countOf(key), this.#countOf(best))) best = key
    return best
  }

  #countOf(key: string): number {
    return this.#counts.get(key) ?? 0
  }
}
