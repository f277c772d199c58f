import type { HeldPlan } from '../../keys/plan.ts'

/**
 * Rotation services whose clocks differ from the own one by too much. As long as enough others are left it is theirs that is
 * wrong, or does not matter; where it takes one of them, the own clock has to be looked at.
 */
export class ServiceClocks {
  readonly #skewed = new Set<string>()

  /** The clock of this service differs. @returns whether too few are left whose clocks may fit */
  differs(rotator: string, { rotators, threshold }: Pick<HeldPlan, 'rotators' | 'threshold'>): boolean {
    this.#skewed.add(rotator)
    const fitting = rotators.filter((key) => !this.#skewed.has(key))
    return fitting.length < threshold
  }

  /** The clock of this service fits. */
  fits(rotator: string): void {
    this.#skewed.delete(rotator)
  }
}
