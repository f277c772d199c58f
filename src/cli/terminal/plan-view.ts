import { hex } from '../../base/bytes.ts'
import { engineFor } from '../../crypto/engine.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import { deriveEpoch, numberAt } from '../../keys/epochs.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { durationShown, whenShown } from './times.ts'

const HASH_PREFIX_DIGITS = 16
/** From when on it is said that a plan ends: in the last quarter of its life. */
const ENDING_PART = 0.25
/** Shorter leads are for demonstrations. */
const USUAL_LEAD_MS = 60_000

/** What the rotation services are called, by their public keys, where that is known. */
export type Names = ReadonlyMap<string, string>

/** A plan, for people and programs. */
export type PlanView = ReturnType<typeof planView>

/** What a plan says, at a time. */
export function planView(plan: HeldPlan, names: Names, nowMs: number) {
  const { realm, version, hash, made, until, rotators, threshold, former, schedules } = plan
  const serviceView = (key: string) => {
    const name = names.get(key)
    return { ...(name !== undefined && { name }), key, fingerprint: fingerprint(key) }
  }
  return {
    realm,
    version,
    hash: hex(hash),
    made: whenShown(made),
    until: whenShown(until),
    leftMs: Math.max(0, until - nowMs),
    isOver: until <= nowMs,
    isEnding: isEnding(plan, nowMs),
    rotators: rotators.map(serviceView),
    threshold,
    /** How many of the services may be dead, or stolen together with a broker that lies. */
    bears: { dead: rotators.length - threshold, stolen: 2 * threshold - rotators.length - 1 },
    former: former && {
      version: former.version,
      rotators: former.rotators.map(serviceView),
      threshold: former.threshold,
    },
    epoch: epochView(plan, nowMs),
    schedules: schedules.map(({ first, originMs, periodMs, leadMs, graceMs }) => ({
      first,
      since: whenShown(originMs),
      periodMs,
      leadMs,
      graceMs,
    })),
  }
}

/** The epoch that a plan has at a time, and when the next one begins; none before its first. */
function epochView(plan: HeldPlan, nowMs: number) {
  const number = numberAt(plan, nowMs)
  const engine = engineFor()
  const { hash, notBefore, notAfter, graceMs, suites } = deriveEpoch(engine, plan, number)
  const next = deriveEpoch(engine, plan, number + 1)
  return {
    number,
    hash: hex(hash),
    since: whenShown(notBefore),
    until: whenShown(notAfter),
    next: whenShown(next.notBefore),
    nextInMs: Math.max(0, next.notBefore - nowMs),
    leadMs: notAfter - next.notBefore,
    graceMs,
    suites,
  }
}

/** The rows of a table that shows a plan to a person. */
export function planRows(view: PlanView): readonly (readonly string[])[] {
  const { realm, version, hash, made, until, leftMs, isOver, rotators, threshold, bears, former, epoch } =
    view
  const left = isOver ? 'over: nobody acts on it any more' : `${durationShown(leftMs)} left`
  return [
    ['realm', realm],
    ['plan', `${version}  ${hash.slice(0, HASH_PREFIX_DIGITS)}`],
    ['  made', made],
    ['  until', `${until} (${left})`],
    ['  must answer', `${threshold} of ${rotators.length}: ${bearsText(bears)}`],
    ...rotators.map(({ name, key }, i) => [i === 0 ? '  rotation services' : '', `${name ?? '-'}  ${key}`]),
    [
      '  after',
      former === undefined
        ? 'nothing: it is the first, or its former services were lost'
        : `plan ${former.version}, ${former.threshold} of ${former.rotators.length}`,
    ],
    ['epoch', `${epoch.number}  ${epoch.hash.slice(0, HASH_PREFIX_DIGITS)}`],
    ['  since', epoch.since],
    ['  next', `${epoch.next} (in ${durationShown(epoch.nextInMs)})`],
    ['  until', `${epoch.until}, ${durationShown(epoch.leadMs)} beside the next one`],
    ['  grace', durationShown(epoch.graceMs)],
    ['  suites', epoch.suites.join(', ')],
  ]
}

function bearsText({ dead, stolen }: PlanView['bears']): string {
  if (dead === 0 && stolen === 0) return 'none may be gone, and none stolen'
  return `${dead} may be gone; ${stolen} may be stolen while the broker lies`
}

/** What a person must know about a plan: that it ends, and that its epochs are short. */
export function planRemarks(plan: HeldPlan, nowMs: number): readonly string[] {
  const { version, until, schedules } = plan
  const remarks: string[] = []
  if (until <= nowMs)
    remarks.push(
      `plan ${version} ended at ${whenShown(until)}: every agent is stale until there is a new one: subrosa plan renew --lost`,
    )
  else if (isEnding(plan, nowMs))
    remarks.push(
      `warning: plan ${version} ends in ${durationShown(until - nowMs)}, and every agent with it: subrosa plan renew`,
    )
  if (schedules.some(({ leadMs }) => leadMs < USUAL_LEAD_MS))
    remarks.push(
      'warning: a lead below a minute is for demonstrations: whoever is away for so long loses messages',
    )
  return remarks
}

/** Whether it is in the last quarter of its life. */
function isEnding({ made, until }: HeldPlan, nowMs: number): boolean {
  return until - nowMs < (until - made) * ENDING_PART
}
