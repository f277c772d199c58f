import { copy, hex, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { HouseClock } from '../../base/house-clock.ts'
import { PLAN_CHOICE_MS } from '../../base/limits.ts'
import { Timers } from '../../base/timers.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { OBSERVER_NAME } from '../../identity/token.ts'
import type { Trust } from '../../identity/trust.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { ANY_SERVICE, type ProtocolSubjects, rid } from '../../keys/subjects.ts'
import { type ParsedTick, provesNonce, readTickAnswer } from '../../keys/ticks.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import { decodeAnswer, encodeQuery, NONCE_BYTES, type Query, QueryKind } from '../../wire/queries.ts'
import { INSTANCE_BYTES } from '../../wire/statements.ts'
import type { NatsLike, NatsSubscription } from '../nats-like.ts'
import { publishSafely, subscribeSafely } from '../safely.ts'
import { DirectoryListing } from './directory-listing.ts'
import { noRotationService } from './no-rotation-service.ts'
import { PageFetches } from './page-fetches.ts'
import { PlanChoice } from './plan-choice.ts'
import { StatementBudget } from './statement-budget.ts'

/** What questions are asked with. */
export interface QuestionsOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly subjects: ProtocolSubjects
  readonly clock: HouseClock
  /** Milliseconds in which all questions together must be answered. */
  readonly timeout: number
}

/** A tick that was made after it was asked for. Nothing else of it is proved. */
export interface PromptTick {
  readonly parsed: ParsedTick
  /** When it came, by the own clock. */
  readonly cameAt: number
}

/** A plan with its list. */
export interface PlanAnswer {
  readonly plan: HeldPlan
  readonly list: readonly Uint8Array[]
}

const ASK_AGAIN_MS = 500
const ROUND_MS = 1500
/** Of what was asked of one service, page by page. */
const NO_NONCE = new Uint8Array(NONCE_BYTES)

/**
 * Asks the rotation services of a realm from a random inbox and without an identity: whoever asks announces nothing, and nobody
 * seals to it. Questions and answers may be lost, so each is asked again until it is answered, or the time for all of them is
 * over.
 */
export class Questions {
  readonly #nc: NatsLike
  readonly #options: QuestionsOptions
  readonly #instance: Uint8Array
  readonly #timers: Timers
  readonly #fetches: PageFetches
  /** Whoever hears a question may answer it with any number of plans. */
  readonly #budget: StatementBudget
  readonly #subscription: NatsSubscription
  /** Ends what waits, when the time for all questions is over. */
  readonly #wakes = new Set<() => void>()
  #takeTick: (bytes: Uint8Array) => void = () => {}
  /** @returns whether the page answers what is asked of all */
  #takePlan: (bytes: Uint8Array) => boolean = () => false
  #isOver = false
  #trouble: SubrosaError | undefined

  /**
   * Subscribes, and flushes, so that no answer is missed.
   *
   * @throws SubrosaError ERR_CONNECTION on a closed connection or a lost one, ERR_SUBSCRIBE_DENIED
   */
  static async open(nc: NatsLike, options: QuestionsOptions): Promise<Questions> {
    if (nc.isClosed()) throw new SubrosaError('ERR_CONNECTION', 'the NATS connection is closed')
    const questions = new Questions(nc, options)
    try {
      await questions.#open()
    } catch (error) {
      questions.close()
      throw error
    }
    return questions
  }

