import type { Clock } from '../base/clock.ts'
import {
  MAX_QUERIES_PER_ASKER_PER_SECOND,
  MAX_QUERIES_PER_SECOND,
  MAX_STATEMENTS_PER_PAGE,
} from '../base/limits.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { Timers } from '../base/timers.ts'
import type { NatsLike } from '../bus/nats-like.ts'
import type { ProvenAnnouncement } from '../keys/directory.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import {
  CURSOR_BYTES,
  encodePage,
  type Query,
  QueryKind,
  readCursor,
  writeCursor,
} from '../wire/statements.ts'

/** What can be asked for. */
export interface QuerySources {
  readonly clock: Clock
  readonly subjects: ProtocolSubjects
  readonly epochs: () => readonly { readonly number: number; readonly bytes: Uint8Array }[]
  /** Those from a place on, in their order. */
  readonly announcements: (from: number) => Iterable<ProvenAnnouncement>
  readonly announcement: (hash: Uint8Array) => ProvenAnnouncement | undefined
  readonly revocations: () => readonly Uint8Array[]
  readonly onError: (error: unknown) => void
}

/** A statement with its place: a page begins at one. */
interface Placed {
  readonly order: number
  readonly bytes: Uint8Array
}

const MAX_ASKERS = 16_384
const MAX_WAITING_ASKERS = 1024
const MAX_WAITING_OF_ASKER = 8
/** As often as the budget of an asker allows one more. */
const TURN_MS = 1000 / MAX_QUERIES_PER_ASKER_PER_SECOND
const PAGE_OVERHEAD_BYTES = 4096
const DEFAULT_MAX_PAYLOAD = 1024 * 1024

/**
 * Answers queries in pages, with a budget for each asker and one for all together. What is above them waits a little: who
 * reads a large directory page by page would lose the thread with every question that is dropped.
 */
export class QueryDesk {
  readonly #nc: NatsLike
  readonly #sources: QuerySources
  readonly #everyone = new RateLimit(MAX_QUERIES_PER_SECOND)
  readonly #askers = new Map<string, RateLimit>()
  readonly #timers: Timers
  /** Questions that wait for their turn, by asker. */
  readonly #waiting = new Map<string, readonly (() => void)[]>()
  #hasTurns = false

  constructor(nc: NatsLike, sources: QuerySources) {
    this.#nc = nc
    this.#sources = sources
    this.#timers = new Timers(sources.clock, sources.onError)
  }

  /**
   * Has a question answered, now or when its asker's turn comes. It is ignored where too many wait, and where the asker
   * is no instance's own inbox: nothing is reflected elsewhere.
   */
  take(asker: string | undefined, answer: (asker: string) => void): void {
    if (asker === undefined || !this.#isInbox(asker)) return
    if (this.#mayAnswer(asker)) answer(asker)
    else this.#wait(asker, () => answer(asker))
  }

  /** Answers nothing any more. */
  close(): void {
    this.#timers.close()
    this.#waiting.clear()
  }

  /** Publishes the page that is asked for. */
  answer(query: Query, asker: string): void {
    if (query.kind === QueryKind.tick) return
    const { statements, next } = this.#page(query)
    this.#nc.publish(asker, encodePage({ nonce: query.nonce, kind: query.kind, statements, next }))
  }

  /** The question is counted where it may be answered. */
  #mayAnswer(asker: string): boolean {
    const now = this.#sources.clock.monotonic()
    if (this.#askers.size >= MAX_ASKERS) this.#askers.clear()
    const budget = this.#askers.get(asker) ?? new RateLimit(MAX_QUERIES_PER_ASKER_PER_SECOND)
    this.#askers.set(asker, budget)
    return budget.take(now) && this.#everyone.take(now)
  }

  #wait(asker: string, answer: () => void): void {
    const line = this.#waiting.get(asker) ?? []
    const hasRoom = line.length > 0 || this.#waiting.size < MAX_WAITING_ASKERS
    if (!hasRoom || line.length >= MAX_WAITING_OF_ASKER) return
    this.#waiting.set(asker, [...line, answer])
    if (!this.#hasTurns) this.#nextTurns()
  }

  #nextTurns(): void {
    this.#hasTurns = true
    this.#timers.after(TURN_MS, () => this.#takeTurns())
  }

  /** One for each asker, so that nobody waits for another one's questions. */
  #takeTurns(): void {
    this.#hasTurns = this.#waiting.size > 0
    // First, so that it goes on whatever happens below.
    if (this.#hasTurns) this.#nextTurns()
    for (const [asker, [answer, ...others]] of [...this.#waiting]) {
      if (answer === undefined || !this.#mayAnswer(asker)) continue
      if (others.length === 0) this.#waiting.delete(asker)
      else this.#waiting.set(asker, others)
      answer()
    }
  }

  #isInbox(reply: string): boolean {
    const prefix = `${this.#sources.subjects.root}.inbox.`
    return reply.startsWith(prefix) && /^[0-9a-f]{16}$/.test(reply.slice(prefix.length))
  }

  #page({ kind, cursor }: Query): { statements: readonly Uint8Array[]; next: Uint8Array | undefined } {
    const { epochs, announcements, announcement, revocations } = this.#sources
    switch (kind) {
      case QueryKind.epochs:
        return this.#cut(
          epochs().map(({ number, bytes }) => ({ order: number, bytes })),
          readCursor(cursor),
        )
      case QueryKind.announcements:
        return this.#cut(announcements(readCursor(cursor)), 0)
      case QueryKind.revocations:
        return this.#cut(
          revocations().map((bytes, order) => ({ order, bytes })),
          readCursor(cursor),
        )
      case QueryKind.announcement: {
        const wanted = cursor && announcement(cursor)
        return { statements: wanted === undefined ? [] : [wanted.bytes], next: undefined }
      }
      case QueryKind.tick:
        return { statements: [], next: undefined }
    }
  }

  /**
   * At most 100 statements from a place on, and no more than the server takes in one message. No more than these are
   * taken from `all`: an announcement is proved when it is.
   */
  #cut(
    all: Iterable<Placed>,
    start: number,
  ): { statements: readonly Uint8Array[]; next: Uint8Array | undefined } {
    const maxBytes = (this.#nc.info?.max_payload ?? DEFAULT_MAX_PAYLOAD) - PAGE_OVERHEAD_BYTES
    const statements: Uint8Array[] = []
    let bytes = 0
    for (const { order, bytes: statement } of all) {
      if (order < start) continue
      bytes += statement.length + CURSOR_BYTES
      const isFull =
        statements.length >= MAX_STATEMENTS_PER_PAGE || (bytes > maxBytes && statements.length > 0)
      if (isFull) return { statements, next: writeCursor(order) }
      statements.push(statement)
    }
    return { statements, next: undefined }
  }
}
