import { samePublic } from '../../base/bytes.ts'
import { CLOCK_WINDOW_MS, MAX_HINTED_TICKS_PER_SECOND, STALE_AFTER_MS } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import { type ParsedTick, parseTick, provesNonce, readTick, verifyTick } from '../../keys/ticks.ts'
import { decodeTickAnswer, type SignedTick, type Tick } from '../../wire/ticks.ts'
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
 * Judges ticks: what costs nothing is looked at first, and a signature is checked only for what would be news. Members can publish
 * in an inbox, and see no nonce: what echoes no own one is dropped before anything of it is decoded or hashed, and spends nothing of
 * the time that there is for answers. SPEC, "Freshness".
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
    const answer = this.#asked(bytes)
    return answer && this.#answers.run(() => this.#answer(answer.signed, answer.asked))
  }

  /** Whether it answers an own question, by what it says. @throws SubrosaError ERR_MALFORMED */
  isAsked(bytes: Uint8Array): boolean {
    return this.#asked(bytes) !== undefined
  }

  /**
   * Whether a tick that counted when it was judged, but for its revocations, would count now: it may have waited for them, while
   * clocks were set, and plans and revocations came. Its nonce and its signature stay what they were.
   */
  stands({ tick, askedAtLateMs }: AnsweredTick): boolean {
    const { clock, plan: heldPlan, revocations } = this.#options
    const plan = heldPlan()
    const isRecent = clock.late() - askedAtLateMs <= STALE_AFTER_MS && askedAtLateMs >= clock.gapAtLateMs
    if (!isRecent || plan === undefined || !isOf(plan, tick)) return false
    return !revocations.revokedByAuthority(tick.rotator) && this.#verdict(tick) === 'counts'
  }

  #asked(bytes: Uint8Array): { readonly signed: SignedTick; readonly asked: SentPing } | undefined {
    let asked: SentPing | undefined
    const signed = decodeTickAnswer(bytes, (echoed) => {
      asked = this.#options.open().find(({ nonce }) => samePublic(nonce, echoed))
      return asked !== undefined
    })
    return signed && asked && { signed, asked }
  }

  #answer(signed: SignedTick, { nonce, sentAtLateMs }: SentPing): AnswerVerdict | undefined {
    const { engine, clock, trust, plan: heldPlan, newestOf } = this.#options
    const parsed = parseTick(engine, signed)
    const { tick } = parsed
    const plan = heldPlan()
    if (plan === undefined || tick.realm !== trust.realm || sentAtLateMs < clock.gapAtLateMs) return undefined
    const isOfPlan = isOf(plan, tick)
    if (!isOfPlan && tick.planVersion === plan.version) return undefined
    if (isOfPlan && sentAtLateMs <= (newestOf(tick.rotator) ?? Number.NEGATIVE_INFINITY)) return undefined
    if (!provesNonce(engine, parsed, nonce)) return undefined
    const answered = { tick, askedAtLateMs: sentAtLateMs }
    if (!isOfPlan) return { ...answered, verdict: 'other plan' }
    return this.#isSigned(parsed, plan) ? { ...answered, verdict: this.#verdict(tick) } : undefined
  }

  /** What a tick of a service of the plan is worth. */
  #verdict({ standing, now }: Tick): Exclude<AnswerVerdict['verdict'], 'other plan'> {
    if (standing !== 1) return 'not complete'
    return Math.abs(this.#options.clock.now() - now) > CLOCK_WINDOW_MS ? 'skewed' : 'counts'
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
    // Nobody has proved it yet: what is held at any time that it names is not looked for.
    if (Math.abs(clock.now() - tick.now) > CLOCK_WINDOW_MS) return undefined
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

/** Whether it is of a service of the plan, and of its version. */
function isOf({ version, rotators }: HeldPlan, { planVersion, rotator }: Tick): boolean {
  return planVersion === version && rotators.includes(rotator)
}
