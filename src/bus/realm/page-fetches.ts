import { hex } from '../../base/bytes.ts'
import {
  MAX_DIRECTORY_CACHE_BYTES,
  MAX_FETCH_MS,
  MAX_FETCHED_BYTES,
  MAX_FETCHED_PAGES,
  MAX_LISTED_PAGES,
  PAGE_TIMEOUT_MS,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { decodeAnswer, NONCE_BYTES, type Query, QueryKind } from '../../wire/queries.ts'
import type { Context } from '../context.ts'

/** What is asked of one rotation service. */
export interface Fetch {
  /** The service's public key, `U…`. */
  readonly rotator: string
  readonly kind: QueryKind
  readonly cursor?: Uint8Array
  /**
   * Takes the statements of one page. They are views into what has come: whoever keeps one copies it.
   *
   * @returns whether more pages are of use
   */
  readonly onPage: (statements: readonly Uint8Array[]) => boolean
  /** It is over. `isWhole`: the last page has come, and every one of them was of use. */
  readonly onEnd: (isWhole: boolean) => void
}

interface Running {
  readonly fetch: Fetch
  readonly key: string
  /** When it began, and of a whole directory when the last page of it came, by the monotonic clock. */
  startedAt: number
  cursor: Uint8Array | undefined
  /** Of the page that is asked for, in hexadecimal. */
  nonce: string
  pages: number
  bytes: number
  cancel: () => void
}

/** What one fetch collects: of a whole directory as much as a rotation service hands on, and of anything else far less. */
const LISTED = { pages: MAX_LISTED_PAGES, bytes: MAX_DIRECTORY_CACHE_BYTES }
const FETCHED = { pages: MAX_FETCHED_PAGES, bytes: MAX_FETCHED_BYTES }

/** What fetches are made with. */
export interface PageFetchesOptions extends Pick<Context, 'engine' | 'clock'> {
  readonly timers: Pick<Timers, 'after'>
  /** Asks one rotation service. */
  readonly ask: (rotator: string, query: Query) => void
}

/**
 * Everything that an agent fetches from rotation services in pages. Anybody can publish in an inbox, and a page proves nothing
 * about who sent it, so a page is an answer only where it bears the nonce of the one page that is asked for at that time;
 * another one is dropped before it is read. A fetch ends after 64 pages, 16 MiB or 10 s, that of a whole directory after 64 MiB or
 * 10 s without a page, and there is one for each service and kind: what one service does, or does not, holds up no other.
 */
export class PageFetches {
  readonly #options: PageFetchesOptions
  readonly #byNonce = new Map<string, Running>()
  readonly #byKey = new Map<string, Running>()

  constructor(options: PageFetchesOptions) {
    this.#options = options
  }

  /** Begins a fetch. @returns `false` where one of this kind is under way at this service */
  begin(fetch: Fetch): boolean {
    const key = keyOf(fetch)
    if (this.#byKey.has(key)) return false
    const running: Running = {
      fetch,
      key,
      startedAt: this.#options.clock.monotonic(),
      cursor: fetch.cursor,
      nonce: '',
      pages: 0,
      bytes: 0,
      cancel: () => {},
    }
    this.#byKey.set(key, running)
    this.#ask(running)
    return true
  }

  /** Whether a fetch of this kind is under way at this service. */
  isUnderWay(of: Pick<Fetch, 'rotator' | 'kind'>): boolean {
    return this.#byKey.has(keyOf(of))
  }

  /** Takes a page that has come. @throws SubrosaError ERR_MALFORMED for one that was asked for and is not whole */
  take(bytes: Uint8Array): void {
    let running: Running | undefined
    const page = decodeAnswer(bytes, ({ nonce, kind }) => {
      const asked = this.#byNonce.get(hex(nonce))
      if (asked?.fetch.kind !== kind) return false
      running = asked
      return true
    })
    if (page === undefined || running === undefined) return
    this.#take(running, { ...page, bytes: bytes.length })
  }

  #take(
    running: Running,
    page: {
      readonly statements: readonly Uint8Array[]
      readonly next: Uint8Array | undefined
      readonly bytes: number
    },
  ): void {
    const { fetch } = running
    running.pages++
    running.bytes += page.bytes
    if (isListing(fetch)) running.startedAt = this.#options.clock.monotonic()
    this.#expectNone(running)
    // Until the page is taken in, nothing else of this kind begins.
    const isOfUse = this.#isGuarded(running, () => fetch.onPage(page.statements))
    if (!isOfUse || page.next === undefined) return this.#end(running, isOfUse)
    const { pages, bytes } = isListing(fetch) ? LISTED : FETCHED
    const isTooMuch = running.pages >= pages || running.bytes >= bytes
    if (isTooMuch || page.statements.length === 0) return this.#end(running, false)
    running.cursor = page.next
    this.#ask(running)
  }

  /** What throws has taken nothing, and its fetch ends. */
  #isGuarded(running: Running, take: () => boolean): boolean {
    try {
      return take()
    } catch (error) {
      this.#end(running, false)
      throw error
    }
  }

  #ask(running: Running): void {
    const { engine, timers, ask } = this.#options
    const { rotator, kind } = running.fetch
    const nonce = engine.randomBytes(NONCE_BYTES)
    running.nonce = hex(nonce)
    this.#byNonce.set(running.nonce, running)
    const waitMs = Math.min(PAGE_TIMEOUT_MS, this.#timeLeft(running))
    running.cancel = timers.after(waitMs, () => this.#askAgain(running))
    ask(rotator, { nonce, kind, cursor: running.cursor })
  }

  /** Core NATS may lose the question or the page. */
  #askAgain(running: Running): void {
    this.#expectNone(running)
    if (this.#timeLeft(running) > 0) this.#ask(running)
    else this.#end(running, false)
  }

  #timeLeft({ startedAt }: Running): number {
    return startedAt + MAX_FETCH_MS - this.#options.clock.monotonic()
  }

  #expectNone(running: Running): void {
    running.cancel()
    this.#byNonce.delete(running.nonce)
  }

  #end(running: Running, isWhole: boolean): void {
    this.#byKey.delete(running.key)
    running.fetch.onEnd(isWhole)
  }
}

/** Whether it is of a whole directory, which may take longer than anything else. */
function isListing({ kind }: Pick<Fetch, 'kind'>): boolean {
  return kind === QueryKind.announcements
}

function keyOf({ rotator, kind }: Pick<Fetch, 'rotator' | 'kind'>): string {
  return `${rotator} ${kind}`
}
