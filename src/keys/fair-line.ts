/** How much more than its part a name can be behind with, in turns: what one item takes is known only afterwards. */
const MAX_TURNS_BEHIND = 50

/** An item that waits, and under which name. */
export interface Waits<T> {
  readonly name: string
  readonly item: T
}

interface Line<T> {
  readonly items: Set<T>
  /** What the name may still spend in its turn; below 0 what it has spent beyond it. */
  creditMs: number
}

/**
 * Items that wait for working time, by name. Names take turns, and each has the same time in each of them, however many
 * items it has and however long one takes: what a turn has taken too much is missing in the next ones. So many items under
 * one name, or costly ones, delay this name alone.
 *
 * @example
 * ```ts
 * const line = new FairLine<string>(2)
 * line.add('alice', 'a')
 * const next = line.next()
 * if (next !== undefined) {
 *   line.delete(next.name, next.item)
 *   line.spend(next.name, 0.2)
 * }
 * ```
 */
export class FairLine<T> {
  readonly #turnMs: number
  /** In the order of their turns. */
  readonly #lines = new Map<string, Line<T>>()
  #size = 0

  /** @param turnMs working time of one name in one turn */
  constructor(turnMs: number) {
    this.#turnMs = turnMs
  }

  /** How many items wait. */
  get size(): number {
    return this.#size
  }

  /** Puts an item behind the others of its name. */
  add(name: string, item: T): void {
    const line = this.#lines.get(name) ?? { items: new Set(), creditMs: this.#turnMs }
    this.#lines.set(name, line)
    const before = line.items.size
    line.items.add(item)
    this.#size += line.items.size - before
  }

  /** Puts an item before the others of its name, of which it may be one. */
  addFirst(name: string, item: T): void {
    const others = this.#lines.get(name)?.items ?? new Set<T>()
    const behind = [...others].filter((other) => other !== item)
    for (const other of behind) others.delete(other)
    this.add(name, item)
    for (const other of behind) others.add(other)
  }

  /** The item waits no more. The name is behind with what it has spent, all the same. */
  delete(name: string, item: T): void {
    if (this.#lines.get(name)?.items.delete(item) !== true) return
    this.#size--
    // Nobody waits for anybody.
    if (this.#size === 0) this.#lines.clear()
  }

  /** The item whose turn it is. It waits on. */
  next(): Waits<T> | undefined {
    while (this.#size > 0) {
      for (const [name, line] of this.#lines) {
        if (line.creditMs > 0) for (const item of line.items) return { name, item }
        // The turn is over, or there is nothing to do in it.
        this.#lines.delete(name)
        line.creditMs = Math.min(this.#turnMs, line.creditMs + this.#turnMs)
        const isBehind = line.creditMs < this.#turnMs
        if (line.items.size > 0 || isBehind) this.#lines.set(name, line)
        break
      }
    }
    return undefined
  }

  /** Notes what an item of this name took. */
  spend(name: string, workMs: number): void {
    const line = this.#lines.get(name)
    if (line === undefined) return
    line.creditMs = Math.max(-MAX_TURNS_BEHIND * this.#turnMs, line.creditMs - workMs)
  }
}
