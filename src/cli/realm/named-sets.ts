import { hex, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { listHash } from '../../keys/plan.ts'
import { QueryKind } from '../../wire/queries.ts'
import type { ServiceAnswer, ServiceVisit } from './service-visit.ts'

/**
 * The sets of revocations that rotation services name in their ticks. A list counts only where it is the very one that its
 * service has signed for: nothing is taken out of it, or put into it, on the way.
 */
export class NamedSets {
  readonly #engine: CryptoEngine
  readonly #visit: Pick<ServiceVisit, 'fetch'>
  /** Lists that have come, by what a tick says of them. */
  readonly #lists = new Map<string, readonly Uint8Array[]>()

  constructor(engine: CryptoEngine, visit: Pick<ServiceVisit, 'fetch'>) {
    this.#engine = engine
    this.#visit = visit
  }

  /** The revocations that a service names. @returns `undefined` where they do not come, or are others */
  async of({
    tick: { rotator, revocationsHash },
  }: ServiceAnswer): Promise<readonly Uint8Array[] | undefined> {
    const key = hex(revocationsHash)
    const known = this.#lists.get(key)
    if (known !== undefined) return known
    const list = await this.#visit.fetch(rotator, QueryKind.revocations)
    if (list === undefined || !this.#isNamed(list, revocationsHash)) return undefined
    this.#lists.set(key, list)
    return list
  }

  #isNamed(list: readonly Uint8Array[], revocationsHash: Uint8Array): boolean {
    try {
      return samePublic(listHash(this.#engine, list), revocationsHash)
    } catch (error) {
      if (error instanceof SubrosaError) return false
      throw error
    }
  }
}
