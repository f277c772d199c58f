import { hex } from '../../base/bytes.ts'
import { CLOCK_WINDOW_MS } from '../../base/limits.ts'
import { type CryptoEngine, engineFor } from '../../crypto/engine.ts'
import { type HeldPlan, revocationHash } from '../../keys/plan.ts'
import type { KeptPlan } from '../../keys/plan-book.ts'
import { WireType } from '../../wire/preamble.ts'
import { decodeRevocation, decodeStatement } from '../../wire/statements.ts'
import { NamedSets } from './named-sets.ts'
import type { Operator } from './operator.ts'
import { openPlanStand } from './plan-stand.ts'
import type { ServiceAnswer, ServiceAnswers, ServiceVisit } from './service-visit.ts'

/** How often services are asked again for what did not come, where enough of others has. */
const PATIENCE_ROUNDS = 2
/** Services answer four questions of one asker in a second. */
const BETWEEN_ROUNDS_MS = 300

/** What the rotation services say of a plan. */
export interface PlanWord {
  /** Those of the plan that name it and count under it. */
  readonly counting: readonly string[]
  /** Those of the plan that name it, and do not count under it yet. */
  readonly handingOver: readonly string[]
  /** Those of the plan that name it, and whose clocks are too far from the one here. */
  readonly skewed: readonly string[]
  /** Those that name a lower version. */
  readonly behind: readonly string[]
  /** Those that name a higher one. */
  readonly ahead: readonly string[]
}

/** What the rotation services that have answered say of a plan, judged as agents judge it. */
export function wordOn({ version, rotators }: HeldPlan, answers: ServiceAnswers): PlanWord {
  const word = {
    counting: [] as string[],
    handingOver: [] as string[],
    skewed: [] as string[],
    behind: [] as string[],
    ahead: [] as string[],
  }
  for (const { tick, cameAt } of answers.values()) {
    const { rotator, planVersion, standing, now } = tick
    if (planVersion < version) word.behind.push(rotator)
    else if (planVersion > version) word.ahead.push(rotator)
    else if (!rotators.includes(rotator)) continue
    else if (standing === 0) word.handingOver.push(rotator)
    else if (Math.abs(now - cameAt) > CLOCK_WINDOW_MS) word.skewed.push(rotator)
    else word.counting.push(rotator)
  }
  return word
}

/** Whether agents can be fresh under a plan: enough of its services count. */
export function isConfirmed({ threshold }: HeldPlan, { counting }: PlanWord): boolean {
  return counting.length >= threshold
}

/** What is learned before a new plan is made. */
export interface Gathered {
  readonly word: PlanWord
  /** Services that count and whose revocations have come. */
  readonly whole: readonly string[]
  /** The revocations of all services that have answered, as each of them has signed for. */
  readonly revocations: readonly Uint8Array[]
  /** Services that have answered, and whose revocations did not come. */
  readonly withheld: readonly string[]
  /** A newer plan that one of them has shown: what they only say of versions is nothing. */
  readonly newer: HeldPlan | undefined
}

/**
 * Asks until a plan is confirmed and the revocations of all who answer have come, or the time is over.
 *
 * @param isOnce whether one round will do, since the plan is not expected to be confirmed
 */
export async function gather({ visit }: Operator, plan: HeldPlan, isOnce = false): Promise<Gathered> {
  const sets = new NamedSets(engineFor(), visit)
  let last: Gathered | undefined
  let rounds = 0
  for (;;) {
    const answers = await visit.ask()
    // A round that the end of the visit has cut short says nothing of those who had no time to answer.
    if (visit.isOver && last !== undefined) return last
    const word = wordOn(plan, answers)
    const lists = await listsOf(sets, answers)
    const revocations = [...lists.values()].flatMap((list) => list ?? [])
    const withheld = [...lists].flatMap(([rotator, list]) => (list === undefined ? [rotator] : []))
    const whole = word.counting.filter((rotator) => lists.get(rotator) !== undefined)
    const newer = await newerPlan(visit, plan, answers)
    const gathered = { word, whole, revocations, withheld, newer }
    if (newer !== undefined) return gathered
    last = gathered
    if (isOnce || visit.isOver) return gathered
    if (isGathered(plan, gathered) && (withheld.length === 0 || ++rounds >= PATIENCE_ROUNDS)) return gathered
    await visit.pause(BETWEEN_ROUNDS_MS)
  }
}

/** Whether enough services count under a plan and have said what they hold: any new plan is made after that. */
export function isGathered({ threshold }: HeldPlan, { whole }: Gathered): boolean {
  return whole.length >= threshold
}

/** Whoever names a higher version must have the plan: a service in wrong hands can name any. */
async function newerPlan(
  visit: Pick<ServiceVisit, 'planOf'>,
  { version }: HeldPlan,
  answers: ServiceAnswers,
): Promise<HeldPlan | undefined> {
  for (const [rotator, { tick }] of answers) {
    if (tick.planVersion <= version) continue
    const found = await visit.planOf(rotator)
    if (found !== undefined && found.plan.version > version) return found.plan
  }
  return undefined
}

async function listsOf(
  sets: NamedSets,
  answers: ServiceAnswers,
): Promise<ReadonlyMap<string, readonly Uint8Array[] | undefined>> {
  const found = await Promise.all(
    [...answers].map(async ([rotator, answer]: [string, ServiceAnswer]) => ({
      rotator,
      list: await sets.of(answer),
    })),
  )
  return new Map(found.map(({ rotator, list }) => [rotator, list]))
}

/**
 * Publishes a plan, hands it with its list to each service that asks, and waits until it is confirmed. Before that it tells
 * the services of all revocations in its list: whoever holds exactly these takes the plan at once.
 *
 * @returns what the services said last, confirmed or not
 */
export async function publishPlan(
  { nc, visit, subjects, clock }: Operator,
  plan: HeldPlan,
  kept: KeptPlan,
): Promise<PlanWord> {
  const engine = engineFor()
  const sets = new NamedSets(engine, visit)
  const close = openPlanStand(nc, { engine, subjects, clock, version: plan.version, kept })
  try {
    let last: PlanWord | undefined
    for (let round = 0; ; round++) {
      if (round > 1) await visit.pause(BETWEEN_ROUNDS_MS)
      const answers = await visit.ask()
      const word = wordOn(plan, answers)
      if (isConfirmed(plan, word)) return word
      if (visit.isOver) return last ?? word
      last = word
      for (const rotator of word.behind) {
        const answer = answers.get(rotator)
        const named = answer && (await sets.of(answer))
        const lacking =
          named === undefined ? [] : lackingIn(engine, named, { list: kept.list, nowMs: clock.now() })
        for (const revocation of lacking) visit.publish(subjects.revoke, revocation)
      }
      visit.publish(subjects.plan, kept.plan)
    }
  } finally {
    close()
  }
}

/** The revocations of a list that are in force and that a service does not name. */
function lackingIn(
  engine: CryptoEngine,
  named: readonly Uint8Array[],
  { list, nowMs }: { readonly list: readonly Uint8Array[]; readonly nowMs: number },
): readonly Uint8Array[] {
  const held = new Set(named.map((bytes) => hex(revocationHash(engine, bytes))))
  return list.filter((bytes) => {
    const { until } = decodeRevocation(decodeStatement(WireType.revocation, bytes).structure)
    return until > nowMs && !held.has(hex(revocationHash(engine, bytes)))
  })
}
