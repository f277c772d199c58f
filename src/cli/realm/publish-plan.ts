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
import type { ServiceAnswers } from './service-visit.ts'

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
    else if (isClockApart({ now, cameAt })) word.skewed.push(rotator)
    else word.counting.push(rotator)
  }
  return word
}

/** Whether the clock of a service was too far from the one here when its tick came. */
export function isClockApart({ now, cameAt }: { readonly now: number; readonly cameAt: number }): boolean {
  return Math.abs(now - cameAt) > CLOCK_WINDOW_MS
}

/** Whether agents can be fresh under a plan: enough of its services count. */
export function isConfirmed({ threshold }: HeldPlan, { counting }: PlanWord): boolean {
  return counting.length >= threshold
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
