import { copy, samePublic } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { Timers } from '../../base/timers.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import type { Trust, VerifiedClaims } from '../../identity/trust.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import type { ProtocolSubjects } from '../../keys/subjects.ts'
import { tickSigner, verifyTick } from '../../keys/ticks.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import {
  decodeAnswer,
  encodeQuery,
  INSTANCE_BYTES,
  NONCE_BYTES,
  type Page,
  type PageHead,
  type Query,
  QueryKind,
  type Tick,
} from '../../wire/statements.ts'
import type { NatsLike, NatsSubscription } from '../nats-like.ts'
import { publishSafely, subscribeSafely } from '../safely.ts'

/** What questions are asked with. */
export interface QuestionsOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly subjects: ProtocolSubjects
  readonly clock: Clock
  /** Milliseconds in which all questions together must be answered. */
  readonly timeout: number
}

/** A tick that was made after it was asked for. */
export interface AnsweredTick {
  readonly tick: Tick
  /** The rotation service that signed it. */
  readonly rotator: VerifiedClaims
  /** When it came, by the own clock. */
  readonly cameAt: number
}

/** Takes what arrives while a question waits. @returns the answer, where it is complete */
interface Listener {
  readonly tick?: (bytes: Uint8Array) => void
  readonly page?: (bytes: Uint8Array) => void
}

const ASK_AGAIN_MS = 500
const MAX_COLLECTED = 32_768

/**
 * Asks the rotation service from a random inbox, one question after the other, without an identity: whoever asks
 * announces nothing, and nobody seals to it. Questions and answers may be lost, so each is asked again until it is
 * answered, or the time for all of them is over.
 */
export class Questions {
  readonly #nc: NatsLike
  readonly #options: QuestionsOptions
  readonly #inbox: string
  readonly #timers: Timers
  #subscriptions: readonly NatsSubscription[] = []
  #listener: Listener = {}
  #giveUp = (): void => {}
  #isOver = false
  #hasTick = false
  #trouble: SubrosaError | undefined

