import { copy, hex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_FETCHED_PAGES } from '../../base/limits.ts'
import { Timers } from '../../base/timers.ts'
import type { NatsLike, NatsSubscription } from '../../bus/nats-like.ts'
import { publishSafely, subscribeSafely } from '../../bus/safely.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { OBSERVER_NAME, type ProtocolSubjects, rid } from '../../keys/subjects.ts'
import { provesNonce, readTick, verifyTick } from '../../keys/ticks.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import { decodeAnswer, encodeQuery, NONCE_BYTES, type Page, QueryKind } from '../../wire/queries.ts'
import { INSTANCE_BYTES } from '../../wire/statements.ts'
import type { Tick } from '../../wire/ticks.ts'

const ASK_AGAIN_MS = 500
const ROUND_MS = 1500
/** How long those that have not answered are waited for, where enough others have. */
const OTHERS_MS = 300

/** What a rotation service has signed after it was asked. */
export interface ServiceAnswer {
  readonly tick: Tick
  /** When it came, by the own clock. */
  readonly cameAt: number
}

/** Who has answered, by public key. */
export type ServiceAnswers = ReadonlyMap<string, ServiceAnswer>

/** What a visit is made with. */
export interface ServiceVisitOptions {
  readonly engine: CryptoEngine
  readonly subjects: ProtocolSubjects
  readonly clock: Clock
  /** The services that are asked are those of these plans. */
  readonly plans: readonly HeldPlan[]
  /** Whether an authority has revoked a service: it is not heard. */
  readonly isRevoked: (rotator: string) => boolean
  /** Milliseconds for the whole visit. */
  readonly timeoutMs: number
}

/**
 * Asks each rotation service of a realm by itself, from a random inbox and without an identity, as whoever runs the realm
 * does: what they say is counted by service, and a broker's word is nothing.
 */
export class ServiceVisit {
  readonly #nc: NatsLike
  readonly #options: ServiceVisitOptions
  readonly #instance: Uint8Array
  readonly #timers: Timers
  /** What waits for an answer, by its nonce in hexadecimal. */
  readonly #pings = new Map<
    string,
    { readonly nonce: Uint8Array; readonly take: (answer: ServiceAnswer) => void }
  >()
  readonly #pages = new Map<string, { readonly kind: QueryKind; readonly take: (page: Page) => void }>()
  readonly #subscription: NatsSubscription
  /** Ends what waits, when the time for the whole visit is over. */
  readonly #wakes = new Set<() => void>()
  #isOver = false

  /** @throws SubrosaError ERR_CONNECTION on a connection that is closed or lost */
  static async open(nc: NatsLike, options: ServiceVisitOptions): Promise<ServiceVisit> {
    const visit = new ServiceVisit(nc, options)
    try {
      await nc.flush()
    } catch (cause) {
      visit.close()
      throw new SubrosaError('ERR_CONNECTION', 'the connection to the broker is lost', { cause })
    }
    return visit
  }