  private constructor(nc: NatsLike, options: QuestionsOptions) {
    const { engine, clock, subjects, timeout } = options
    this.#nc = nc
    this.#options = options
    this.#instance = engine.randomBytes(INSTANCE_BYTES)
    this.#budget = new StatementBudget(clock)
    this.#timers = new Timers(clock, (error) => this.#note(error))
    this.#fetches = new PageFetches({
      engine,
      clock,
      timers: this.#timers,
      ask: (rotator, query) => this.#query(rid(engine, rotator), query),
    })
    const inbox = subjects.inbox(OBSERVER_NAME, this.#instance)
    this.#subscription = subscribeSafely(nc, inbox, {
      take: ({ data }) => this.#take(data),
      onError: (error) => this.#note(error),
      // Nothing is reported here: what is missing in the end says that it did not come.
      reject: () => {},
      onRefused: (cause) => this.#note(refused(inbox, cause)),
    })
    this.#timers.after(timeout, () => {
      this.#isOver = true
      for (const wake of this.#wakes) wake()
    })
  }

  /** Whether the time for all questions is over. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** What was wrong last with what has come, where anything was. */
  get trouble(): SubrosaError | undefined {
    return this.#trouble
  }

  /**
   * The newest plan of which any rotation service knows, and its list.
   *
   * @throws SubrosaError ERR_NO_ROTATION_SERVICE, or what was wrong with what came
   */
  async plan(): Promise<PlanAnswer> {
    for (;;) {
      const answer = await this.#newest(0)
      if (answer !== undefined) return answer
      if (this.#isOver) throw this.#trouble ?? noRotationService({ plan: undefined, counted: 0 })
    }
  }

  /** The newest plan above this version, of whichever service. @returns `undefined` where nobody has one, after a moment */
  async planAbove(version: number): Promise<PlanAnswer | undefined> {
    return this.#newest(version)
  }

  /**
   * The same without its list: that there is a newer plan is proved without it.
   *
   * @returns `undefined` where nobody has one, after a moment
   */
  async newerThan(version: number): Promise<HeldPlan | undefined> {
    return (await this.#choosePlan(version)).best?.plan
  }

  /** A plan and its list as one rotation service has them. @returns `undefined` where they do not come */
  async planOf(rotator: string): Promise<PlanAnswer | undefined> {
    const { engine, trust, clock } = this.#options
    const pages = await this.pages(rotator, QueryKind.plan)
    if (pages === undefined) return undefined
    const choice = new PlanChoice({ engine, trust })
    try {
      choice.offer({ nonce: NO_NONCE, statements: pages, next: undefined }, clock.now())
    } catch (error) {
      this.#note(error)
    }
    const { best } = choice
    return best?.list && { plan: best.plan, list: best.list }
  }

  /**
   * Pings all rotation services, and waits for those of which somebody wants an answer: for a second and a half at most.
   *
   * @param take called with each tick that was made since. @returns whether enough have come
   */
  async ticks(take: (tick: PromptTick) => boolean): Promise<void> {
    const { engine, clock, subjects } = this.#options
    const nonce = engine.randomBytes(NONCE_BYTES)
    await this.#await(ROUND_MS, (done) => {
      this.#takeTick = (bytes) => {
        const parsed = readTickAnswer(engine, bytes, (echoed) => samePublic(echoed, nonce))
        if (parsed === undefined || !provesNonce(engine, parsed, nonce)) return
        if (take({ parsed, cameAt: clock.now() })) done()
      }
      return this.#repeat(() =>
        this.#send(subjects.ping(OBSERVER_NAME, this.#instance), {
          nonce,
          kind: QueryKind.tick,
          cursor: undefined,
        }),
      )
    })
    this.#takeTick = () => {}
  }

  /**
   * Every statement of a kind that one rotation service has, of all pages in their order: nothing of them is proved. One that does
   * not send them takes a third of the time at most.
   *
   * @returns `undefined` where they do not come
   */
  async pages(
    rotator: string,
    kind: QueryKind,
    cursor?: Uint8Array,
  ): Promise<readonly Uint8Array[] | undefined> {
    const statements: Uint8Array[] = []
    let isWhole = false
    await this.#await(this.#options.timeout / 3, (done) => {
      this.#fetches.begin({
        rotator,
        kind,
        ...(cursor === undefined ? {} : { cursor }),
        onPage: (page) => {
          statements.push(...page.map(copy))
          return true
        },
        onEnd: (whole) => {
          isWhole = whole
          done()
        },
      })
      return () => {}
    })
    return isWhole ? statements : undefined
  }

  /**
   * The whole directory of one of these rotation services, page by page: nothing of it is proved.
   *
   * @returns whether all of it has come
   */
  async directory(rotators: readonly string[], take: (statement: Uint8Array) => void): Promise<boolean> {
    let isWhole = false
    await this.#await(Number.POSITIVE_INFINITY, (done) => {
      const listing = new DirectoryListing({
        timers: this.#timers,
        fetches: this.#fetches,
        rotators: () => rotators,
        onStatement: take,
        onChanged: () => {},
        onWhole: () => {
          isWhole = true
          done()
        },
      })
      return this.#repeat(() => listing.begin())
    })
    return isWhole
  }

  /** Hands one statement to one rotation service, whether or not it takes it. */
  async handOver(rotator: string, statement: Uint8Array): Promise<void> {
    await this.pages(rotator, QueryKind.handOver, statement)
  }

  /** Waits, at most until the time for all questions is over. */
  async pause(delayMs: number): Promise<void> {
    await this.#await(delayMs, () => () => {})
  }

  /** Unsubscribes. The connection stays open. */
  close(): void {
    this.#isOver = true
    this.#timers.close()
    if (!this.#nc.isClosed()) this.#subscription.unsubscribe()
  }

  async #open(): Promise<void> {
    let lost: SubrosaError | undefined
    await this.#await(Number.POSITIVE_INFINITY, (done) => {
      this.#nc.flush().then(done, (cause: unknown) => {
        lost = new SubrosaError('ERR_CONNECTION', 'the connection to the broker is lost', { cause })
        done()
      })
      return () => {}
    })
    if (lost !== undefined) throw lost
  }

  async #newest(held: number): Promise<PlanAnswer | undefined> {
    const choice = await this.#choosePlan(held)
    for (let best = choice.best; best !== undefined; best = choice.best) {
      const list = best.list ?? (await this.#listOf(best.plan))
      if (list !== undefined) return { plan: best.plan, list }
      choice.drop(best)
    }
    return undefined
  }

  /** Waits for the first plan above this version, and a moment for a newer one. */
  async #choosePlan(held: number): Promise<PlanChoice> {
    const { engine, trust, clock } = this.#options
    const choice = new PlanChoice({ engine, trust }, { held })
    const nonces = new Set<string>()
    await this.#await(ROUND_MS, (done) => {
      this.#takePlan = (bytes) => {
        const page = decodeAnswer(
          bytes,
          ({ nonce, kind }) => kind === QueryKind.plan && nonces.has(hex(nonce)),
        )
        if (page === undefined) return false
        this.#budget.run(() => choice.offer(page, clock.now()))
        if (choice.isDecided) done()
        else if (choice.best !== undefined) this.#timers.after(PLAN_CHOICE_MS, done)
        return true
      }
      return this.#repeat(() => {
        const nonce = engine.randomBytes(NONCE_BYTES)
        nonces.add(hex(nonce))
        this.#query(ANY_SERVICE, { nonce, kind: QueryKind.plan, cursor: undefined })
      })
    })
    this.#takePlan = () => false
    return choice
  }

  /** The list of a plan, from any of its rotation services. */
  async #listOf({ rotators, version }: HeldPlan): Promise<readonly Uint8Array[] | undefined> {
    for (const rotator of rotators) {
      const answer = await this.planOf(rotator)
      if (answer?.plan.version === version) return answer.list
    }
    return undefined
  }

  #take(bytes: Uint8Array): void {
    if (wireType(bytes) === WireType.tick) this.#takeTick(bytes)
    else if (wireType(bytes) === WireType.page && !this.#takePlan(bytes)) this.#fetches.take(bytes)
  }

  #query(to: string, query: Query): void {
    this.#send(this.#options.subjects.query(to, OBSERVER_NAME, this.#instance), query)
  }

  #send(subject: string, query: Query): void {
    if (this.#nc.isClosed()) return
    publishSafely(this.#nc, subject, {
      bytes: encodeQuery(query),
      reply: this.#options.subjects.inbox(OBSERVER_NAME, this.#instance),
      onError: (error) => this.#note(error),
    })
  }

  /** Asks again and again. @returns how to stop */
  #repeat(ask: () => void): () => void {
    let cancel = (): void => {}
    const next = (): void => {
      ask()
      cancel = this.#timers.after(ASK_AGAIN_MS, next)
    }
    next()
    return () => cancel()
  }

  /** Resolves when `begin` says so, after a time, or when the time for all questions is over. */
  async #await(ms: number, begin: (done: () => void) => () => void): Promise<void> {
    if (this.#isOver) return
    await new Promise<void>((resolve) => {
      let stop = (): void => {}
      let cancel = (): void => {}
      const wake = (): void => {
        this.#wakes.delete(wake)
        cancel()
        stop()
        resolve()
      }
      this.#wakes.add(wake)
      if (Number.isFinite(ms)) cancel = this.#timers.after(ms, wake)
      stop = begin(wake)
    })
  }

  /** Anybody can publish anything here: what is malformed says nothing, what does not hold may explain a failure. */
  #note(error: unknown): void {
    if (error instanceof SubrosaError && error.code !== 'ERR_MALFORMED') this.#trouble = error
  }
}

function refused(subject: string, cause: Error): SubrosaError {
  return new SubrosaError('ERR_SUBSCRIBE_DENIED', `the server refuses the subscription to "${subject}"`, {
    cause,
  })
}
