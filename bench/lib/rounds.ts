import { type Spread, spread } from './stats.ts'

/** What one round measured: a value for each variant, by its name. */
export type Round = Readonly<Record<string, number>>

/** Rounds of the warm-up count for nothing. */
export interface RoundPlan {
  readonly rounds: number
  readonly warmUp?: number
}

/**
 * The variants in the order of a round: each round begins with the next one, so that none is always measured after the
 * same other.
 */
export function orderOf<Variant>(variants: readonly Variant[], round: number): readonly Variant[] {
  const first = round % Math.max(1, variants.length)
  return [...variants.slice(first), ...variants.slice(0, first)]
}

/** Measures variants in turn, round by round, so that whatever else the machine does meets all of them alike. */
export async function interleaved<Variant extends { readonly name: string }, Measured>(
  variants: readonly Variant[],
  { rounds, warmUp = 1 }: RoundPlan,
  measure: (variant: Variant) => Promise<Measured> | Measured,
): Promise<readonly Readonly<Record<string, Measured>>[]> {
  const measured = []
  for (let round = 0; round < warmUp + rounds; round++) {
    const row: Record<string, Measured> = {}
    for (const variant of orderOf(variants, round)) row[variant.name] = await measure(variant)
    if (round >= warmUp) measured.push(row)
  }
  return measured
}

/**
 * One variant against another: the ratio is computed for each round by itself, since what disturbs a round disturbs
 * both.
 */
export function ratio(rounds: readonly Round[], name: string, base: string): Spread {
  return spread(rounds.map((round) => (round[name] ?? Number.NaN) / (round[base] ?? Number.NaN)))
}

export function valuesOf(rounds: readonly Round[], name: string): Spread {
  return spread(rounds.map((round) => round[name] ?? Number.NaN))
}
