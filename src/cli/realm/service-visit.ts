import type { HouseClock } from '../../base/house-clock.ts'
import type { NatsLike } from '../../bus/nats-like.ts'
import { type PlanAnswer, Questions } from '../../bus/realm/questions.ts'
import { publishSafely } from '../../bus/safely.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import type { Trust } from '../../identity/trust.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { ProtocolSubjects } from '../../keys/subjects.ts'
import { verifyTick } from '../../keys/ticks.ts'
import type { QueryKind } from '../../wire/queries.ts'
import type { Tick } from '../../wire/ticks.ts'

/** What a rotation service has signed after it was asked. */
export interface ServiceAnswer {
  readonly tick: Tick
  /** When it came, by the own clock. */
  readonly cameAt: number
}

/** Who has answered, by public key. */
export type ServiceAnswers = ReadonlyMap<string, ServiceAnswer>

/** The rotation services of a plan. */
export type Services = Pick<HeldPlan, 'realm' | 'rotators'>

/** What a visit is made with. */
export interface ServiceVisitOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly subjects: ProtocolSubjects
  readonly clock: HouseClock
  /** The services that are asked are those of these plans. */
  readonly plans: readonly Services[]
  /** Whether an authority has revoked a service: it is not heard. */
  readonly isRevoked: (rotator: string) => boolean
  /** Milliseconds for the whole visit. */
  readonly timeoutMs: number
}

/**
 * Asks each rotation service of a realm by itself, as whoever runs the realm does: what they say is counted by service, under
 * the plans that the realm's folder holds, and a broker's word is nothing.
 */
export class ServiceVisit {
  readonly #nc: NatsLike
  readonly #options: ServiceVisitOptions
  readonly #questions: Questions

  /** @throws SubrosaError ERR_CONNECTION on a connection that is closed or lost, ERR_SUBSCRIBE_DENIED */
  static async open(nc: NatsLike, options: ServiceVisitOptions): Promise<ServiceVisit> {
    const { engine, trust, subjects, clock, timeoutMs: timeout } = options
    return new ServiceVisit(
      nc,
      options,
      await Questions.open(nc, { engine, trust, subjects, clock, timeout }),
    )
  }

  private constructor(nc: NatsLike, options: ServiceVisitOptions, questions: Questions) {
    this.#nc = nc
    this.#options = options
    this.#questions = questions
  }

  /** Whether the time for the whole visit is over. */
  get isOver(): boolean {
    return this.#questions.isOver
  }

  /** Asks all services. @returns who has answered: as soon as all have, or after a second and a half */
  async ask(): Promise<ServiceAnswers> {
    const { engine, plans, isRevoked } = this.#options
    const all = new Set(plans.flatMap(({ rotators }) => rotators)).size
    const answers = new Map<string, ServiceAnswer>()
    await this.#questions.ticks(({ parsed, cameAt }) => {
      const { tick } = parsed
      const isNew = !answers.has(tick.rotator) && !isRevoked(tick.rotator)
      if (isNew && plans.some((plan) => verifyTick({ engine, plan }, parsed)))
        answers.set(tick.rotator, { tick, cameAt })
      return answers.size === all
    })
    return answers
  }

  /**
   * Every statement of a kind that one service has, of all pages in their order. Nothing of them is proved.
   *
   * @returns `undefined` where they do not come
   */
  async fetch(rotator: string, kind: QueryKind): Promise<readonly Uint8Array[] | undefined> {
    return this.#questions.pages(rotator, kind)
  }

  /** The newest plan above this version that anybody shows. @returns `undefined` where nobody does, after a second and a half */
  async newerThan(version: number): Promise<HeldPlan | undefined> {
    return this.#questions.newerThan(version)
  }

  /** A plan and its list as one service has them: the plan is proved. @returns `undefined` where they do not come */
  async planOf(rotator: string): Promise<PlanAnswer | undefined> {
    return this.#questions.planOf(rotator)
  }

  /** Publishes a statement to everybody. */
  publish(subject: string, bytes: Uint8Array): void {
    publishSafely(this.#nc, subject, { bytes, onError: () => {} })
  }

  /** Waits, at most until the visit is over. */
  async pause(ms: number): Promise<void> {
    await this.#questions.pause(ms)
  }

  /** Unsubscribes. The connection stays open. */
  close(): void {
    this.#questions.close()
  }
}
