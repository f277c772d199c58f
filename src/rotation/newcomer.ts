import type { Clock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { QUERY_INTERVAL_MS } from '../base/limits.ts'
import type { NatsLike } from '../bus/nats-like.ts'
import { Questions } from '../bus/realm/questions.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Trust } from '../identity/trust.ts'
import type { VerifiedRevocation } from '../keys/revocations.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import { namesEpoch } from '../keys/ticks.ts'
import { QueryKind, type Tick } from '../wire/statements.ts'
import type { LogSync } from './log-sync.ts'
import type { RealmRecord } from './realm-record.ts'

/** What a newcomer asks with, and whom it tells. */
export interface NewcomerOptions {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly subjects: ProtocolSubjects
  readonly clock: Clock
  readonly record: RealmRecord
  readonly sync: LogSync
  readonly onRevoked: (revocation: VerifiedRevocation) => void
  readonly onAnnouncement: (bytes: Uint8Array) => void
  readonly onError: (error: unknown) => void
}

const ANSWER_MS = 10_000
const ROUNDS_BEFORE_REPORT = 3

/**
 * Brings a replica that has just started in step with the one that leads: announcements are in no log. One without a
 * record of its own believes no log by itself, which a broker could have cut short; it believes a tick that answers it.
 */
export class Newcomer {
  readonly #nc: NatsLike
  readonly #options: NewcomerOptions
  #rounds = 0

  constructor(nc: NatsLike, options: NewcomerOptions) {
    this.#nc = nc
    this.#options = options
  }

  /** Asks once. @returns whether this replica is in step now */
  async ask(): Promise<boolean> {
    this.#rounds++
    const tick = await this.#answered(QUERY_INTERVAL_MS, async (questions) => {
      return (await questions.tick(this.#options.record.revocations)).tick
    })
    if (tick === undefined) this.#beginAnew()
    else if (await this.#takeIn(tick)) return true
    this.#report(tick)
    return false
  }

  /** Nobody answers, and nothing was ever published: this is a new realm, as far as the broker says. */
  #beginAnew(): void {
    const { record, sync } = this.#options
    if (!record.isBelieved && record.head === undefined && sync.isEmpty) record.believe()
  }

  async #takeIn(tick: Tick): Promise<boolean> {
    const { record, onRevoked, onAnnouncement } = this.#options
    const answer = await this.#answered(ANSWER_MS, async (questions) => ({
      revocations: await questions.pages(QueryKind.revocations),
      announcements: await questions.pages(QueryKind.announcements),
    }))
    if (answer === undefined) return false
    for (const added of record.adopt(answer.revocations, tick)) onRevoked(added)
    for (const bytes of answer.announcements) onAnnouncement(bytes)
    const { head, revocations } = record
    const isInStep = head !== undefined && namesEpoch(tick, head) && revocations.holds(tick)
    if (isInStep && !record.isBelieved) record.believe()
    return isInStep
  }

  /** What a question is answered with in time. */
  async #answered<T>(timeout: number, ask: (questions: Questions) => Promise<T>): Promise<T | undefined> {
    let questions: Questions | undefined
    try {
      questions = await Questions.open(this.#nc, { ...this.#options, timeout })
      return await ask(questions)
    } catch (error) {
      if (error instanceof SubrosaError) return undefined
      throw error
    } finally {
      questions?.close()
    }
  }

  /** A replica that can never lead says so, once. */
  #report(tick: Tick | undefined): void {
    const { record, onError } = this.#options
    if (record.isBelieved || this.#rounds !== ROUNDS_BEFORE_REPORT) return
    onError(
      tick === undefined
        ? new SubrosaError(
            'ERR_STATE',
            'nobody vouches for the log, and this replica has no record of its own',
            {
              hint: 'start a replica that has its folder; where all are lost, restore one from a backup',
            },
          )
        : new SubrosaError('ERR_STATE', 'a rotation service runs here that does not use this log', {
            hint: 'stop it, and start the replica with its folder: --state',
          }),
    )
  }
}
