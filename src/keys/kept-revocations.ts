import type { Clock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { REVOCATIONS_KEPT_MS } from '../base/limits.ts'
import { DelayedWrite } from './delayed-write.ts'
import type { RevocationSet } from './revocations.ts'
import type { AgentState } from './state.ts'

/** What is kept, and how. */
export interface KeptRevocationsOptions {
  readonly revocations: RevocationSet
  readonly clock: Pick<Clock, 'after'>
  readonly state: Pick<AgentState, 'revocations' | 'keepRevocations'>
  readonly onError: (error: unknown) => void
}

/**
 * The revocations of an agent, also in its next process: a rotation service that leaves one out of what it publishes
 * un-revokes nobody for those who have heard of it. Nothing is judged by the clock here: it may be wrong when a process
 * starts, and when it writes.
 */
export class KeptRevocations {
  readonly #options: KeptRevocationsOptions
  readonly #write: DelayedWrite
  #hasSaid = false

  constructor(options: KeptRevocationsOptions) {
    const { revocations, state, clock, onError } = options
    this.#options = options
    for (const bytes of state.revocations) revocations.restore(bytes)
    this.#write = new DelayedWrite({
      clock,
      delayMs: REVOCATIONS_KEPT_MS,
      write: () => this.#keep(),
      onError,
    })
  }

  /** One was taken in. Many come together, and are written together. */
  changed(): void {
    this.#write.soon()
  }

  /** Writes down what is not written yet. */
  close(): void {
    this.#write.close()
  }

  #keep(): void {
    const { revocations, state, onError } = this.#options
    const leftOut = state.keepRevocations(revocations.all().map(({ bytes }) => bytes))
    if (leftOut === 0 || this.#hasSaid) return
    this.#hasSaid = true
    onError(
      new SubrosaError('ERR_STATE', `${leftOut} revocations by revokers have no room in the state`, {
        hint: 'rotation services name them again after a restart; find out which revoker has signed so many, and revoke it',
      }),
    )
  }
}
