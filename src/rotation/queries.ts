import type { NatsLike } from '../bus/nats-like.ts'
import { samePublic } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { RateLimit } from '../keys/budget.ts'
import type { ProvenAnnouncement } from '../keys/directory.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import {
  MAX_QUERIES_PER_ASKER_PER_SECOND,
  MAX_QUERIES_PER_SECOND,
  MAX_STATEMENTS_PER_PAGE,
} from '../limits.ts'
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
  readonly announcements: () => readonly ProvenAnnouncement[]
  readonly revocations: () => readonly Uint8Array[]
}

/** A statement with the place where a page that starts at it begins. */
interface Placed {
  readonly place: number
  readonly bytes: Uint8Array
}

const MAX_ASKERS = 16_384
const PAGE_OVERHEAD_BYTES = 4096
const DEFAULT_MAX_PAYLOAD = 1024 * 1024

/** Answers queries in pages, with a budget for each asker and one for all together. */
export class QueryDesk {
  readonly #nc: NatsLike
  readonly #sources: QuerySources
  readonly #everyone = new RateLimit(MAX_QUERIES_PER_SECOND)
  readonly #askers = new Map<string, RateLimit>()

  constructor(nc: NatsLike, sources: QuerySources) {
    this.#nc = nc
    this.#sources = sources
  }

  /**
   * Whether this asker is answered now; the question is then counted. Only an instance's own inbox is: nothing is
   * reflected elsewhere.
   */
  mayAsk(asker: string | undefined): asker is string {
    if (asker === undefined || !this.#isInbox(asker)) return false
    const now = this.#sources.clock.monotonic()
    if (this.#askers.size >= MAX_ASKERS) this.#askers.clear()
    const budget = this.#askers.get(asker) ?? new RateLimit(MAX_QUERIES_PER_ASKER_PER_SECOND)
    this.#askers.set(asker, budget)
    return budget.take(now) && this.#everyone.take(now)
  }

  /** Publishes the page that is asked for. */
  answer(query: Query, asker: string): void {
    if (query.kind === QueryKind.tick) return
    const { statements, next } = this.#page(query)
    this.#nc.publish(asker, encodePage({ kind: query.kind, statements, next }))
  }

  #isInbox(reply: string): boolean {
    const prefix = `${this.#sources.subjects.root}.inbox.`
    return reply.startsWith(prefix) && /^[0-9a-f]{16}$/.test(reply.slice(prefix.length))
  }

  #page({ kind, cursor }: Query): { statements: readonly Uint8Array[]; next: Uint8Array | undefined } {
    const { epochs, announcements, revocations } = this.#sources
    switch (kind) {
      case QueryKind.epochs:
        return this.#cut(
          epochs().map(({ number, bytes }) => ({ place: number, bytes })),
          cursor,
        )
      case QueryKind.announcements:
        return this.#cut(
          announcements().map(({ order, bytes }) => ({ place: order, bytes })),
          cursor,
        )
      case QueryKind.revocations:
        return this.#cut(
          revocations().map((bytes, place) => ({ place, bytes })),
          cursor,
        )
      case QueryKind.announcement: {
        const wanted = announcements().find(({ hash }) => cursor !== undefined && samePublic(hash, cursor))
        return { statements: wanted === undefined ? [] : [wanted.bytes], next: undefined }
      }
      case QueryKind.tick:
        return { statements: [], next: undefined }
    }
  }

  /** At most 100 statements from the cursor on, and no more than the server takes in one message. */
  #cut(
    all: readonly Placed[],
    cursor: Uint8Array | undefined,
  ): { statements: readonly Uint8Array[]; next: Uint8Array | undefined } {
    const start = readCursor(cursor)
    const maxBytes = (this.#nc.info?.max_payload ?? DEFAULT_MAX_PAYLOAD) - PAGE_OVERHEAD_BYTES
    const statements: Uint8Array[] = []
    let bytes = 0
    for (const placed of all) {
      if (placed.place < start) continue
      bytes += placed.bytes.length + CURSOR_BYTES
      const isFull =
        statements.length >= MAX_STATEMENTS_PER_PAGE || (bytes > maxBytes && statements.length > 0)
      if (isFull) return { statements, next: writeCursor(placed.place) }
      statements.push(placed.bytes)
    }
    return { statements, next: undefined }
  }
}
