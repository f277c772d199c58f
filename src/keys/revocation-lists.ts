import { hex } from '../base/bytes.ts'
import { LIST_REST_PER_MS, MAX_REVOCATION_LISTS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { RevocationShelf } from './revocation-shelf.ts'
import type { VerifiedRevocation } from './revocations.ts'

/** Who has named the list beside a plan. No nkey is called so. */
export const BY_PLAN = 'plan'

/**
 * The last whole list that each rotation service has named, and the one beside the plan. Each has as much room as the own set: what
 * one of them fills its own with takes nothing from the others.
 */
export class RevocationLists {
  readonly #engine: Pick<CryptoEngine, 'sha256'>
  /** The one that came last at the end. */
  readonly #lists = new Map<string, RevocationShelf>()
  /** Until when no further list of a rotation service is proved, by a clock that only goes on. */
  readonly #restsUntil = new Map<string, number>()

  constructor(engine: Pick<CryptoEngine, 'sha256'>) {
    this.#engine = engine
  }

  of(rotator: string): RevocationShelf | undefined {
    return this.#lists.get(rotator)
  }

  shelves(): Iterable<RevocationShelf> {
    return this.#lists.values()
  }

  /**
   * Holds a list in the place of the one that was named before. The list of whoever was heard longest ago goes when there are too many.
   *
   * @returns what is held for no list any more; `undefined` where the list has no room, and nothing is changed
   */
  replace(rotator: string, list: readonly VerifiedRevocation[]): readonly VerifiedRevocation[] | undefined {
    const shelf = new RevocationShelf(this.#engine)
    for (const one of list) shelf.put(one)
    if (shelf.size !== list.length) return undefined
    const left = [...this.#take(rotator)]
    this.#lists.set(rotator, shelf)
    const [oldest, ...others] = [...this.#lists.keys()].filter((name) => name !== BY_PLAN)
    if (oldest !== undefined && others.length >= MAX_REVOCATION_LISTS) {
      left.push(...this.#take(oldest))
      this.#restsUntil.delete(oldest)
    }
    return left.filter(
      ({ hash }) => ![...this.#lists.values()].some((other) => other.get(hex(hash)) !== undefined),
    )
  }

  /**
   * Whether a list may be proved. A rotation service in the wrong hands can name another one with each tick, with revocations by a
   * revoker in the same hands. An authority does not burden those who trust it.
   */
  mayProve(rotator: string, nowMs: number): boolean {
    return rotator === BY_PLAN || nowMs >= (this.#restsUntil.get(rotator) ?? 0)
  }

  /** Proving one took so long: the next one of the same service waits for several times that. */
  spend(rotator: string, workMs: number, nowMs: number): void {
    if (workMs > 0) this.#restsUntil.set(rotator, nowMs + workMs * LIST_REST_PER_MS)
  }

  #take(rotator: string): Iterable<VerifiedRevocation> {
    const shelf = this.#lists.get(rotator)
    this.#lists.delete(rotator)
    return shelf?.all() ?? []
  }
}
