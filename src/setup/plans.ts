import { samePublic } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { MAX_PLAN_MS, MAX_ROTATORS } from '../base/limits.ts'
import { engineFor } from '../crypto/engine.ts'
import { fingerprint } from '../identity/fingerprint.ts'
import { listHash, signPlan } from '../keys/plan.ts'
import { type EpochTimes, firstSchedule, nextSchedules, withoutPast } from '../keys/schedules.ts'
import type { Plan } from '../wire/plans.ts'
import { createFile } from './files.ts'
import { planPath } from './layout.ts'
import { formatPlan, newestPlan, type PlanRecord } from './plan-records.ts'
import type { Realm } from './realm.ts'
import { recordedRevocations } from './revocation-records.ts'
import { loadAuthority } from './signers.ts'

/** What the first plan of a realm says. */
export interface FirstPlanRequest {
  /** The public keys of the rotation services, `U…`. */
  readonly rotators: readonly string[]
  /** How many of them must answer. Default: more than half. */
  readonly threshold?: number
  /** How epochs follow each other. Default: one every 55 minutes, with a lead and a grace of 5. */
  readonly times?: Partial<EpochTimes>
  /** How long the plan lasts, in milliseconds. Default 400 days. */
  readonly lastsMs?: number
  readonly clock?: Clock
}

/** What changes with the next plan of a realm. What is not given stays as it is; it lasts as long as the former one. */
export interface PlanChange extends Partial<Omit<FirstPlanRequest, 'clock'>> {
  /**
   * Draws a new salt for epochs to come: until then whoever made an identity sign for a moment can have announcements for
   * all of them. Given with `times` always.
   */
  readonly renewsSalt?: boolean
  /** Whether nothing can be learned of the former services: then the list of this plan is all that is taken over. */
  readonly isFormerLost?: boolean
}

/** What a plan is made with. */
export interface PlanMaking {
  /** The plan that it follows: the one that is confirmed, and whose services were asked what they hold. */
  readonly former: PlanRecord
  /** Revocations that the rotation services hold: the folder's own are always among the list. */
  readonly revocations?: readonly Uint8Array[]
  readonly clock?: Clock
}

/**
 * Makes the first plan of a realm and writes it to the realm's folder.
 *
 * @throws SubrosaError ERR_SETUP when there is one already, ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS
 * @throws RangeError when a number is out of bounds
 *
 * @example
 * ```ts
 * const { plan } = await makeFirstPlan(realm, { rotators: ['U…', 'U…', 'U…'], threshold: 2 })
 * ```
 */
export async function makeFirstPlan(realm: Realm, request: FirstPlanRequest): Promise<PlanRecord> {
  const { rotators, clock = systemClock, times = {}, lastsMs = MAX_PLAN_MS } = request
  const engine = engineFor()
  const made = clock.now()
  const schedules = [firstSchedule(engine, made, times)]
  const threshold = request.threshold ?? majorityOf(rotators.length)
  const plan = { version: 1, made, until: made + lastsMs, rotators, threshold, former: undefined, schedules }
  return writeNext(realm, plan, [])
}

/**
 * Signs the plan that follows `former`, and writes it to the realm's folder. It acts once the rotation services and the agents
 * have it. The former plan must be confirmed, or its services lost.
 *
 * @throws SubrosaError ERR_SETUP when `former` is not the newest plan of the folder any more, a rotation service of the new
 *   one is revoked, or another schedule is under way; ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS
 * @throws RangeError when a number is out of bounds
 *
 * @example
 * ```ts
 * const former = await newestPlan(realm)
 * const { plan } = await makeNextPlan(realm, { renewsSalt: true }, { former, revocations })
 * ```
 */
