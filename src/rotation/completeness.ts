/** The rotation services that a plan names, as far as these rules need to know. A `Plan` is one. */
export interface PlannedServices {
  readonly version: number
  readonly rotators: readonly string[]
  readonly threshold: number
  readonly former:
    | { readonly version: number; readonly rotators: readonly string[]; readonly threshold: number }
    | undefined
}

/** What a rotation service said of itself in a tick whose whole set of revocations has been taken in. */
export interface Word {
  readonly standing: 0 | 1
  readonly planVersion: number
  /** Of the process that said it: another one's word replaces it. */
  readonly process: Uint8Array
}

/** What the rules go by. */
export interface CompletenessOptions {
  readonly plan: PlannedServices
  /** The own key, `U…`. */
  readonly own: string
  /**
   * Whether the own record was complete under an earlier plan. One that was begun by hand, or begun again, was not: what
   * was confirmed by its rotation service is not in it.
   */
  readonly hasRecord: boolean
}

/**
 * Whether a rotation service holds every revocation that was confirmed before a plan began, and so may speak under it. It is by
 * one of three ways: SPEC, "Complete".
 *
 * - It has taken in the sets of a threshold of the former services, all of which had taken up this plan when they named them:
 *   nothing can be confirmed under the former plan after that in which none of these has a part.
 * - It has taken in the sets of a threshold of *other* services that are complete under this plan.
 * - The plan names no former services: it is the first one, or the operator has said that they are lost.
 *
 * A service whose record is empty and that the former plan names has lost it: it counts for no former service, its own word
 * included, and has the second way alone.
 *
 * @example
 * ```ts
 * const completeness = new Completeness({ plan, own: identity.publicKey, hasRecord: true })
 * completeness.noteAsked(tick.rotator, tick)
 * if (completeness.isComplete) console.log('may speak')
 * ```
 */
export class Completeness {
  readonly #options: CompletenessOptions
  /** The newest word of each service. */
  readonly #words = new Map<string, Word>()

  constructor(options: CompletenessOptions) {
    this.#options = options
  }

  /** A rotation service has named a set of revocations in answer to an own nonce, and all of it is held durably. */
  noteAsked(rotator: string, word: Word): void {
    if (rotator !== this.#options.own) this.#words.set(rotator, word)
  }

  /** What a rotation service has said counts no more: an authority has revoked it. */
  forget(rotator: string): void {
    this.#words.delete(rotator)
  }

  /** Whether this service may speak under the plan. */
  get isComplete(): boolean {
    const { former } = this.#options.plan
    return former === undefined || this.#hasAskedFormer(former) || this.#hasAskedPeers()
  }

  #hasAskedFormer(former: NonNullable<PlannedServices['former']>): boolean {
    const { plan, own, hasRecord } = this.#options
    const isMember = former.rotators.includes(own)
    if (isMember && !hasRecord) return false
    // Earlier than this plan it might still have confirmed a revocation after it was asked.
    const asked = former.rotators.filter((rotator) => this.#version(rotator) >= plan.version)
    return asked.length + (isMember ? 1 : 0) >= former.threshold
  }

  #hasAskedPeers(): boolean {
    const { plan, own } = this.#options
    const asked = plan.rotators.filter((rotator) => {
      const word = this.#words.get(rotator)
      return rotator !== own && word?.standing === 1 && word.planVersion === plan.version
    })
    return asked.length >= plan.threshold
  }

  #version(rotator: string): number {
    return this.#words.get(rotator)?.planVersion ?? 0
  }
}
