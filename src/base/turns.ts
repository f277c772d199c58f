/** An item that waits, and whose it is. */
export interface Turn<Who, What> {
  readonly who: Who
  readonly what: What
}

/**
 * What waits for a budget that all share. Those who wait take turns: one item of each, round and round, so that nobody
 * who has much waiting keeps out those who have little. An item waits once, however often it is added.
 *
 * @example
 * ```ts
 * const turns = new Turns<string, number>(32)
 * turns.add('alice', 1)
 * turns.add('alice', 2)
 * turns.add('bob', 3)
 * turns.take() // 1, then 3, then 2
 * ```
 */
export class Turns<Who, What> {
  readonly #maxOfEach: number
  /** In the order of their turns. */
  readonly #lines = new Map<Who, Set<What>>()
  #size = 0

  /** @param maxOfEach how many items of one may wait */
  constructor(maxOfEach: number) {
    this.#maxOfEach = maxOfEach
  }

  /** How many items wait. */
  get size(): number {
    return this.#size
  }

  /** @returns `false` where too many of the same wait already */
  add(who: Who, what: What): boolean {
    const line = this.#lines.get(who) ?? new Set()
    if (line.has(what)) return true
    if (line.size >= this.#maxOfEach) return false
    line.add(what)
    this.#lines.set(who, line)
    this.#size++
    return true
  }

  /** The item whose turn it is. It waits on. */
  peek(): Turn<Who, What> | undefined {
    return this.#next(() => true)
  }

  /**
   * Takes the item whose turn it is out; then it is the turn of the next one who waits.
   *
   * @param may whose turn it can be; the others wait on, and keep their turn
   */
  take(may: (who: Who) => boolean = () => true): What | undefined {
    const turn = this.#next(may)
    if (turn === undefined) return undefined
    const { who, what } = turn
    const line = this.#lines.get(who)
    this.delete(who, what)
    if (line === undefined || line.size === 0) return what
    // Behind the others.
    this.#lines.delete(who)
    this.#lines.set(who, line)
    return what
  }

  /** The item waits no more. */
  delete(who: Who, what: What): void {
    const line = this.#lines.get(who)
    if (line?.delete(what) !== true) return
    this.#size--
    if (line.size === 0) this.#lines.delete(who)
  }

  clear(): void {
    this.#lines.clear()
    this.#size = 0
  }

  #next(may: (who: Who) => boolean): Turn<Who, What> | undefined {
    for (const [who, line] of this.#lines) if (may(who)) for (const what of line) return { who, what }
    return undefined
  }
}
