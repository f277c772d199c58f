import { concat } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import {
  MAX_PAGE_BYTES_AT_ONCE,
  MAX_PAGE_BYTES_PER_ASKER_PER_SECOND,
  MAX_PAGE_BYTES_PER_SECOND,
  MAX_QUERIES_PER_ASKER_PER_SECOND,
  MAX_STATEMENTS_PER_PAGE,
} from '../base/limits.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { Timers } from '../base/timers.ts'
import { Turns } from '../base/turns.ts'
import type { NatsLike } from '../bus/nats-like.ts'
import { publishSafely } from '../bus/safely.ts'
import type { Buckets } from '../keys/buckets.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import type { Asker } from '../keys/subjects.ts'
import {
  CURSOR_BYTES,
  encodePage,
  type Page,
  type Query,
  QueryKind,
  readBuckets,
  readCursor,
  readHashes,
  readPlanCursor,
  writeCursor,
  writePlanCursor,
} from '../wire/queries.ts'

/** What can be asked for. */
export interface QuerySources {
  readonly clock: Clock
  /** Whether the directory may be asked: only a service that is complete answers for it. */
  readonly isServing: () => boolean
  /** Announcements from a place on, in their order. */
  readonly announcements: (from: number) => Iterable<Placed>
  readonly byHash: (hashes: readonly Uint8Array[]) => readonly Uint8Array[]
  /** The revocations that the newest tick names. */
  readonly revocations: () => readonly Uint8Array[]
  /** The plan of a version, or the newest one. */
  readonly plan: (version: number | undefined) => HandedPlan | undefined
  /** What is listed of the directory. */
  readonly buckets: () => Buckets
  /** Takes a statement that is handed over. */
  readonly take: (statement: Uint8Array, asker: Asker) => void
  readonly onError: (error: unknown) => void
}

/** A plan that is handed on. */
export interface HandedPlan extends KeptPlan {
  readonly version: number
}

/** A statement with its place: a page begins at one. */
interface Placed {
  readonly order: number
  readonly bytes: Uint8Array
}

type Cut = Pick<Page, 'statements' | 'next'>

interface Waiting {
  readonly query: Query
  readonly asker: Asker
}

/** What one name may have of each, for all of its instances. */
interface Budget {
  readonly queries: RateLimit
  readonly bytes: RateLimit
}

const MAX_NAMES = 16_384
const MAX_WAITING = 8192
const MAX_WAITING_OF_NAME = 64
/** As often as the budget of a name allows one more. */
const TURN_MS = 1000 / MAX_QUERIES_PER_ASKER_PER_SECOND
const PAGE_OVERHEAD_BYTES = 4096
const DEFAULT_MAX_PAYLOAD = 1024 * 1024
const NOTHING: Cut = { statements: [], next: undefined }

/**
 * Answers queries in pages, with a budget for each name and one for all together: a name is what the broker binds an asker to, and
 * instances are made up at will. What is above them waits a little: an agent that reads a large directory page by page would lose
 * the thread with every question that is dropped. Names take turns: those who ask much keep out nobody else, and nobody is
 * answered in front of those who wait.
 */
export class QueryDesk {
  readonly #nc: NatsLike
  readonly #sources: QuerySources
  readonly #everyone = new RateLimit(MAX_PAGE_BYTES_PER_SECOND)
  /** By name; whoever was answered last is the last. */
  readonly #budgets = new Map<string, Budget>()
  readonly #timers: Timers
  /** Questions that wait for their turn, by name. */
  readonly #waiting = new Turns<string, Waiting>(MAX_WAITING_OF_NAME)
  #hasTurns = false

  constructor(nc: NatsLike, sources: QuerySources) {
    this.#nc = nc
    this.#sources = sources
    this.#timers = new Timers(sources.clock, sources.onError)
  }

