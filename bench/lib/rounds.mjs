import { spread } from './stats.mjs'

/**
 * What one round measured: a value for each variant, by its name.
 *
 * @typedef {Readonly<Record<string, number>>} Round
 */

/**
 * The variants in the order of a round: each round begins with the next one, so that none is always measured after the
 * same other.
 *
 * @template Variant
 * @param {readonly Variant[]} variants
 * @param {number} round
 * @returns {readonly Variant[]}
 */
export function orderOf(variants, round) {
  const first = round % Math.max(1, variants.length)
  return [...variants.slice(first), ...variants.slice(0, first)]
}

/**
 * Measures variants in turn, round by round, so that whatever else the machine does meets all of them alike.
 *
 * @template {{ readonly name: string }} Variant
 * @template Measured
 * @param {readonly Variant[]} variants
 * @param {{ readonly rounds: number, readonly warmUp?: number }} plan rounds of the warm-up count for nothing
 * @param {(variant: Variant) => Promise<Measured> | Measured} measure
 * @returns {Promise<readonly Readonly<Record<string, Measured>>[]>}
 */
export async function interleaved(variants, { rounds, warmUp = 1 }, measure) {
  const measured = []
  for (let round = 0; round < warmUp + rounds; round++) {
    /** @type {Record<string, Measured>} */
    const row = {}
    for (const variant of orderOf(variants, round)) row[variant.name] = await measure(variant)
    if (round >= warmUp) measured.push(row)
  }
  return measured
}

/**
 * One variant against another: the ratio is computed for each round by itself, since what disturbs a round disturbs
 * both.
 *
 * @param {readonly Round[]} rounds
 * @param {string} name
 * @param {string} base
 */
export function ratio(rounds, name, base) {
  return spread(rounds.map((round) => (round[name] ?? Number.NaN) / (round[base] ?? Number.NaN)))
}

/**
 * @param {readonly Round[]} rounds
 * @param {string} name
 */
export function valuesOf(rounds, name) {
  return spread(rounds.map((round) => round[name] ?? Number.NaN))
}
