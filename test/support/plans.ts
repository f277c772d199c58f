import type { Signer } from '../../src/identity/signing-key.ts'
import { listHash, signPlan } from '../../src/keys/plan.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import type { Plan, Schedule } from '../../src/wire/plans.ts'
import { engine } from './identities.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE

/** What a plan has that others do not. Who rotates is named by keys, or by identities. */
export interface PlanChanges extends Partial<Omit<Plan, 'rotators' | 'schedules'>> {
  readonly rotators?: readonly (string | { readonly publicKey: string })[]
  /** In place of the one that {@link signedPlan} makes. */
  readonly schedules?: readonly Schedule[]
  /** What the only schedule has that others do not. */
  readonly schedule?: Partial<Schedule>
  /** The revocations that travel beside it. */
  readonly list?: readonly Uint8Array[]
}

/** Of which realm a plan is, as far as nothing else is said. */
export interface PlanGrounds {
  readonly rotators: readonly { readonly publicKey: string }[]
  readonly madeMs: number
  /** When epoch 1 begins. */
  readonly originMs: number
}

/** The plan of version 1 of these rotators, of which more than half count, with changes: signed, with its list. */
export function signedPlan(authority: Signer, grounds: PlanGrounds, changes: PlanChanges = {}): KeptPlan {
  const { list = [], schedule = {}, rotators: named = grounds.rotators, ...rest } = changes
  const rotators = named.map((one) => (typeof one === 'string' ? one : one.publicKey)).sort()
  const { made = grounds.madeMs } = rest
  const plan: Plan = {
    realm: authority.publicKey,
    version: 1,
    made,
    until: made + 400 * DAY,
    rotators,
    threshold: Math.floor(rotators.length / 2) + 1,
    former: undefined,
    schedules: [
      {
        first: 1,
        originMs: grounds.originMs,
        periodMs: 55 * MINUTE,
        leadMs: 5 * MINUTE,
        graceMs: 5 * MINUTE,
        suites: [1],
        salt: engine.randomBytes(16),
        ...schedule,
      },
    ],
    revocationsHash: listHash(engine, list),
    ...rest,
  }
  return { plan: signPlan(authority, plan), list }
}
