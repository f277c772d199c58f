import { SubrosaError } from '../../base/errors.ts'
import { MAX_MCP_ID_LENGTH, MAX_MCP_UNANSWERED } from '../../base/limits.ts'
import { encodeMessage } from '../policy/json-rpc.ts'
import { idKey, type Outline, outlinesOf } from '../policy/outline.ts'

/** JSON-RPC's room for an implementation's own errors; the SDKs call it "connection closed". */
export const CONNECTION_CLOSED = -32000

/** What a new session needs to hear, before it can stand in for the one that ended. */
export interface Replay {
  /** The client's `initialize` under an id of its own: its answer is for nobody else. */
  readonly initialize: { readonly id: string; readonly message: Uint8Array } | undefined
  /** What follows it. Answers to it are for nobody. */
  readonly messages: readonly Uint8Array[]
}

type Id = Outline['id']
type Fields = Outline['fields']

/** What a client wants of a server, once the server has agreed: its log level, and subscriptions. */
interface Wish {
  /** What it is about. */
  readonly key: string
  /** The request; `undefined` where it takes a wish back. */
  readonly fields: Fields | undefined
}

/**
 * What passes between a host and a server over several sessions, one after the other: which requests wait for an
 * answer, and what a new session has to be told. It looks at messages, and changes one only where an id would stand for
 * two requests, or an answer in it is for nobody.
 */
export class Conversation {
  /** Requests of the client without an answer, by the key of their id. */
  readonly #asked = new Map<string, { readonly id: Id; readonly wish: Wish | undefined }>()
  /** Requests of the server without an answer: id by key. */
  readonly #askedByServer = new Map<string, Id>()
  /** Requests of the server that are taken back, by it or because its session has ended: an answer to one is for nobody. */
  readonly #orphaned = new Set<string>()
  /** The ids of servers in place of which the client has others. */
  readonly #renamed = new Map<string, Id>()
  /** Ids of messages that were replayed: answers to them go no further. */
  readonly #replayed = new Set<string>()
  /** What the server has to be told again, by what it is about. */
  readonly #wishes = new Map<string, Fields>()
  readonly #idPrefix = `subrosa-${crypto.randomUUID()}-`
  #lastId = 0
  #initialize: Outline | undefined
  #initialized: Fields | undefined
  #negotiated: unknown

  /** The answer to the client's `initialize`, where there was one. */
  get negotiated(): unknown {
    return this.#negotiated
  }

  /** A message of the client's. @returns what goes to the server, if anything does */
  fromClient(message: Uint8Array): Uint8Array | undefined {
    return changed(message, (outline) => {
      if (outline.kind === 'response') return this.#answeredByClient(outline)
      if (outline.kind === 'request') this.#noteAsked(outline)
      else this.#noteTold(outline)
      return outline.fields
    })
  }

  /**
   * A message of the server's. @returns what goes to the client, if anything does
   *
   * @throws SubrosaError ERR_MCP_ENDED when more of its requests wait for an answer than are remembered
   */
  fromServer(message: Uint8Array): Uint8Array | undefined {
    return changed(message, (outline) => {
      if (outline.kind === 'response') return this.#answeredByServer(outline)
      if (outline.kind === 'request') return this.#askedBy(outline)
      return outline.method === 'notifications/cancelled' ? this.#cancelled(outline.fields) : outline.fields
    })
  }

