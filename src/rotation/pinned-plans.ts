import { CLOCK_WINDOW_MS, MAX_PLAN_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Signer } from '../identity/signing-key.ts'
import { listHash, signPlan } from '../keys/plan.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { type EpochTimes, firstSchedule, nextSchedules, withoutPast } from '../keys/schedules.ts'
import type { Plan, Schedule } from '../wire/plans.ts'
import type { Parts } from './parts.ts'
import type { ServiceRecord } from './record.ts'

/** Of a plan's life, what is left when the next one is made. */
const RENEWED_IN_LAST = 1 / 4

/** What plans are made of where the realm goes by pins. */
export interface PinnedPlansOptions extends Pick<Parts, 'engine' | 'clock'> {
  /** The realm's own key. */
  readonly identity: Signer
  readonly record: Pick<ServiceRecord, 'plan' | 'revocations'>
  /** How epochs follow each other. */
  readonly times: Partial<EpochTimes>
  /** The highest version of a plan with the own signature that is not in the record: it was made with a record that is lost. */
  readonly highestHeard: () => number
}

/**
 * The plan that a rotation service signs for itself under pins, where one is due: it is the only service, its key is the realm's,
 * and there is no authority. SPEC, "Under pins".
 *
 * @returns `undefined` where the plan in the record is good for longer
 * @throws RangeError when a time is out of bounds
 */
export function pinnedPlan(options: PinnedPlansOptions): KeptPlan | undefined {
  const { engine, identity, clock, record, times, highestHeard } = options
  const { plan, revocations } = record
  const made = clock.now()
  if (plan !== undefined && !isDue(plan, made, options)) return undefined
  const list = revocations.inForce(made).map(({ bytes }) => bytes)
  const next: Plan = {
    realm: identity.publicKey,
    version: Math.max(plan?.version ?? 0, highestHeard()) + 1,
    made,
    until: made + MAX_PLAN_MS,
    rotators: [identity.publicKey],
    threshold: 1,
    former: undefined,
    schedules: schedulesOf(engine, plan, { nowMs: made, times }),
    revocationsHash: listHash(engine, list),
  }
  return { plan: signPlan(identity, next), list }
}

/** In the last quarter of its life, or where nobody takes it: it comes from a clock that was ahead, or others know a newer one. */
function isDue(plan: Plan, nowMs: number, { times, highestHeard }: PinnedPlansOptions): boolean {
  const isEnding = plan.until - nowMs < (plan.until - plan.made) * RENEWED_IN_LAST
  const isOfLater = plan.made > nowMs + CLOCK_WINDOW_MS
  return (
    isEnding || isOfLater || highestHeard() >= plan.version || hasOtherTimes(plan.schedules, times, nowMs)
  )
}

/** Whether other times are wanted, and can be had: a plan has two schedules at most. */
function hasOtherTimes(schedules: readonly Schedule[], times: Partial<EpochTimes>, nowMs: number): boolean {
  const [running, pending] = withoutPast(schedules, nowMs)
  if (running === undefined || pending !== undefined) return false
  const { periodMs = running.periodMs, leadMs = running.leadMs, graceMs = running.graceMs } = times
  return periodMs !== running.periodMs || leadMs !== running.leadMs || graceMs !== running.graceMs
}

/** With a new salt for epochs to come, where there is room for another schedule. */
function schedulesOf(
  engine: CryptoEngine,
  plan: Plan | undefined,
  { nowMs, times }: { readonly nowMs: number; readonly times: Partial<EpochTimes> },
): readonly Schedule[] {
  if (plan === undefined) return [firstSchedule(engine, nowMs, times)]
  const [running, pending] = withoutPast(plan.schedules, nowMs)
  if (running !== undefined && pending !== undefined) return [running, pending]
  if (running !== undefined && running.originMs <= nowMs)
    return nextSchedules(engine, plan.schedules, { nowMs, times })
  // They come from a clock that was ahead: none of their epochs has ever begun.
  return [{ ...firstSchedule(engine, nowMs, times), first: (running?.first ?? 0) + 1 }]
}