  /**
   * Subscribes, and flushes, so that no answer is missed.
   *
   * @throws SubrosaError ERR_CONNECTION on a closed connection or a lost one, ERR_NO_ROTATION_SERVICE on a silent one
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
    this.#nc = nc
    this.#options = options
    this.#inbox = options.subjects.inbox(options.engine.randomBytes(INSTANCE_BYTES))
    this.#timers = new Timers(options.clock, (error) => this.#note(error))
  }

  /**
   * A tick that was made after this question: none that was recorded carries its nonce. It is judged under these
   * revocations.
   *
   * @throws SubrosaError ERR_NO_ROTATION_SERVICE, or what was wrong with the ticks that came
   */
  async tick(revocations: RevocationSet): Promise<AnsweredTick> {
    const { engine, trust, clock } = this.#options
    const nonce = engine.randomBytes(NONCE_BYTES)
    return this.#ask<AnsweredTick>({ nonce, kind: QueryKind.tick, cursor: undefined }, (answer) => ({
      tick: (bytes) => {
        const cameAt = clock.now()
        const tick = verifyTick({ engine, trust, revocations }, bytes, cameAt)
        if (!tick.nonces.some((carried) => samePublic(carried, nonce))) return
        this.#hasTick = true
        answer({ tick, rotator: tickSigner(trust, bytes, cameAt), cameAt })
      },
    }))
  }

  /**
   * Every statement of this kind, of all pages in their order: nothing of them is proved.
   *
   * @throws SubrosaError ERR_NO_ROTATION_SERVICE, or what stood in the way before
   */
  async pages(kind: QueryKind, from?: Uint8Array): Promise<readonly Uint8Array[]> {
    const { engine } = this.#options
    const statements: Uint8Array[] = []
    let cursor = from
    do {
      const nonce = engine.randomBytes(NONCE_BYTES)
      const page = await this.#ask<Page>({ nonce, kind, cursor }, (answer) => ({
        page: (bytes) => {
          const isAsked = (head: PageHead): boolean => head.kind === kind && samePublic(head.nonce, nonce)
          const read = decodeAnswer(bytes, isAsked)
          if (read !== undefined) answer({ ...read, statements: read.statements.map(copy) })
        },
      }))
      statements.push(...page.statements)
      cursor = page.next
    } while (cursor !== undefined && statements.length < MAX_COLLECTED)
    return statements
  }

  /**
   * Makes an attempt again while it fails: answers that do not fit together now may do so in a moment. What lasts is
   * thrown at once.
   */
  async persist<T>(attempt: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await attempt()
      } catch (error) {
        const isLasting = !(error instanceof SubrosaError) || error.code === 'ERR_CLOCK_SKEW'
        if (this.#isOver || isLasting) throw error
        this.#trouble = error
      }
      await this.pause(ASK_AGAIN_MS)
    }
  }

  /** Waits. @throws SubrosaError as {@link tick} when the time for all questions is over before */
  async pause(delayMs: number): Promise<void> {
    return this.#wait((done) => this.#timers.after(delayMs, done))
  }

  /** Unsubscribes. The connection stays open. */
  close(): void {
    this.#isOver = true
    this.#timers.close()
    if (!this.#nc.isClosed()) for (const subscription of this.#subscriptions) subscription.unsubscribe()
  }

  async #open(): Promise<void> {
    const { subjects, timeout } = this.#options
    const follow = (subject: string, take: (data: Uint8Array) => void): NatsSubscription =>
      subscribeSafely(this.#nc, subject, {
        take: ({ data }) => take(data),
        onError: (error) => this.#note(error),
        // Nothing is reported here: what is missing in the end says that it did not come.
        reject: () => {},
        onRefused: (cause) => this.#note(refused(subject, cause)),
      })
    this.#subscriptions = [
      follow(subjects.tick, (data) => this.#listener.tick?.(data)),
      follow(this.#inbox, (data) => {
        if (wireType(data) === WireType.page) this.#listener.page?.(data)
      }),
    ]
    this.#timers.after(timeout, () => {
      this.#isOver = true
      this.#giveUp()
    })
    await this.#wait<void>((done, fail) => {
      const lost = (cause: unknown) =>
        fail(new SubrosaError('ERR_CONNECTION', 'the connection to the broker is lost', { cause }))
      this.#nc.flush().then(done, lost)
    })
  }

  /** Asks until `listen` hears the answer. */
  async #ask<T>(query: Query, listen: (answer: (value: T) => void) => Listener): Promise<T> {
    let cancel = (): void => {}
    const ask = (onError: (error: unknown) => void): void => {
      const question = { bytes: encodeQuery(query), reply: this.#inbox, onError }
      publishSafely(this.#nc, this.#options.subjects.query, question)
      cancel = this.#timers.after(ASK_AGAIN_MS, () => ask(onError))
    }
    try {
      return await this.#wait<T>((done, fail) => {
        this.#listener = listen(done)
        ask(fail)
      })
    } finally {
      cancel()
      this.#listener = {}
    }
  }

  /** Resolves when `begin` says so, and rejects when the time for all questions is over. */
  async #wait<T>(begin: (done: (value: T) => void, fail: (error: unknown) => void) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#giveUp = () => reject(this.#trouble ?? noRotationService(this.#hasTick))
      if (this.#isOver) this.#giveUp()
      else begin(resolve, reject)
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

/** The error for a rotation service that is not there, or that leaves questions unanswered. */
export function noRotationService(hasTick: boolean): SubrosaError {
  const missing = hasTick ? 'the directory did not come in step' : 'no tick from the rotation service'
  return new SubrosaError('ERR_NO_ROTATION_SERVICE', `${missing} in time`, {
    hint: 'is `subrosa rotator` running, and may this connection use the subjects below subrosa.v1?',
  })
}
