import { CLOCK_WINDOW_MS } from '../../base/limits.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { type HeldPlan, isExpired } from '../../keys/plan.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import { verifyTick } from '../../keys/ticks.ts'
import { QueryKind } from '../../wire/queries.ts'
import type { Tick } from '../../wire/ticks.ts'
import type { Questions } from './questions.ts'

/**
 * How a rotation service of the plan does:
 *
 * - `counts`: agents count it.
 * - `silent`: it does not answer.
 * - `revoked`: an authority has revoked it.
 * - `other plan`: it goes by another version than the newest one.
 * - `not complete`: it hands over what it holds, and does not hold yet what it must.
 * - `clock`: its clock and the own one differ by more than 120 s.
 * - `revocations missing`: it names revocations that it does not send.
 * - `plan over`: the plan has ended.
 */
type ServiceCondition =
  | 'counts'
  | 'silent'
  | 'revoked'
  | 'other plan'
  | 'not complete'
  | 'clock'
  | 'revocations missing'
  | 'plan over'

/** What was found out of one rotation service. */
export interface ServiceReport {
  /** Its public key. */
  readonly rotator: string
  readonly condition: ServiceCondition
  /** What it has signed after it was asked; `undefined` where it is silent, or revoked. */
  readonly tick: Tick | undefined
  /** When that came, by the own clock. */
  readonly cameAt: number | undefined
}

/** What rotation services say of themselves at one time. */
export interface Survey {
  /** The newest plan of which any of them knows. */
  readonly plan: HeldPlan
  /** Each of the plan, in its order. */
  readonly services: readonly ServiceReport[]
}

/** What a survey is made with. */
export interface SurveyOptions {
  readonly engine: CryptoEngine
  readonly questions: Questions
  /** All that services name is taken in here. */
  readonly revocations: RevocationSet
}

interface Answer {
  readonly tick: Tick
  readonly cameAt: number
}

/**
 * Asks all rotation services of a realm, and judges each of them as an agent does. It does not matter how many count: whoever
 * asks decides what that means.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE where none of them answers with a plan, or what was wrong with those that came
 */
export async function surveyServices({ engine, questions, revocations }: SurveyOptions): Promise<Survey> {
  let { plan, list } = await questions.plan()
  for (;;) {
    revocations.holdPlan(list, plan)
    const { answers, isNewerNamed } = await ask({ engine, questions }, plan)
    const next = isNewerNamed ? await questions.planAbove(plan.version) : undefined
    if (next === undefined) {
      const around = { questions, revocations, plan }
      // Together: one that does not send what it names holds up no other.
      const judged = plan.rotators.map((rotator) => judge(around, rotator, answers.get(rotator)))
      const services = await Promise.all(judged)
      // What the others have named may say so.
      const isRevoked = ({ rotator }: ServiceReport): boolean => revocations.revokedByAuthority(rotator)
      return { plan, services: services.map((one) => (isRevoked(one) ? revoked(one.rotator) : one)) }
    }
    plan = next.plan
    list = next.list
  }
}

/** How many of them agents count. */
export function countOf({ services }: Pick<Survey, 'services'>): number {
  return services.filter(({ condition }) => condition === 'counts').length
}

async function ask(
  { engine, questions }: Pick<SurveyOptions, 'engine' | 'questions'>,
  plan: HeldPlan,
): Promise<{ readonly answers: ReadonlyMap<string, Answer>; readonly isNewerNamed: boolean }> {
  const answers = new Map<string, Answer>()
  let isNewerNamed = false
  await questions.ticks(({ parsed, cameAt }) => {
    const { tick } = parsed
    // Who signs for a newer plan, this one need not say: so whom it names is asked no more than all others.
    if (tick.planVersion > plan.version) isNewerNamed = true
    if (!answers.has(tick.rotator) && verifyTick({ engine, plan }, parsed))
      answers.set(tick.rotator, { tick, cameAt })
    return answers.size === plan.rotators.length
  })
  return { answers, isNewerNamed }
}

async function judge(
  around: {
    readonly questions: Questions
    readonly revocations: RevocationSet
    readonly plan: HeldPlan
  },
  rotator: string,
  answer: Answer | undefined,
): Promise<ServiceReport> {
  const report = (condition: ServiceCondition): ServiceReport => ({
    rotator,
    condition,
    tick: answer?.tick,
    cameAt: answer?.cameAt,
  })
  const { questions, revocations, plan } = around
  if (answer === undefined) return report('silent')
  const { tick, cameAt } = answer
  if (tick.planVersion !== plan.version) return report('other plan')
  if (isExpired(plan, cameAt)) return report('plan over')
  if (tick.standing !== 1) return report('not complete')
  if (Math.abs(cameAt - tick.now) > CLOCK_WINDOW_MS) return report('clock')
  if (!revocations.holds(tick)) {
    const list = await questions.pages(rotator, QueryKind.revocations)
    if (list !== undefined) revocations.hold(list, tick)
  }
  return report(revocations.holds(tick) ? 'counts' : 'revocations missing')
}

function revoked(rotator: string): ServiceReport {
  return { rotator, condition: 'revoked', tick: undefined, cameAt: undefined }
}
