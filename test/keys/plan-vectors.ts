import { readVectors } from '../crypto/vectors.ts'

/** A plan of test/vectors/subrosa/plans.json. A schedule is [first, origin, period, lead, grace, suites, salt]. */
export interface PlanVector {
  readonly name: string
  readonly fields: {
    readonly realm: string
    readonly version: number
    readonly made: number
    readonly until: number
    readonly rotators: readonly string[]
    readonly threshold: number
    readonly former: readonly [number, readonly string[], number] | null
    readonly schedules: readonly (readonly [
      number,
      number,
      number,
      number,
      number,
      readonly number[],
      string,
    ])[]
    readonly revocations_hash: string
  }
  readonly list: readonly string[]
  readonly structure: string
  readonly hash: string
  readonly signer: string
  readonly signed: string
  readonly signature: string
  readonly wire: string
  readonly epochs: readonly {
    readonly fields: {
      readonly realm: string
      readonly number: number
      readonly not_before: number
      readonly not_after: number
      readonly grace_ms: number
      readonly suites: readonly number[]
      readonly salt: string
    }
    readonly structure: string
    readonly hash: string
  }[]
  readonly times: readonly { readonly at: number; readonly number: number }[]
}

export const planVectors = readVectors<{ readonly plans: readonly PlanVector[] }>('subrosa/plans.json').plans

/** The plan of this name. */
export function planVector(name: string): PlanVector {
  const found = planVectors.find((plan) => plan.name === name)
  if (found === undefined) throw new Error(`no plan ${name}`)
  return found
}
