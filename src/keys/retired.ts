import { MAX_RETIRED_PER_IDENTITY } from '../base/limits.ts'
import type { Epoch } from './epochs.ts'

/**
 * Which instances of an agent have retired. It outlives the statements that say so: announcements that were pushed out can be
 * played again as long as their epoch is held, and so long their instance is known to be gone.
 */
export class Retired {
  /** By identity and by instance (hexadecimal): the newest epoch in which it is known to have been. */
  readonly #epochs = new Map<string, Map<string, Epoch>>()

  get isEmpty(): boolean {
    return this.#epochs.size === 0
  }

  has(identity: string, instance: string): boolean {
    return this.#epochs.get(identity)?.has(instance) === true
  }

  /** The instance has retired, and has been in this epoch. */
  note(identity: string, instance: string, epoch: Epoch): void {
    const known = this.#epochs.get(identity) ?? new Map<string, Epoch>()
    this.#epochs.set(identity, known)
    const before = known.get(instance)
    if (before !== undefined && before.number > epoch.number) return
    known.delete(instance)
    known.set(instance, epoch)
    const [oldest] = known.keys()
    if (known.size > MAX_RETIRED_PER_IDENTITY && oldest !== undefined) known.delete(oldest)
  }

  /** Forgets those of epochs that are not held any more. */
  prune(held: ReadonlySet<Epoch>): void {
    for (const [identity, known] of this.#epochs) {
      for (const [instance, epoch] of known) if (!held.has(epoch)) known.delete(instance)
      if (known.size === 0) this.#epochs.delete(identity)
    }
  }
}
