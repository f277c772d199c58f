import { fromUtf8, utf8 } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { covers } from '../identity/subject.ts'
import { isUsualInbox } from './inbox.ts'
import type { NatsLike } from './nats-like.ts'

const API_SUBJECT = '$JS.API.STREAM.NAMES'
const TIMEOUT_MS = 2000
const ASK_AGAIN_MS = 60_000
const NO_RESPONDERS = 503
const MAX_SUBJECTS = 4096

type Answer = 'live' | 'captured' | { readonly askAgainAt: number }

/**
 * Which subjects a stream of JetStream captures. What is stored is opened later and by others: it must be sealed in
 * messages that stand for themselves, since a session's handshake is not there any more. Until it is known, and where
 * it cannot be known, a subject counts as captured. SPEC, "Sessions".
 */
export class Streams {
  readonly #nc: NatsLike
  readonly #clock: Clock
  readonly #configured: readonly string[] | undefined
  readonly #answers = new Map<string, Answer>()

  /** @param configured patterns of the subjects that are captured; without them JetStream is asked */
  constructor(nc: NatsLike, clock: Clock, configured: readonly string[] | undefined) {
    this.#nc = nc
    this.#clock = clock
    this.#configured = configured
  }

  /** Whether nothing stores what is published on this subject. */
  isLive(subject: string): boolean {
    if (this.#configured !== undefined) return !this.#configured.some((pattern) => covers(pattern, subject))
    return this.#isKnownAsLive(subject)
  }

  /** The same for a reply subject. Each is another one, so JetStream is asked about all that differ in their end. */
  isLiveReply(reply: string): boolean {
    if (this.#configured !== undefined) return this.isLive(reply)
    return isUsualInbox(reply) || this.#isKnownAsLive(`${reply.slice(0, reply.lastIndexOf('.') + 1)}*`)
  }

  #isKnownAsLive(pattern: string): boolean {
    const answer = this.#answers.get(pattern)
    if (answer === 'live') return true
    if (answer === 'captured') return false
    if (answer === undefined || this.#clock.monotonic() >= answer.askAgainAt) this.#ask(pattern)
    return false
  }

  #ask(subject: string): void {
    if (this.#answers.size >= MAX_SUBJECTS) this.#answers.clear()
    this.#answers.set(subject, { askAgainAt: this.#clock.monotonic() + ASK_AGAIN_MS })
    void this.#query(subject).then((answer) => {
      if (answer !== undefined) this.#answers.set(subject, answer)
    })
  }

  /** What the server says; `undefined` where it says nothing that is understood. */
  async #query(subject: string): Promise<'live' | 'captured' | undefined> {
    try {
      const question = utf8(JSON.stringify({ subject }))
      const { data, headers } = await this.#nc.request(API_SUBJECT, question, { timeout: TIMEOUT_MS })
      return headers?.code === NO_RESPONDERS ? 'live' : readAnswer(data)
    } catch (error) {
      // Nobody answers where there is no JetStream. Anything else tells nothing.
      return isNoResponders(error) ? 'live' : undefined
    }
  }
}

function readAnswer(data: Uint8Array): 'live' | 'captured' | undefined {
  try {
    const answer = JSON.parse(fromUtf8(data) ?? '') as Readonly<Record<string, unknown>>
    const { error, streams, total } = answer as {
      error?: { code?: unknown }
      streams?: unknown
      total?: unknown
    }
    // JetStream is not enabled for this account.
    if (error !== undefined) return error.code === NO_RESPONDERS ? 'live' : undefined
    const found = Array.isArray(streams) ? streams.length : 0
    return found > 0 || (typeof total === 'number' && total > 0) ? 'captured' : 'live'
  } catch {
    return undefined
  }
}

/** `RequestError` caused by an error named `NoResponders` in the one client line, `NatsError` with code 503 in the other. */
function isNoResponders(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if ('code' in error && String(error.code) === String(NO_RESPONDERS)) return true
  return /^NoResponders(Error)?$/.test(error.name) || isNoResponders(error.cause)
}
