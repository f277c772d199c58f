import type { Clock } from '../base/clock.ts'
import { REVOCATIONS_KEPT_MS } from '../base/limits.ts'
import type { RevocationSet } from './revocations.ts'
import type { AgentState } from './state.ts'

/** What is kept, and how. */
export interface KeptRevocationsOptions {
  readonly revocations: RevocationSet
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly state: Pick<AgentState, 'revocations' | 'keepRevocations'>
  readonly onError: (error: unknown) => void
}

/**
 * The revocations of an agent, also in its next process: a rotation service that leaves one out of what it publishes
 * un-revokes nobody for those who have heard of it.
 */
export class KeptRevocations {
  readonly #options: KeptRevocationsOptions
  #cancelKeeping: (() => void) | undefined

  constructor(options: KeptRevocationsOptions) {
    this.#options = options
    const { revocations, state, clock } = options
    const nowMs = clock.now()
    for (const bytes of state.revocations) revocations.addCarried(bytes, nowMs)
  }

  /** One was taken in. Many come together, and are written together. */
  changed(): void {
    this.#cancelKeeping ??= this.#options.clock.after(REVOCATIONS_KEPT_MS, () => this.#keep())
  }

  /** Writes down what is not written yet. */
  close(): void {
    if (this.#cancelKeeping === undefined) return
    this.#cancelKeeping()
    this.#keep()
  }

  #keep(): void {
    this.#cancelKeeping = undefined
    const { revocations, state, clock, onError } = this.#options
    try {
      state.keepRevocations(revocations.inForce(clock.now()).map(({ bytes }) => bytes))
    } catch (error) {
      onError(error)
    }
  }
}