  /** Answers a question, now or when its asker's turn comes. It is ignored where too many wait. */
  take(query: Query, asker: Asker): void {
    if (query.kind === QueryKind.tick || this.#waiting.size >= MAX_WAITING) return
    this.#waiting.add(asker.name, { query, asker })
    this.#answerWaiting()
  }

  /** Answers nothing any more. */
  close(): void {
    this.#timers.close()
    this.#waiting.clear()
  }

  /** All whose turn it can be. Whoever may not be answered yet waits on. */
  #answerWaiting(): void {
    const nowMs = this.#sources.clock.monotonic()
    while (this.#everyone.available(nowMs) > 0) {
      const waiting = this.#waiting.take((name) => this.#mayAnswer(name, nowMs))
      if (waiting === undefined) break
      this.#answer(waiting)
    }
    if (this.#hasTurns || this.#waiting.size === 0) return
    this.#hasTurns = true
    this.#timers.after(TURN_MS, () => {
      this.#hasTurns = false
      this.#answerWaiting()
    })
  }

  /** The question is counted where it may be answered. */
  #mayAnswer(name: string, nowMs: number): boolean {
    const budget = this.#budgets.get(name) ?? newBudget()
    if (budget.bytes.available(nowMs) <= 0 || !budget.queries.take(nowMs)) return false
    this.#budgets.delete(name)
    this.#budgets.set(name, budget)
    const [oldest] = this.#budgets.keys()
    if (this.#budgets.size > MAX_NAMES && oldest !== undefined) this.#budgets.delete(oldest)
    return true
  }

  #answer({ query, asker }: Waiting): void {
    const { nonce, kind, cursor } = query
    const { clock, take, onError } = this.#sources
    const spend = (bytes: number): void => {
      const nowMs = clock.monotonic()
      this.#everyone.takeMany(bytes, nowMs)
      this.#budgets.get(asker.name)?.bytes.takeMany(bytes, nowMs)
    }
    try {
      if (kind === QueryKind.handOver && cursor !== undefined) {
        spend(cursor.length)
        take(cursor, asker)
      }
      const bytes = encodePage({ nonce, kind, ...this.#page(query) })
      spend(bytes.length)
      publishSafely(this.#nc, asker.inbox, { bytes, onError })
    } catch (error) {
      onError(error)
    }
  }

  #page({ kind, cursor }: Query): Cut {
    const sources = this.#sources
    switch (kind) {
      case QueryKind.revocations:
        return this.#cut(placed(sources.revocations(), readCursor(cursor)))
      case QueryKind.plan:
        return this.#planPage(cursor)
      case QueryKind.announcements:
        return sources.isServing() ? this.#cut(sources.announcements(readCursor(cursor))) : NOTHING
      case QueryKind.byHash:
        return sources.isServing() ? this.#cut(placed(sources.byHash(readHashes(cursor)), 0)) : NOTHING
      case QueryKind.buckets:
        return sources.isServing() ? this.#bucketPage(cursor) : NOTHING
      default:
        return NOTHING
    }
  }

  /** The plan, and then its list. */
  #planPage(cursor: Uint8Array | undefined): Cut {
    const { version, place } = readPlanCursor(cursor)
    const plan = this.#sources.plan(version)
    if (plan === undefined) return NOTHING
    const all = placed([plan.plan, ...plan.list], place === 0 ? 0 : place + 1)
    // The plan itself stands before the first place.
    return this.#cut(all, (order) => writePlanCursor(plan.version, order - 1))
  }

  #bucketPage(cursor: Uint8Array | undefined): Cut {
    const buckets = this.#sources.buckets()
    const inBucket = (number: number): Uint8Array => concat(...buckets.hashes(number))
    const all = readBuckets(cursor)?.map(inBucket) ?? [buckets.hashesOfAll()]
    const { statements } = this.#cut(placed(all, 0))
    return { statements, next: undefined }
  }

  /**
   * At most {@link MAX_STATEMENTS_PER_PAGE} statements, and no more than the server takes in one message. No more than these are taken from `all`: an
   * announcement is proved when it is.
   */
  #cut(all: Iterable<Placed>, cursorOf = writeCursor): Cut {
    const maxBytes = (this.#nc.info?.max_payload ?? DEFAULT_MAX_PAYLOAD) - PAGE_OVERHEAD_BYTES
    const statements: Uint8Array[] = []
    let bytes = 0
    for (const { order, bytes: statement } of all) {
      bytes += statement.length + CURSOR_BYTES
      const isFull =
        statements.length >= MAX_STATEMENTS_PER_PAGE || (bytes > maxBytes && statements.length > 0)
      if (isFull) return { statements, next: cursorOf(order) }
      statements.push(statement)
    }
    return { statements, next: undefined }
  }
}

function newBudget(): Budget {
  return {
    queries: new RateLimit(MAX_QUERIES_PER_ASKER_PER_SECOND),
    bytes: new RateLimit(MAX_PAGE_BYTES_PER_ASKER_PER_SECOND, MAX_PAGE_BYTES_AT_ONCE),
  }
}

/** Statements by their place in a list. */
function placed(statements: readonly Uint8Array[], from: number): readonly Placed[] {
  return statements.slice(from).map((bytes, i) => ({ order: from + i, bytes }))
}
