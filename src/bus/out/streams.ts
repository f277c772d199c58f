import { fromUtf8, hex, utf8 } from '../../base/bytes.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import { covers } from '../../base/subject.ts'
import type { Context } from '../context.ts'
import { hintIn } from '../hint.ts'
import { isUsualInbox } from '../inbox.ts'
import type { NatsLike, NatsMessage } from '../nats-like.ts'
import { attempt, publishSafely, subscribeSafely } from '../safely.ts'

const API_SUBJECT = '$JS.API.STREAM.NAMES'
const TIMEOUT_MS = 2000
const ASK_AGAIN_MS = 60_000
const MAX_QUESTIONS_PER_SECOND = 32
const TOKEN_BYTES = 15
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

/** What is asked with, and what is known without asking. */
export interface StreamsOptions extends Context {
  /** The first tokens of reply subjects. */
  readonly inboxPrefix: string
  /** Patterns of the subjects that are captured; without them JetStream is asked. */
  readonly captured: readonly string[] | undefined
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
  readonly #options: StreamsOptions
  readonly #questions = new RateLimit(MAX_QUESTIONS_PER_SECOND)
  readonly #everything: Known = { verdict: undefined, isDue: true }
  readonly #known = new Map<string, Known>()
  /** How to give up the questions under way. */
  readonly #asking = new Set<() => void>()
  /** When everything that is known is to be asked about again. */
  #isAskingAgain = false

  constructor(nc: NatsLike, options: StreamsOptions) {
    this.#nc = nc
    this.#options = options
  }

  /** Whether nothing stores what is published on this subject. */
  isLive(subject: string): boolean {
    const { captured } = this.#options
    if (captured !== undefined) return !captured.some((pattern) => covers(pattern, subject))
    return this.#isKnownAsLive(subject)
  }

  /** The same for a reply subject. Each is another one, so JetStream is asked about all that differ in their end. */
  isLiveReply(reply: string): boolean {
    if (this.#options.captured !== undefined) return this.isLive(reply)
    return isUsualInbox(reply) || this.#isKnownAsLive(`${reply.slice(0, reply.lastIndexOf('.') + 1)}*`)
  }

  /** What is known may have changed: it is asked about again when it is next needed. */
  askAgain(): void {
    this.#everything.isDue = true
    for (const known of this.#known.values()) known.isDue = true
  }

  /** Waits for no answer any more. */
  close(): void {
    for (const giveUp of [...this.#asking]) giveUp()
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
    if (!this.#questions.take(this.#options.clock.monotonic())) return
    const known = former ?? this.#remember(pattern)
    known.isDue = false
    this.#askAgainLater()
    attempt(
      () =>
        this.#query(pattern, (verdict) => {
          known.verdict = verdict ?? known.verdict
        }),
      this.#options.onError,
    )
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
    this.#options.clock.after(ASK_AGAIN_MS, () => {
      this.#isAskingAgain = false
      this.askAgain()
    })
  }

  /**
   * Asks the server, and takes its first answer. Each question has an inbox of its own, which lasts as long as it does: what
   * the client does for requests reads headers before anything here has judged them.
   */
  #query(subject: string, answered: (verdict: Verdict | undefined) => void): void {
    const { clock, engine, inboxPrefix, onError, reject } = this.#options
    const reply = `${inboxPrefix}.${hex(engine.randomBytes(TOKEN_BYTES))}`
    const subscription = subscribeSafely(this.#nc, reply, {
      take: (message) => {
        end()
        answered(verdictIn(message))
      },
      onError,
      reject,
      // It tells nothing of streams, and the client reports it.
      onRefused: () => end(),
    })
    const cancel = clock.after(TIMEOUT_MS, () => end())
    const end = (): void => {
      cancel()
      this.#asking.delete(end)
      if (!this.#nc.isClosed()) subscription.unsubscribe()
    }
    this.#asking.add(end)
    publishSafely(this.#nc, API_SUBJECT, { bytes: utf8(JSON.stringify({ subject })), reply, onError })
  }
}

/** What an answer says; `undefined` where it says nothing that is understood. Nobody answers where there is no JetStream. */
function verdictIn(message: NatsMessage): Verdict | undefined {
  return hintIn(message) === 'no responders' ? 'live' : readAnswer(message.data)
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
