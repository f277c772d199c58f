import { fromUtf8, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import { covers } from '../../base/subject.ts'
import { isUsualInbox } from '../inbox.ts'
import type { NatsLike } from '../nats-like.ts'

const API_SUBJECT = '$JS.API.STREAM.NAMES'
const TIMEOUT_MS = 2000
const ASK_AGAIN_MS = 60_000
const MAX_QUESTIONS_PER_SECOND = 32
const NO_RESPONDERS = 503
const MAX_PATTERNS = 4096
const EVERYTHING = '>'
/** Of the errors with code 503 those that say that there is no JetStream. Another one says that it does not work now. */
const NOT_ENABLED: readonly unknown[] = [10_039, 10_076]

type Verdict = 'live' | 'captured'

/** What is known of a pattern. */
interface Known {
  /** `undefined` while nothing that is understood has come. */
  verdict: Verdict | undefined
  /** It is to be asked about when it is next needed. What is known holds until the answer comes. */
  isDue: boolean
}

/**
 * Which subjects a stream of JetStream captures. What is stored is opened later and by others: it must be sealed in
 * messages that stand for themselves, since a session's handshake is not there any more. Until it is known, and where
 * it cannot be known, a subject counts as captured. SPEC, "Sessions".
 *
 * JetStream is asked about all subjects together, and where there is any stream about those with the same first token,
 * and where there is one of these about the subject itself. It is asked again a minute later, and after a reconnect.
 *
 * What is not seen, and must be configured: streams that get the subject under another name (by mappings of the
 * server, or in another account by its imports) or in another domain of JetStream, and for a minute those that are new.
 */
export class Streams {
  readonly #nc: NatsLike
  readonly #clock: Clock
  readonly #configured: readonly string[] | undefined
  readonly #questions = new RateLimit(MAX_QUESTIONS_PER_SECOND)
  readonly #everything: Known = { verdict: undefined, isDue: true }
  readonly #known = new Map<string, Known>()
  /** When everything that is known is to be asked about again. */
  #isAskingAgain = false

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

  /** What is known may have changed: it is asked about again when it is next needed. */
  askAgain(): void {
    this.#everything.isDue = true
    for (const known of this.#known.values()) known.isDue = true
  }

  #isKnownAsLive(pattern: string): boolean {
    const all = this.#verdict(EVERYTHING, this.#everything)
    if (all !== 'captured') return all === 'live'
    const end = pattern.indexOf('.')
    if (end > 0) {
      const beginning = `${pattern.slice(0, end)}.>`
      const below = this.#verdict(beginning, this.#known.get(beginning))
      if (below !== 'captured') return below === 'live'
    }
    return this.#verdict(pattern, this.#known.get(pattern)) === 'live'
  }

  #verdict(pattern: string, known: Known | undefined): Verdict | undefined {
    if (known === undefined || known.isDue) this.#ask(pattern, known)
    return known?.verdict
  }

  #ask(pattern: string, former: Known | undefined): void {
    if (!this.#questions.take(this.#clock.monotonic())) return
    const known = former ?? this.#remember(pattern)
    known.isDue = false
    this.#askAgainLater()
    void this.#query(pattern).then((verdict) => {
      known.verdict = verdict ?? known.verdict
    })
  }

  #remember(pattern: string): Known {
    const known: Known = { verdict: undefined, isDue: true }
    if (this.#known.size >= MAX_PATTERNS) this.#known.clear()
    this.#known.set(pattern, known)
    return known
  }

  /** One timer for all: a look at the clock for each publish would cost more than the rest. */
  #askAgainLater(): void {
    if (this.#isAskingAgain) return
    this.#isAskingAgain = true
    this.#clock.after(ASK_AGAIN_MS, () => {
      this.#isAskingAgain = false
      this.askAgain()
    })
  }

  /** What the server says; `undefined` where it says nothing that is understood. */
  async #query(subject: string): Promise<Verdict | undefined> {
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

function readAnswer(data: Uint8Array): Verdict | undefined {
  try {
    const answer = JSON.parse(fromUtf8(data) ?? '') as Readonly<Record<string, unknown>>
    const { error, streams, total } = answer as {
      error?: { err_code?: unknown }
      streams?: unknown
      total?: unknown
    }
    if (error !== undefined) return NOT_ENABLED.includes(error.err_code) ? 'live' : undefined
    const isCounted = typeof total === 'number'
    if (!isCounted && !Array.isArray(streams)) return undefined
    const isCaptured = (isCounted && total > 0) || (Array.isArray(streams) && streams.length > 0)
    return isCaptured ? 'captured' : 'live'
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