  private constructor(nc: NatsLike, options: ServiceVisitOptions) {
    if (nc.isClosed()) throw new SubrosaError('ERR_CONNECTION', 'the NATS connection is closed')
    this.#nc = nc
    this.#options = options
    this.#instance = options.engine.randomBytes(INSTANCE_BYTES)
    this.#timers = new Timers(options.clock, () => {})
    this.#subscription = subscribeSafely(nc, this.#inbox, {
      take: ({ data }) => this.#take(data),
      // Anybody can publish here: what is no answer is nothing.
      onError: () => {},
      reject: () => {},
      onRefused: () => {},
    })
    this.#timers.after(options.timeoutMs, () => {
      this.#isOver = true
      for (const wake of this.#wakes) wake()
    })
  }

  /** Whether the time for the whole visit is over. */
  get isOver(): boolean {
    return this.#isOver
  }

  /**
   * Asks all services once, and again where nothing comes, since questions and answers may be lost.
   *
   * @param enough how many must answer, so that the others are waited for no longer
   * @returns who has answered
   */
  async ask({ enough }: { readonly enough: number }): Promise<ServiceAnswers> {
    const { engine, subjects } = this.#options
    const nonce = engine.randomBytes(NONCE_BYTES)
    const answers = new Map<string, ServiceAnswer>()
    const all = this.#services.size
    await this.#await(ROUND_MS, (done) => {
      const take = (answer: ServiceAnswer): void => {
        answers.set(answer.tick.rotator, answer)
        if (answers.size === all) done()
        else if (answers.size === enough) this.#timers.after(OTHERS_MS, done)
      }
      this.#pings.set(hex(nonce), { nonce, take })
      return this.#repeat(subjects.ping(OBSERVER_NAME, this.#instance), {
        nonce,
        kind: QueryKind.tick,
        cursor: undefined,
      })
    })
    this.#pings.delete(hex(nonce))
    return answers
  }

  /**
   * Every statement of a kind that one service has, of all pages in their order. Nothing of them is proved.
   *
   * @returns `undefined` where they do not come
   */
  async fetch(
    rotator: string,
    kind: QueryKind,
    from?: Uint8Array,
  ): Promise<readonly Uint8Array[] | undefined> {
    const statements: Uint8Array[] = []
    let cursor = from
    for (let pages = 0; pages < MAX_FETCHED_PAGES; pages++) {
      const page = await this.#page(rotator, kind, cursor)
      if (page === undefined) return undefined
      statements.push(...page.statements.map(copy))
      if (page.next === undefined) return statements
      cursor = page.next
    }
    return undefined
  }

  /** Hands one statement to one service, whether or not it takes it. */
  handOver(rotator: string, statement: Uint8Array): void {
    const nonce = this.#options.engine.randomBytes(NONCE_BYTES)
    this.#send(this.#querySubject(rotator), { nonce, kind: QueryKind.handOver, cursor: statement })
  }

  /** Publishes a statement to everybody. */
  publish(subject: string, bytes: Uint8Array): void {
    publishSafely(this.#nc, subject, { bytes, onError: () => {} })
  }

  /** Waits, at most until the visit is over. */
  async pause(ms: number): Promise<void> {
    await this.#await(ms, () => () => {})
  }

  /** Unsubscribes. The connection stays open. */
  close(): void {
    this.#isOver = true
    this.#timers.close()
    if (!this.#nc.isClosed()) this.#subscription.unsubscribe()
  }

  get #services(): ReadonlySet<string> {
    return new Set(this.#options.plans.flatMap(({ rotators }) => rotators))
  }

  get #inbox(): string {
    return this.#options.subjects.inbox(this.#instance)
  }

  #querySubject(rotator: string): string {
    const { engine, subjects } = this.#options
    return subjects.query(rid(engine, rotator), OBSERVER_NAME, this.#instance)
  }

  async #page(rotator: string, kind: QueryKind, cursor: Uint8Array | undefined): Promise<Page | undefined> {
    const nonce = this.#options.engine.randomBytes(NONCE_BYTES)
    let found: Page | undefined
    await this.#await(ROUND_MS, (done) => {
      const take = (page: Page): void => {
        found = page
        done()
      }
      this.#pages.set(hex(nonce), { kind, take })
      return this.#repeat(this.#querySubject(rotator), { nonce, kind, cursor })
    })
    this.#pages.delete(hex(nonce))
    return found
  }

  #take(bytes: Uint8Array): void {
    if (wireType(bytes) === WireType.tick) return this.#takeTick(bytes)
    if (wireType(bytes) !== WireType.page) return
    const page = decodeAnswer(bytes, ({ nonce, kind }) => this.#pages.get(hex(nonce))?.kind === kind)
    if (page !== undefined) this.#pages.get(hex(page.nonce))?.take(page)
  }

  #takeTick(bytes: Uint8Array): void {
    const { engine, clock, plans, isRevoked } = this.#options
    const parsed = readTick(engine, bytes)
    const { rotator } = parsed.tick
    const asked = [...this.#pings.values()].find(({ nonce }) => provesNonce(engine, parsed, nonce))
    const plan = plans.find(({ rotators }) => rotators.includes(rotator))
    if (asked === undefined || plan === undefined || isRevoked(rotator)) return
    if (parsed.tick.realm === plan.realm && verifyTick({ engine, plan }, parsed))
      asked.take({ tick: parsed.tick, cameAt: clock.now() })
  }

  /** Asks again and again. @returns how to stop */
  #repeat(subject: string, query: Parameters<typeof encodeQuery>[0]): () => void {
    let cancel = (): void => {}
    const ask = (): void => {
      this.#send(subject, query)
      cancel = this.#timers.after(ASK_AGAIN_MS, ask)
    }
    ask()
    return () => cancel()
  }

  #send(subject: string, query: Parameters<typeof encodeQuery>[0]): void {
    publishSafely(this.#nc, subject, { bytes: encodeQuery(query), reply: this.#inbox, onError: () => {} })
  }

  /** Resolves when `begin` says so, after a time, or when the visit is over. */
  async #await(ms: number, begin: (done: () => void) => () => void): Promise<void> {
    if (this.#isOver) return
    let wake = (): void => {}
    const ended = new Promise<void>((resolve) => {
      wake = resolve
    })
    this.#wakes.add(wake)
    const cancel = this.#timers.after(ms, wake)
    const stop = begin(wake)
    await ended
    this.#wakes.delete(wake)
    cancel()
    stop()
  }
}
