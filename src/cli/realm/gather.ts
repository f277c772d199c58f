import { hex } from '../../base/bytes.ts'
import { engineFor } from '../../crypto/engine.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { NamedSets } from './named-sets.ts'
import type { Operator } from './operator.ts'
import { isClockApart, type PlanWord, wordOn } from './publish-plan.ts'
import type { ServiceAnswer, ServiceAnswers, ServiceVisit } from './service-visit.ts'

/** How often services are asked again for what did not come, where enough of others has. */
const PATIENCE_ROUNDS = 2
/** After so many rounds in which nobody answers who has not answered before, nobody else is expected. */
const QUIET_ROUNDS = 3
/** Services answer four questions of one asker in a second. */
const BETWEEN_ROUNDS_MS = 300

/** What is gathered for. */
export interface GatherTerms {
  /**
   * Whether the plan cannot be confirmed any more: then its list is all that is taken over, and everybody who answers must say
   * what they hold. Default: it must be confirmed.
   */
  readonly isLost?: boolean
  /** Services that are known to go: they hold up nothing. Default: none. */
  readonly leaving?: readonly string[]
}

/** What is learned before a new plan is made. */
export interface Gathered {
  /** What those who have answered said last. */
  readonly word: PlanWord
  /** Services that count and whose revocations have come. */
  readonly whole: readonly string[]
  /** The revocations of all services that have answered, as each of them has signed for. */
  readonly revocations: readonly Uint8Array[]
  /** Services that have answered, and whose revocations did not come. */
  readonly withheld: readonly string[]
  /**
   * Services whose clocks are too far from the one here, one of which must be wrong. One that goes is among them only where no
   * other service agrees with the clock here.
   */
  readonly apart: readonly string[]
  /** Services of the plan that have not answered. */
  readonly silent: readonly string[]
  /** A newer plan that somebody has shown: what a service only says of versions is nothing. */
  readonly newer: HeldPlan | undefined
}

/**
 * Asks until a plan is confirmed and the revocations of all who answer have come, or the time is over. Where the plan is lost it
 * asks until all who have answered have said what they hold, and nobody else answers. It ends at once where somebody shows a
 * newer plan, or has another time.
 */
export async function gather(
  { visit, clock }: Operator,
  plan: HeldPlan,
  { isLost = false, leaving = [] }: GatherTerms = {},
): Promise<Gathered> {
  const heard = new Heard(visit, plan, leaving)
  let patience = PATIENCE_ROUNDS
  let quiet = 0
  for (;;) {
    const { gathered, isAnybodyNew } = await heard.round()
    const { newer, apart, withheld } = gathered
    if (newer !== undefined || apart.length > 0 || visit.isOver) return gathered
    quiet = isAnybodyNew ? 0 : quiet + 1
    if (isLost) {
      if (quiet >= QUIET_ROUNDS && withheld.every((rotator) => leaving.includes(rotator))) return gathered
    } else if (plan.until <= clock.now()) {
      // No service counts under it any more.
      return gathered
    } else if (isGathered(plan, gathered) && (withheld.length === 0 || --patience <= 0)) return gathered
    await visit.pause(BETWEEN_ROUNDS_MS)
  }
}

/** Whether enough services count under a plan and have said what they hold: any new plan is made after that. */
export function isGathered({ threshold }: HeldPlan, { whole }: Gathered): boolean {
  return whole.length >= threshold
}

/** What has been heard in all rounds. */
class Heard {
  readonly #visit: ServiceVisit
  readonly #plan: HeldPlan
  readonly #leaving: readonly string[]
  readonly #sets: NamedSets
  /** What each service has answered last. */
  readonly #answers = new Map<string, ServiceAnswer>()
  /** Those of them whose revocations came with it. */
  readonly #told = new Set<string>()
  readonly #revocations = new Map<string, Uint8Array>()

  constructor(visit: ServiceVisit, plan: HeldPlan, leaving: readonly string[]) {
    this.#visit = visit
    this.#plan = plan
    this.#leaving = leaving
    this.#sets = new NamedSets(engineFor(), visit)
  }

  /** Asks everybody once, and those who answer what they hold. */
  async round(): Promise<{ readonly gathered: Gathered; readonly isAnybodyNew: boolean }> {
    // Also services that the plan does not name: an old copy of the folder knows none of those that have followed.
    const [answers, shown] = await Promise.all([this.#visit.ask(), this.#visit.newerThan(this.#plan.version)])
    const isAnybodyNew = [...answers.keys()].some((rotator) => !this.#answers.has(rotator))
    await Promise.all([...answers].map(([rotator, answer]) => this.#take(rotator, answer)))
    const newer = shown ?? (await newerPlan(this.#visit, this.#plan, answers))
    return { gathered: this.#gathered(newer), isAnybodyNew }
  }

  async #take(rotator: string, answer: ServiceAnswer): Promise<void> {
    this.#answers.set(rotator, answer)
    const list = await this.#sets.of(answer)
    if (list === undefined) this.#told.delete(rotator)
    else this.#told.add(rotator)
    for (const bytes of list ?? []) this.#revocations.set(hex(bytes), bytes)
  }

  #gathered(newer: HeldPlan | undefined): Gathered {
    const word = wordOn(this.#plan, this.#answers)
    return {
      word,
      whole: word.counting.filter((rotator) => this.#told.has(rotator)),
      revocations: [...this.#revocations.values()],
      withheld: [...this.#answers.keys()].filter((rotator) => !this.#told.has(rotator)),
      apart: this.#apart(),
      silent: this.#plan.rotators.filter((rotator) => !this.#answers.has(rotator)),
      newer,
    }
  }

  #apart(): readonly string[] {
    const apart = [...this.#answers].flatMap(([rotator, { tick, cameAt }]) =>
      isClockApart({ now: tick.now, cameAt }) ? [rotator] : [],
    )
    const isVouchedFor = apart.length < this.#answers.size
    return apart.filter((rotator) => !isVouchedFor || !this.#leaving.includes(rotator))
  }
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