  /** A message of the client's went nowhere after all. @returns the ids of its requests, which need an answer */
  forget(message: Uint8Array): readonly Id[] {
    const ids: Id[] = []
    for (const outline of outlinesOf(message).all) {
      if (outline.kind === 'notification') this.#noteTold(outline)
      if (outline.kind !== 'request') continue
      ids.push(outline.id)
      this.#asked.delete(idKey(outline.id))
      if (this.#isBeginning(outline.id)) this.#initialize = undefined
    }
    return ids
  }

  /** The session has ended. @returns what the client is told: nothing waits any more */
  sessionEnded(reason: string): readonly Uint8Array[] {
    const told: Uint8Array[] = []
    for (const [key, { id }] of this.#asked) {
      // It changes nothing at the server, and is sent again.
      if (this.#isBeginning(id)) continue
      told.push(encodeMessage({ jsonrpc: '2.0', id, error: { code: CONNECTION_CLOSED, message: reason } }))
      this.#asked.delete(key)
    }
    for (const [key, id] of this.#askedByServer) {
      this.#orphan(key)
      const params = { requestId: id, reason }
      told.push(encodeMessage({ jsonrpc: '2.0', method: 'notifications/cancelled', params }))
    }
    this.#renamed.clear()
    this.#replayed.clear()
    return told
  }

  /** What a new session is told first. */
  replay(): Replay {
    if (this.#initialize === undefined) return { initialize: undefined, messages: [] }
    const { fields } = this.#initialize
    if (this.#negotiated === undefined) return { initialize: undefined, messages: [encodeMessage(fields)] }
    const wishes = [...this.#wishes.values()].map((wish) => {
      const id = this.#newId()
      this.#replayed.add(idKey(id))
      return encodeMessage({ ...wish, id })
    })
    const id = this.#newId()
    return {
      initialize: { id, message: encodeMessage({ ...fields, id }) },
      messages: this.#initialized === undefined ? [] : [encodeMessage(this.#initialized), ...wishes],
    }
  }

  #noteAsked(outline: Outline): void {
    const { id, method } = outline
    this.#asked.set(idKey(id), { id, wish: wishOf(outline) })
    if (method !== 'initialize') return
    this.#initialize = outline
    this.#negotiated = this.#initialized = undefined
    this.#wishes.clear()
  }

  /** Also what went nowhere is told to the next session. */
  #noteTold({ method, fields }: Outline): void {
    if (method === 'notifications/initialized') this.#initialized = fields
    // Whoever takes a request back waits for no answer.
    if (method === 'notifications/cancelled') this.#asked.delete(idKey(requestIdOf(fields)))
  }

  #answeredByClient({ id, fields }: Outline): Fields | undefined {
    const key = idKey(id)
    if (this.#orphaned.delete(key)) return undefined
    this.#askedByServer.delete(key)
    if (!this.#renamed.has(key)) return fields
    const original = this.#renamed.get(key)
    this.#renamed.delete(key)
    return { ...fields, id: original }
  }

  #answeredByServer({ id, fields }: Outline): Fields | undefined {
    const key = idKey(id)
    if (this.#replayed.delete(key)) return undefined
    const { result } = fields
    const wish = this.#asked.get(key)?.wish
    this.#asked.delete(key)
    if (wish !== undefined && result !== undefined) this.#grant(wish)
    if (!this.#isBeginning(id)) return fields
    this.#negotiated = result
    // What was refused is not asked again.
    if (result === undefined) this.#initialize = undefined
    return fields
  }

  #grant({ key, fields }: Wish): void {
    if (fields === undefined) this.#wishes.delete(key)
    else this.#wishes.set(key, fields)
  }

  #askedBy({ id, fields }: Outline): Fields {
    const key = idKey(id)
    if (this.#askedByServer.size >= MAX_MCP_UNANSWERED || key.length > MAX_MCP_ID_LENGTH)
      throw new SubrosaError('ERR_MCP_ENDED', 'more requests of the server wait for an answer than are kept')
    if (!this.#orphaned.has(key)) {
      this.#askedByServer.set(key, id)
      return fields
    }
    const other = this.#newId()
    this.#renamed.set(idKey(other), id)
    this.#askedByServer.set(idKey(other), other)
    return { ...fields, id: other }
  }

  /** The server takes a request back, which the client may know by another id. */
  #cancelled(fields: Fields): Fields {
    const wanted = idKey(requestIdOf(fields))
    const [renamed] = [...this.#renamed].find(([, original]) => idKey(original) === wanted) ?? []
    this.#orphan(renamed ?? wanted)
    if (renamed === undefined) return fields
    this.#renamed.delete(renamed)
    return { ...fields, params: { ...paramsOf(fields), requestId: JSON.parse(renamed) } }
  }

  /** Of a host that answers nothing, the requests that were taken back first are forgotten. */
  #orphan(key: string): void {
    if (!this.#askedByServer.delete(key)) return
    const [first] = this.#orphaned
    if (this.#orphaned.size >= MAX_MCP_UNANSWERED && first !== undefined) this.#orphaned.delete(first)
    this.#orphaned.add(key)
  }

  /** Whether this is the id of an `initialize` that has no answer. */
  #isBeginning(id: Id): boolean {
    const { id: beginning } = this.#initialize ?? {}
    return beginning !== undefined && this.#negotiated === undefined && beginning === id
  }

  #newId(): string {
    this.#lastId++
    return `${this.#idPrefix}${this.#lastId}`
  }
}

/** The message with what becomes of each part of it; itself where nothing changes, nothing where nothing is left. */
function changed(
  message: Uint8Array,
  change: (outline: Outline) => Fields | undefined,
): Uint8Array | undefined {
  const { all, isBatch } = outlinesOf(message)
  const after = all.map(change)
  if (after.every((fields, i) => fields === all[i]?.fields)) return message
  const left = after.filter((fields) => fields !== undefined)
  const [only] = left
  return only === undefined ? undefined : encodeMessage(isBatch ? left : only)
}

function wishOf({ method, fields }: Outline): Wish | undefined {
  if (method === 'logging/setLevel') return { key: method, fields }
  const { uri } = paramsOf(fields)
  if (typeof uri !== 'string') return undefined
  if (method === 'resources/subscribe') return { key: `resource ${uri}`, fields }
  return method === 'resources/unsubscribe' ? { key: `resource ${uri}`, fields: undefined } : undefined
}

function requestIdOf(fields: Fields): Id {
  const { requestId } = paramsOf(fields)
  return typeof requestId === 'string' || typeof requestId === 'number' ? requestId : undefined
}

function paramsOf({ params }: Fields): Fields {
  return typeof params === 'object' && params !== null ? { ...params } : {}
}
