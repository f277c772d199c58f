import { concat, copy, hex, samePublic } from '../base/bytes.ts'
import { CLOCK_WINDOW_MS, PLAN_REPEAT_MS } from '../base/limits.ts'
import { FetchBackoff } from '../bus/realm/fetch-backoff.ts'
import { StatementBudget } from '../bus/realm/statement-budget.ts'
import { attempt } from '../bus/safely.ts'
import { type HeldPlan, listHash, verifyPlan } from '../keys/plan.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { ANY_SERVICE } from '../keys/subjects.ts'
import { decodePlan, decodeSignedPlan } from '../wire/plans.ts'
import { QueryKind, writePlanCursor } from '../wire/queries.ts'
import type { Parts } from './parts.ts'

/** What a plan desk works with. */
export interface PlanDeskOptions extends Pick<Parts, 'engine' | 'trust' | 'clock' | 'record' | 'fetches'> {
  /** What the operator has given, such as the newest plan of the realm's folder. */
  readonly ofOperator: KeptPlan | undefined
  /** Publishes a plan for those who go by an older one. */
  readonly publish: (plan: Uint8Array) => void
  /** A newer plan was taken up, and is written down. */
  readonly onPlan: (plan: HeldPlan) => void
  /** What is wrong with a plan. */
  readonly onError: (error: unknown) => void
}

/**
 * How a rotation service comes by plans: from its operator, from its peers, and from whoever publishes one. A plan proves itself, and
 * it is taken up only together with its list. Whoever has no plan yet takes none from the broker, which could show it an old one.
 */
export class PlanDesk {
  readonly #options: PlanDeskOptions
  readonly #backoff = new FetchBackoff()
  readonly #budget: StatementBudget
  /** With which revocations it was tried in vain whether they are the list of which plan. */
  #triedWith = ''
  /** A newer plan without its list. */
  #wanted: HeldPlan | undefined
  #ofOperator: KeptPlan | undefined
  #highestHeard = 0
  #repeatedAt = Number.NEGATIVE_INFINITY

  constructor(options: PlanDeskOptions) {
    this.#options = options
    this.#ofOperator = options.ofOperator
    this.#budget = new StatementBudget(options.clock)
  }

  /**
   * Takes up the operator's plan, where it is newer than the one in the record. One that comes from the future by a clock that is
   * behind waits for the clock.
   *
   * @throws SubrosaError ERR_PLAN_INVALID, ERR_PLAN_CONFLICT, ERR_STATE
   */
  begin(): void {
    const { record, clock } = this.#options
    const given = this.#ofOperator
    if (given === undefined) return
    const isOfLater = decodePlan(decodeSignedPlan(given.plan).structure).made > clock.now() + CLOCK_WINDOW_MS
    if (isOfLater && record.plan !== undefined) return
    this.#ofOperator = undefined
    if (this.#isNews(given.plan)) this.take(given)
  }

  /** Takes up a plan with its list. @throws SubrosaError as `PlanBook.offer` */
  take(kept: KeptPlan): void {
    const { record, clock, onPlan } = this.#options
    const plan = record.book.offer(kept, clock.now())
    if (plan === undefined) return
    if (plan.version >= (this.#wanted?.version ?? 0)) this.#wanted = undefined
    onPlan(plan)
  }

  /** The highest version of a plan that somebody has shown, other than the one that is held; 0 where nobody has. */
  get highestHeard(): number {
    return this.#highestHeard
  }

  /** Somebody has published a plan, or handed it over. @throws SubrosaError ERR_MALFORMED */
  heard(wire: Uint8Array): void {
    const { engine, trust, clock, record } = this.#options
    if (record.plan === undefined || !this.#isNews(wire)) return
    this.#budget.run(() => {
      const plan = verifyPlan({ engine, trust }, wire, clock.now())
      this.#highestHeard = Math.max(this.#highestHeard, plan.version)
      // Of the version that is held: the book says what is wrong with that.
      if (plan.version === record.plan?.version) this.#offer({ plan: wire, list: [] })
      else this.#want(plan)
    })
  }

  /**
   * A service, or somebody in its name, goes by another version. A higher one is asked for: of a service of the own plan, and where it
   * is none of whoever has it, since nobody is known yet whom that plan names. A lower one is told of this one.
   */
  named(version: number, rotator: string): void {
    const { plan } = this.#options.record
    if (plan === undefined) return
    if (version > plan.version)
      this.#fetch(plan.rotators.includes(rotator) ? rotator : ANY_SERVICE, undefined)
    else if (version < plan.version) this.#tell(plan)
  }

  /** Tries again what could not be taken up. It is to be called again and again. */
  look(): void {
    const { record } = this.#options
    const { plan } = record
    if (plan === undefined) return
    attempt(() => this.begin(), this.#options.onError)
    const wanted = this.#wanted
    if (wanted === undefined || this.#takeWithOwnList(wanted)) return
    const services = new Set([...plan.rotators, ...wanted.rotators, ANY_SERVICE])
    for (const rotator of services) this.#fetch(rotator, wanted.version)
  }

  #want(plan: HeldPlan): void {
    if (plan.version > (this.#wanted?.version ?? 0)) this.#wanted = plan
    this.look()
  }

  /** Most often this service holds the list already. */
  #takeWithOwnList(wanted: HeldPlan): boolean {
    const { engine, record } = this.#options
    const held = hex(concat(wanted.hash, record.revocations.hash(wanted.made)))
    // To hash thousands of revocations again and again takes seconds.
    if (held === this.#triedWith) return false
    this.#triedWith = held
    for (const list of record.listsFor(wanted)) {
      if (samePublic(listHash(engine, list), wanted.revocationsHash))
        return this.#offer({ plan: wanted.bytes, list })
    }
    return false
  }

  /** @param version Default: the newest one that is there */
  #fetch(rotator: string, version: number | undefined): void {
    const { fetches, clock } = this.#options
    if (!this.#backoff.mayAsk(rotator, clock.monotonic())) return
    const statements: Uint8Array[] = []
    fetches.begin({
      rotator,
      kind: QueryKind.plan,
      ...(version !== undefined && { cursor: writePlanCursor(version) }),
      onPage: (page) => {
        statements.push(...page.map(copy))
        return statements[0] !== undefined && this.#isNews(statements[0])
      },
      onEnd: (isWhole) => {
        const [plan, ...list] = statements
        const isTaken = isWhole && plan !== undefined && this.#offer({ plan, list })
        if (isTaken) this.#backoff.succeeded(rotator)
        else this.#backoff.failed(rotator, clock.monotonic())
      },
    })
  }

  /** @returns whether the plan is acted on now */
  #offer(kept: KeptPlan): boolean {
    try {
      this.take(kept)
      return true
    } catch (error) {
      this.#options.onError(error)
      return false
    }
  }

  /** Whether a plan is newer than the one that is held, or another one of the same version. Nothing of it is proved. */
  #isNews(wire: Uint8Array): boolean {
    const { record, trust } = this.#options
    const { plan } = record
    if (plan !== undefined && samePublic(plan.bytes, wire)) return false
    const { realm, version } = decodePlan(decodeSignedPlan(wire).structure)
    return realm === trust.realm && version >= (plan?.version ?? 0)
  }

  #tell({ bytes }: HeldPlan): void {
    const nowMs = this.#options.clock.monotonic()
    if (nowMs - this.#repeatedAt < PLAN_REPEAT_MS) return
    this.#repeatedAt = nowMs
    this.#options.publish(bytes)
  }
}
