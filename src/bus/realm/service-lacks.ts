import { hex } from '../../base/bytes.ts'
import type { VerifiedRevocation } from '../../keys/revocations.ts'
import type { Plan } from '../../wire/plans.ts'

/** What each rotation service does not name of the revocations that this agent holds, and all of that together. */
export class ServiceLacks {
  readonly #onLacking: (lacking: readonly VerifiedRevocation[]) => void
  readonly #byRotator = new Map<string, readonly VerifiedRevocation[]>()

  constructor(onLacking: (lacking: readonly VerifiedRevocation[]) => void) {
    this.#onLacking = onLacking
  }

  /** The tick of a service that has just counted does not name these. */
  named(rotator: string, lacking: readonly VerifiedRevocation[]): void {
    this.#byRotator.set(rotator, lacking)
    this.#tell()
  }

  /** Services that are not in the plan any more lack nothing. */
  adopt({ rotators }: Pick<Plan, 'rotators'>): void {
    for (const rotator of this.#byRotator.keys())
      if (!rotators.includes(rotator)) this.#byRotator.delete(rotator)
    this.#tell()
  }

  #tell(): void {
    const all = [...this.#byRotator.values()].flat()
    this.#onLacking([...new Map(all.map((one) => [hex(one.hash), one])).values()])
  }
}
