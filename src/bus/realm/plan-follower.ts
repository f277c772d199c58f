import { copy, hex, samePublic } from '../../base/bytes.ts'
import {
  JOIN_PING_MS,
  MAX_FETCH_MS,
  PING_TOGETHER_SPREAD_MS,
  PLAN_CHOICE_MS,
  PLAN_ENDING_MS,
  PLAN_ENDING_REPEAT_MS,
  PLAN_REPEAT_MS,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { type HeldPlan, listHash, verifyPlan } from '../../keys/plan.ts'
import type { KeptPlan, PlanBook } from '../../keys/plan-book.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import { ANY_SERVICE } from '../../keys/subjects.ts'
import { decodePlan, decodeSignedPlan } from '../../wire/plans.ts'
import { decodeAnswer, NONCE_BYTES, type Page, QueryKind } from '../../wire/queries.ts'
import type { Context } from '../context.ts'
import { FetchBackoff } from './fetch-backoff.ts'
import type { PageFetches } from './page-fetches.ts'
import { PlanChoice } from './plan-choice.ts'
import { randomDelay } from './random.ts'
import { StatementBudget } from './statement-budget.ts'

/** What a plan follower works with. */
export interface PlanFollowerOptions extends Pick<Context, 'engine' | 'trust' | 'clock' | 'feed'> {
  readonly book: PlanBook
  readonly revocations: Pick<RevocationSet, 'inForce'>
  readonly fetches: Pick<PageFetches, 'begin' | 'isUnderWay'>
  readonly timers: Pick<Timers, 'after'>
  /** Asks every rotation service for its plan: without one, or with an older one, nobody knows who they are. */
  readonly askAll: (nonce: Uint8Array) => void
  /** Publishes a plan for those who go by an older one. */
  readonly publish: (plan: Uint8Array) => void
  /** A newer plan is acted on from now on. */
  readonly onPlan: (plan: HeldPlan) => void
  /** A plan that came is of no use, or could not be kept. */
  readonly onTrouble: (error: unknown) => void
}

/**
 * Follows the plans of a realm: SPEC, "Plan". Without one it asks all rotation services, and later whoever names a higher
 * version. A plan proves itself, whoever hands it on; what services and tokens say of versions only makes an agent ask.
 */
export class PlanFollower {
  readonly #options: PlanFollowerOptions
  readonly #backoff = new FetchBackoff()
  /** Who hears a question is not kept from answering it by those who publish plans. */
  readonly #ofAnswers: StatementBudget
  readonly #ofPublished: StatementBudget
  /** Nonces of the questions to all, in hexadecimal, and when they were asked, by the monotonic clock. */
  readonly #asked = new Map<string, number>()
  #choice: PlanChoice | undefined
  #cancelChoosing: (() => void) | undefined
  #cancelRepeating: (() => void) | undefined
  #repeatedAt = Number.NEGATIVE_INFINITY
  #saidEndingAt = Number.NEGATIVE_INFINITY

  constructor(options: PlanFollowerOptions) {
    this.#options = options
    this.#ofAnswers = new StatementBudget(options.clock)
    this.#ofPublished = new StatementBudget(options.clock)
  }

  /** Asks all rotation services, each second, for as long as there is no plan. */
  begin(): void {
    const { book, timers } = this.#options
    if (book.plan !== undefined) return
    timers.after(JOIN_PING_MS, () => this.begin())
    this.#askAll()
  }

  /** Takes a page, where it answers the question to all. @returns whether it does @throws SubrosaError ERR_MALFORMED */
  take(bytes: Uint8Array): boolean {
    const isAsked = ({ nonce, kind }: Pick<Page, 'nonce' | 'kind'>): boolean =>
      kind === QueryKind.plan && this.#asked.has(hex(nonce))
    const page = decodeAnswer(bytes, isAsked)
    if (page === undefined) return false
    this.#ofAnswers.run(() => this.#choose(page))
    return true
  }

  /** Somebody has published a plan. */
  heard(bytes: Uint8Array): void {
    const { book, engine, timers } = this.#options
    const held = book.plan
    if (held !== undefined && samePublic(held.bytes, bytes)) {
      this.#wasRepeated()
      return
    }
    this.#ofPublished.run(() => {
      const plan = this.#verify(bytes)
      if (plan === undefined) return
      // Of the version that is held: the book says what is wrong with that.
      if (plan.version === held?.version) {
        this.#offer({ plan: bytes, list: [] })
        return
      }
      const list = this.#ownList(plan)
      if (list !== undefined) {
        this.#offer({ plan: bytes, list })
        return
      }
      // All agents may have heard it.
      timers.after(randomDelay(engine, PING_TOGETHER_SPREAD_MS), () => this.#fetchFrom(plan))
    })
  }

  /**
   * A rotation service, or somebody in its name, goes by another version. A higher one is asked for: of a service of the own plan,
   * where it is one. Whom a newer plan may name nobody knows before it is there, so then all are asked, and no number of made-up ones
   * is. Whoever goes by a lower one is told of this one.
   */
  named(version: number, rotator: string): void {
    const { book, clock } = this.#options
    const { plan } = book
    // Without a plan all are asked already.
    if (plan === undefined || version === plan.version) return
    if (version < plan.version) return this.#repeatSoon()
    if (plan.rotators.includes(rotator)) return this.#fetch(rotator, version)
    const nowMs = clock.monotonic()
    if (!this.#backoff.mayAsk(ANY_SERVICE, nowMs)) return
    this.#backoff.failed(ANY_SERVICE, nowMs)
    this.#askAll()
  }

  /** A verified token names this version: it is asked for. */
  claimed(version: number): void {
    const { plan } = this.#options.book
    if (plan === undefined || version <= plan.version) return
    const [rotator] = this.#shuffled(plan)
    if (rotator !== undefined) this.#fetch(rotator, version)
  }

  /** Says, once a day, that the plan ends soon. */
  look(): void {
    const { book, clock, feed } = this.#options
    const nowMs = clock.monotonic()
    const until = book.plan?.until
    if (until === undefined || clock.now() < until - PLAN_ENDING_MS) return
    if (nowMs - this.#saidEndingAt < PLAN_ENDING_REPEAT_MS) return
    this.#saidEndingAt = nowMs
    feed.emit({ type: 'planEnding', until })
  }

  #askAll(): void {
    const { clock, engine, askAll } = this.#options
    const nonce = engine.randomBytes(NONCE_BYTES)
    const nowMs = clock.monotonic()
    for (const [asked, at] of this.#asked) if (nowMs - at > MAX_FETCH_MS) this.#asked.delete(asked)
    this.#asked.set(hex(nonce), nowMs)
    askAll(nonce)
  }

  #choose(page: Page): void {
    const { book, clock, engine, trust, timers, onTrouble } = this.#options
    this.#choice ??= new PlanChoice(
      { engine, trust },
      { floor: book.floor, ...(book.plan !== undefined && { held: book.plan.version }) },
    )
    try {
      this.#choice.offer(page, clock.now())
    } catch (error) {
      return onTrouble(error)
    }
    if (this.#choice.isDecided) this.#decide()
    // A newer one may be on its way.
    else if (this.#choice.best !== undefined)
      this.#cancelChoosing ??= timers.after(PLAN_CHOICE_MS, () => this.#decide())
  }

  #decide(): void {
    const choice = this.#choice
    this.#cancelChoosing?.()
    this.#cancelChoosing = undefined
    this.#choice = undefined
    for (let best = choice?.best; best !== undefined; best = choice?.best) {
      const { plan, list = this.#ownList(plan) } = best
      choice?.drop(best)
      // Another one may have come meanwhile, by another way.
      if (plan.version <= (this.#options.book.plan?.version ?? 0)) return
      // Not an older one in its place, while its list is on its way.
      if (list === undefined) return this.#fetchFrom(plan)
      if (this.#offer({ plan: plan.bytes, list })) return
    }
  }

  /** The list of a plan, where this agent holds it already, as it mostly does. */
  #ownList(plan: HeldPlan): readonly Uint8Array[] | undefined {
    const { engine, revocations } = this.#options
    const list = revocations.inForce(plan.made).map(({ bytes }) => bytes)
    return samePublic(listHash(engine, list), plan.revocationsHash) ? list : undefined
  }

  /** Asks all rotation services of a plan for it: one of them may be silent, or lie. */
  #fetchFrom(plan: HeldPlan): void {
    for (const rotator of plan.rotators) this.#fetch(rotator, plan.version)
  }

  #fetch(rotator: string, version: number): void {
    const { fetches, clock, book } = this.#options
    if (version <= (book.plan?.version ?? 0)) return
    if (!this.#backoff.mayAsk(rotator, clock.monotonic())) return
    let plan: HeldPlan | undefined
    const list: Uint8Array[] = []
    fetches.begin({
      rotator,
      kind: QueryKind.plan,
      // The newest one: it may be newer than what was named.
      onPage: (statements) => {
        if (plan !== undefined) {
          list.push(...statements.map(copy))
          return true
        }
        const [wire, ...others] = statements
        plan = wire && this.#verify(wire)
        if (plan === undefined) return false
        const own = this.#ownList(plan)
        if (own !== undefined) this.#offer({ plan: plan.bytes, list: own })
        else list.push(...others.map(copy))
        return own === undefined
      },
      onEnd: (isWhole) => {
        if (isWhole && plan !== undefined) this.#offer({ plan: plan.bytes, list })
        const isDelivered = version <= (book.plan?.version ?? 0)
        if (isDelivered) this.#backoff.succeeded(rotator)
        else this.#backoff.failed(rotator, clock.monotonic())
      },
    })
  }

  /** @returns the plan, where it is newer than the one that is held, or another of the same version */
  #verify(wire: Uint8Array): HeldPlan | undefined {
    const { engine, trust, clock, book, onTrouble } = this.#options
    try {
      const { version } = decodePlan(decodeSignedPlan(wire).structure)
      if (version < (book.plan?.version ?? book.floor)) return undefined
      return verifyPlan({ engine, trust }, wire, clock.now())
    } catch (error) {
      onTrouble(error)
      return undefined
    }
  }

  /** @returns whether this plan is the one that is held now */
  #offer(kept: KeptPlan): boolean {
    const { book, clock, feed, onPlan, onTrouble } = this.#options
    try {
      const plan = book.offer(kept, clock.now())
      if (plan === undefined) return true
      this.#saidEndingAt = Number.NEGATIVE_INFINITY
      this.#choice = undefined
      this.#backoff.succeeded(ANY_SERVICE)
      feed.emit({ type: 'plan', version: plan.version, until: plan.until })
      onPlan(plan)
      this.look()
      return true
    } catch (error) {
      onTrouble(error)
      return false
    }
  }

  /** Whoever goes by an older plan is told of this one by one agent, not by all. */
  #repeatSoon(): void {
    const { book, clock, engine, timers, publish } = this.#options
    const nowMs = clock.monotonic()
    if (this.#cancelRepeating !== undefined || nowMs - this.#repeatedAt < PLAN_REPEAT_MS) return
    this.#cancelRepeating = timers.after(randomDelay(engine, PLAN_REPEAT_MS), () => {
      this.#wasRepeated()
      if (book.plan !== undefined) publish(book.plan.bytes)
    })
  }

  #wasRepeated(): void {
    this.#cancelRepeating?.()
    this.#cancelRepeating = undefined
    this.#repeatedAt = this.#options.clock.monotonic()
  }

  /** In a random order: agents share their questions among the services. */
  #shuffled({ rotators }: HeldPlan): readonly string[] {
    const start = randomDelay(this.#options.engine, rotators.length)
    return [...rotators.slice(start), ...rotators.slice(0, start)]
  }
}