export async function makeNextPlan(
  realm: Realm,
  change: PlanChange,
  { former: { plan: former }, revocations = [], clock = systemClock }: PlanMaking,
): Promise<PlanRecord> {
  const { plan: newest, path } = await newestPlan(realm)
  if (newest.version !== former.version || !samePublic(newest.hash, former.hash))
    throw new SubrosaError(
      'ERR_SETUP',
      `plan ${newest.version} was made meanwhile, and nobody has asked whether it is confirmed: nothing was made`,
      { hint: 'see what it says: subrosa plan show; then repeat this' },
    )
  const { rotators = former.rotators, times = {}, renewsSalt = false, isFormerLost = false } = change
  const { threshold = keptThreshold(former, rotators), lastsMs = former.until - former.made } = change
  const made = clock.now()
  if (made < former.made)
    throw new SubrosaError('ERR_SETUP', `the clock is behind the making of plan ${former.version}`, {
      hint: `set the clock of this machine right; if the one that made plan ${former.version} was ahead, no rotation service has taken it up: move ${path} away, and repeat this`,
    })
  const hasNext = renewsSalt || Object.keys(times).length > 0
  const schedules = hasNext
    ? nextSchedules(engineFor(), former.schedules, { nowMs: made, times })
    : withoutPast(former.schedules, made)
  const { version: formerVersion, rotators: formerRotators, threshold: formerThreshold } = former
  const plan = {
    version: formerVersion + 1,
    made,
    until: made + lastsMs,
    rotators,
    threshold,
    former: isFormerLost
      ? undefined
      : { version: formerVersion, rotators: formerRotators, threshold: formerThreshold },
    schedules,
  }
  return writeNext(realm, plan, revocations)
}

/** Signs a plan over all revocations in force that are known, and writes it. */
async function writeNext(
  realm: Realm,
  parts: Omit<Plan, 'realm' | 'revocationsHash'>,
  revocations: readonly Uint8Array[],
): Promise<PlanRecord> {
  const { rotators, threshold, made, until } = parts
  checkTerms({ count: rotators.length, threshold, lastsMs: until - made })
  if (new Set(rotators).size !== rotators.length)
    throw new RangeError('a rotation service stands in the plan twice')
  const engine = engineFor()
  const set = await recordedRevocations(realm, made)
  for (const bytes of revocations) set.take(bytes, made)
  const revoked = rotators.find((rotator) => set.revokedByAuthority(rotator))
  if (revoked !== undefined)
    throw new SubrosaError('ERR_SETUP', `the key ${fingerprint(revoked)} is revoked: it counts in no plan`, {
      hint: `replace it: subrosa plan replace-rotator ${revoked}`,
    })
  const list = set.inForce(made).map(({ bytes }) => bytes)
  const plan: Plan = {
    realm: realm.key,
    ...parts,
    rotators: [...rotators].sort(),
    revocationsHash: listHash(engine, list),
  }
  const kept = { plan: signPlan(await loadAuthority(realm), plan), list }
  // Of two that make one at once, one stops.
  await createFile(planPath(realm.dir, plan.version), formatPlan(kept), { secret: false })
  return newestPlan(realm)
}

/** The least threshold of so many rotation services: more than half of them. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1
}

/** @throws RangeError when no plan has such numbers */
export function checkTerms(terms: {
  readonly count: number
  readonly threshold: number
  readonly lastsMs: number
}): void {
  const { count, threshold, lastsMs } = terms
  if (!Number.isInteger(count) || count < 1 || count > MAX_ROTATORS)
    throw new RangeError(`a plan has 1 to ${MAX_ROTATORS} rotation services`)
  if (!Number.isInteger(threshold) || threshold > count || threshold < majorityOf(count))
    throw new RangeError(`of ${count} rotation services ${majorityOf(count)} to ${count} must answer`)
  if (!Number.isSafeInteger(lastsMs) || lastsMs < 1000 || lastsMs > MAX_PLAN_MS)
    throw new RangeError('a plan lasts at most 400d')
}

/** Of as many services as before as many must answer; of others more than half. */
function keptThreshold({ rotators: before, threshold }: Plan, rotators: readonly string[]): number {
  return rotators.length === before.length ? threshold : majorityOf(rotators.length)
}
