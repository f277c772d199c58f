import { CLOCK_WINDOW_MS, MAX_HINTED_TICKS_PER_SECOND } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import { type ParsedTick, provesNonce, readTick, verifyTick } from '../../keys/ticks.ts'
import type { Tick } from '../../wire/ticks.ts'
import type { Context } from '../context.ts'
import type { SentPing } from './pings.ts'
import { StatementBudget } from './statement-budget.ts'

/** A tick that answers an own question, and when that was asked, by the clock's `late`. */
export interface AnsweredTick {
  readonly tick: Tick
  readonly askedAtLateMs: number
}

/**
 * What a tick is worth that answers an own question:
 *
 * - `counts`: once all revocations that it names are held.
 * - `other plan`: it names another version than the one that is held. Nothing of it is proved but that its maker has seen the
 *   question.
 * - `skewed`: its rotation service's clock and the own one differ too much.
 * - `not complete`: its rotation service hands over what it holds, and counts for nothing yet.
 */
export type AnswerVerdict = AnsweredTick & {
  readonly verdict: 'counts' | 'other plan' | 'skewed' | 'not complete'
}

/** What ticks are judged by. */
export interface TickJudgeOptions extends Pick<Context, 'engine' | 'clock' | 'trust'> {
  readonly revocations: Pick<RevocationSet, 'revokedByAuthority' | 'holds'>
  /** The plan that is held. */
  readonly plan: () => HeldPlan | undefined
  /** Own questions that are not too old, the newest first. */
  readonly open: () => readonly SentPing[]
  /** When the newest question was asked that a rotation service has answered, as far as it was counted. */
  readonly newestOf: (rotator: string) => number | undefined
  /** Whether a rotation service whose directory has this root has nothing to say that is not known. */
  readonly isKnownRoot: (rotator: string, root: Uint8Array) => boolean
}

/**
 * Judges ticks: what costs nothing is looked at first, and a signature is checked only for what would be news. SPEC,
 * "Freshness".
 */
export class TickJudge {
  readonly #options: TickJudgeOptions
  readonly #answers: StatementBudget
  readonly #hints = new RateLimit(MAX_HINTED_TICKS_PER_SECOND)

  constructor(options: TickJudgeOptions) {
    this.#options = options
    this.#answers = new StatementBudget(options.clock)
  }

  /**
   * Judges a tick that came in the own inbox.
   *
   * @returns `undefined` where it is no answer, or no news
   * @throws SubrosaError ERR_MALFORMED
   */
  answer(bytes: Uint8Array): AnswerVerdict | undefined {
    return this.#answers.run(() => this.#answer(bytes))
  }

  #answer(bytes: Uint8Array): AnswerVerdict | undefined {
    const { engine, clock, trust, plan: heldPlan, open, newestOf } = this.#options
    const parsed = readTick(engine, bytes)
    const { tick } = parsed
    const plan = heldPlan()
    if (plan === undefined || tick.realm !== trust.realm) return undefined
    const newestMs = newestOf(tick.rotator) ?? Number.NEGATIVE_INFINITY
    const isOfPlan = tick.planVersion === plan.version && plan.rotators.includes(tick.rotator)
    if (!isOfPlan && tick.planVersion === plan.version) return undefined
    const asked = open().find(
      ({ nonce, sentAtLateMs }) =>
        !(isOfPlan && sentAtLateMs <= newestMs) && provesNonce(engine, parsed, nonce),
    )
    if (asked === undefined) return undefined
    const answered = { tick, askedAtLateMs: asked.sentAtLateMs }
    if (!isOfPlan) return { ...answered, verdict: 'other plan' }
    if (!this.#isSigned(parsed, plan)) return undefined
    if (tick.standing !== 1) return { ...answered, verdict: 'not complete' }
    const isSkewed = Math.abs(clock.now() - tick.now) > CLOCK_WINDOW_MS
    return { ...answered, verdict: isSkewed ? 'skewed' : 'counts' }
  }

  /**
   * Judges a tick that was broadcast. It never makes an agent fresh: it may be an old one.
   *
   * @returns it, where a rotation service has signed it and it differs from what is held
   * @throws SubrosaError ERR_MALFORMED
   */
  hint(bytes: Uint8Array): Tick | undefined {
    const { engine, clock, trust, plan: heldPlan } = this.#options
    const parsed = readTick(engine, bytes)
    const { tick } = parsed
    const plan = heldPlan()
    if (plan === undefined || tick.realm !== trust.realm || !plan.rotators.includes(tick.rotator))
      return undefined
    if (tick.planVersion === plan.version && this.#isHeld(tick)) return undefined
    // A budget: the wall clock would refill it whenever it is set.
    if (!this.#hints.take(clock.monotonic())) return undefined
    return this.#isSigned(parsed, plan) ? tick : undefined
  }

  /** Whether it says nothing but what this agent has itself. */
  #isHeld(tick: Tick): boolean {
    const { revocations, isKnownRoot } = this.#options
    return revocations.holds(tick) && isKnownRoot(tick.rotator, tick.directoryRoot)
  }

  /** By a rotation service of the plan that no authority has revoked. */
  #isSigned(parsed: ParsedTick, plan: HeldPlan): boolean {
    const { engine, revocations } = this.#options
    return !revocations.revokedByAuthority(parsed.tick.rotator) && verifyTick({ engine, plan }, parsed)
  }
}
