import { type Clock, systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { type CryptoEngine, engineFor } from '../../crypto/engine.ts'
import { isObject, type JsonObject } from '../../json/objects.ts'
import type { OwnRequests } from '../pipes/own-requests.ts'
import type { JsonRpcResponse } from '../policy/json-rpc.ts'
import { listTools, readToolPage } from './tool-list.ts'
import {
  compareTools,
  isRefused,
  type OfferedTools,
  type PinnedTools,
  pinsOf,
  type ToolPinStore,
} from './tool-pins.ts'
import type { ToolRefusals, ToolReport } from './tool-refusals.ts'

/** How long listing a server's tools may take in all. */
export const LISTING_TIMEOUT_MS = 30_000

/** Whose tools are pinned, where, and who is told of it. */
export interface PinToolsOptions {
  /** The server's name, as messages and the command that accepts a change have it. */
  readonly server: string
  /** The public identity key of the other end of the session as it stands, `U…`. Asked when that end has answered. */
  readonly identity: () => string
  readonly store: ToolPinStore
  /** Called when something is new; the same thing is not said twice in a row. */
  readonly report: (report: ToolReport) => void
  readonly clock?: Clock
  readonly engine?: CryptoEngine
}

/** Compares what a server offers with what was accepted, and pins it where nothing was. */
export class ToolCheck {
  readonly #options: PinToolsOptions
  readonly #requests: OwnRequests
  readonly #clock: Clock
  readonly #engine: CryptoEngine
  readonly #refusals: ToolRefusals
  /** What has to be pinned before anything is compared. */
  #pinningNothing: Promise<void> = Promise.resolve()
  /** What the last check compared with. Before the first one nothing is known, and no tool is. */
  #pinned: PinnedTools = { identity: '', tools: new Map() }
  #isFresh = false
  /** Counts what makes a check worthless, also one that is under way. */
  #doubts = 0
  #listing: AbortController | undefined
  #isOver = false

  constructor(options: PinToolsOptions, requests: OwnRequests, refusals: ToolRefusals) {
    this.#options = options
    this.#requests = requests
    this.#refusals = refusals
    this.#clock = options.clock ?? systemClock
    this.#engine = options.engine ?? engineFor()
  }

  /** Whether the last check was a good one, and nothing has made it doubtful since. */
  get isFresh(): boolean {
    return this.#isFresh
  }

  /** The tools may have changed: {@link run} has to be called before they are used again. */
  doubt(): void {
    this.#doubts++
    this.#isFresh = false
  }

  /** There is another server at the other end, or none: a check that is under way fails. */
  sessionLost(): void {
    this.doubt()
    this.#listing?.abort(new SubrosaError('ERR_MCP_ENDED', 'the session ended while its tools were listed'))
  }

  /** Nothing is said any more. */
  stop(): void {
    this.#isOver = true
    this.sessionLost()
  }

  /**
   * Lists the tools and compares them.
   *
   * @param params those of the request that waits for it: since revision 2026-07-28 they say what the client is
   * @returns why nobody may use the tools, `undefined` where they are what is pinned
   */
  async run(params: unknown): Promise<string | undefined> {
    const doubts = this.#doubts
    try {
      await this.#pinningNothing
      const offered = await this.#list(metaOf(params))
      const pinned = (await this.#options.store.read()) ?? (await this.#pin(pinsOf(offered)))
      // What waits for this must not go on to another server than the one that was checked.
      this.#listing?.signal.throwIfAborted()
      const changes = compareTools(pinned, offered)
      this.#pinned = pinned
      this.#isFresh = doubts === this.#doubts && !isRefused(changes)
      return this.#refusals.changed(changes)
    } catch (error) {
      return this.#isOver ? 'the session has ended' : this.#refusals.failed(error)
    }
  }

  /** Why a host must not see this answer to its `tools/list`, `undefined` where each tool in it is pinned. */
  whyNotShown(response: JsonRpcResponse): string | undefined {
    const { identity } = this.#pinned
    try {
      const { tools } = readToolPage(this.#engine, response)
      // What one page does not list may stand on another.
      const changes = { ...compareTools(this.#pinned, { identity, tools }), removed: [] }
      return isRefused(changes) ? this.#refusals.changed(changes) : undefined
    } catch (error) {
      return this.#refusals.failed(error)
    }
  }

  /** Takes what a server says that it can do. If that is no tools, any that it has later are new. */
  noteCapabilities(result: unknown): void {
    const capabilities = isObject(result) ? result['capabilities'] : undefined
    if (!isObject(capabilities) || isObject(capabilities['tools'])) return
    const nothing: PinnedTools = { identity: this.#options.identity(), tools: new Map() }
    this.#pinningNothing = this.#pinIfNew(nothing)
  }

  async #list(meta: JsonObject): Promise<OfferedTools> {
    const listing = new AbortController()
    this.#listing = listing
    const cancel = this.#clock.after(LISTING_TIMEOUT_MS, () => {
      listing.abort(new SubrosaError('ERR_TIMEOUT', 'the server did not list its tools in time'))
    })
    const ask = (page: JsonObject) => this.#requests.ask('tools/list', { ...page, ...meta }, listing.signal)
    try {
      const tools = await listTools(this.#engine, ask)
      // Whoever is at the other end now has listed them, where the session is still the same.
      listing.signal.throwIfAborted()
      return { identity: this.#options.identity(), tools }
    } finally {
      cancel()
    }
  }

  async #pin(pins: PinnedTools): Promise<PinnedTools> {
    const pinned = await this.#options.store.create(pins)
    if (pinned === pins) this.#options.report({ kind: 'pinned', pins })
    return pinned
  }

  async #pinIfNew(pins: PinnedTools): Promise<void> {
    try {
      if ((await this.#options.store.read()) === undefined) await this.#pin(pins)
    } catch (error) {
      this.#refusals.failed(error)
    }
  }
}

/** Not repeated in requests of this side: they ask for no progress and no logs, and belong to no task. */
const OF_ONE_REQUEST = new Set([
  'progressToken',
  'io.modelcontextprotocol/logLevel',
  'io.modelcontextprotocol/related-task',
])

/** What a request says of its client, for one of this side. */
function metaOf(params: unknown): JsonObject {
  const meta = isObject(params) ? params['_meta'] : undefined
  if (!isObject(meta)) return {}
  return { _meta: Object.fromEntries(Object.entries(meta).filter(([key]) => !OF_ONE_REQUEST.has(key))) }
}
