import { encodeMessage } from './json-rpc.ts'
import { idKey, type Outline, outlinesOf } from './outline.ts'

/** JSON-RPC's room for an implementation's own errors; the SDKs call it "connection closed". */
export const CONNECTION_CLOSED = -32000

/** What a new session needs to hear, before it can stand in for the one that ended. */
export interface Replay {
  /** The client's `initialize` under an id of its own: its answer is for nobody else. */
  readonly initialize: { readonly id: string; readonly message: Uint8Array } | undefined
  /** What follows it. Answers to it are for nobody. */
  readonly messages: readonly Uint8Array[]
}

/**
 * What passes between a host and a server over several sessions, one after the other: which requests wait for an
 * answer, and what a new session has to be told. It looks at messages, and changes one only where an id would stand for
 * two requests.
 */
export class Conversation {
  /** Requests of the client without an answer: id by key. */
  readonly #asked = new Map<string, unknown>()
  /** Requests of the server without an answer. */
  readonly #askedByServer = new Map<string, unknown>()
  /** Requests of servers whose session has ended: an answer to one is for nobody. */
  readonly #orphaned = new Set<string>()
  /** The ids of servers in place of which the client has others. */
  readonly #renamed = new Map<string, unknown>()
  /** Ids of messages that were replayed: answers to them go no further. */
  readonly #replayed = new Set<string>()
  /** What the server has to be told again: log level and subscriptions, by what they are about. */
  readonly #wishes = new Map<string, Readonly<Record<string, unknown>>>()
  readonly #idPrefix = `subrosa-${crypto.randomUUID()}-`
  #lastId = 0
  #initialize: Outline | undefined
  #initialized: Uint8Array | undefined
  #negotiated: unknown

  /** The answer to the client's `initialize`, where there was one. */
  get negotiated(): unknown {
    return this.#negotiated
  }

  /** A message of the client's. @returns what goes to the server, if anything does */
  fromClient(message: Uint8Array): Uint8Array | undefined {
    const outlines = outlinesOf(message)
    const [only] = outlines
    if (outlines.length === 1 && only?.kind === 'response') return this.#answered(only, message)
    for (const outline of outlines) this.#noteAsked(outline, message)
    return message
  }

  /** A message of the server's. @returns what goes to the client, if anything does */
  fromServer(message: Uint8Array): Uint8Array | undefined {
    const outlines = outlinesOf(message)
    const [only] = outlines
    if (outlines.length === 1 && only !== undefined) return this.#oneFromServer(only, message)
    for (const { kind, id } of outlines) if (kind === 'response') this.#asked.delete(idKey(id))
    return message
  }

  /** A message of the client's went nowhere after all. @returns the ids of its requests, which need an answer */
  forget(message: Uint8Array): readonly unknown[] {
    const ids = outlinesOf(message).flatMap(({ kind, id }) => (kind === 'request' ? [id] : []))
    for (const id of ids) this.#asked.delete(idKey(id))
    return ids
  }

  /** The session has ended. @returns what the client is told: nothing waits any more */
  sessionEnded(reason: string): readonly Uint8Array[] {
    const told: Uint8Array[] = []
    for (const [key, id] of this.#asked) {
      // It changes nothing at the server, and is sent again.
      if (
        this.#initialize !== undefined &&
        this.#negotiated === undefined &&
        key === idKey(this.#initialize.id)
      )
        continue
      told.push(encodeMessage({ jsonrpc: '2.0', id, error: { code: CONNECTION_CLOSED, message: reason } }))
      this.#asked.delete(key)
    }
    for (const [key, id] of this.#askedByServer) {
      this.#orphaned.add(key)
      const params = { requestId: id, reason }
      told.push(encodeMessage({ jsonrpc: '2.0', method: 'notifications/cancelled', params }))
    }
    this.#askedByServer.clear()
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
      messages: this.#initialized === undefined ? [] : [this.#initialized, ...wishes],
    }
  }

  #noteAsked(outline: Outline, message: Uint8Array): void {
    const { kind, id, method, fields } = outline
    if (method === 'notifications/initialized') this.#initialized = message
    if (kind !== 'request') return
    this.#asked.set(idKey(id), id)
    if (method === 'initialize') {
      this.#initialize = outline
      this.#negotiated = this.#initialized = undefined
      this.#wishes.clear()
    }
    const uri = uriOf(fields['params'])
    if (method === 'logging/setLevel') this.#wishes.set(method, fields)
    if (method === 'resources/subscribe') this.#wishes.set(`resource ${uri}`, fields)
    if (method === 'resources/unsubscribe') this.#wishes.delete(`resource ${uri}`)
  }

  #answered({ id, fields }: Outline, message: Uint8Array): Uint8Array | undefined {
    const key = idKey(id)
    if (this.#orphaned.delete(key)) return undefined
    this.#askedByServer.delete(key)
    if (!this.#renamed.has(key)) return message
    const original = this.#renamed.get(key)
    this.#renamed.delete(key)
    return encodeMessage({ ...fields, id: original })
  }

  #oneFromServer({ kind, id, method, fields }: Outline, message: Uint8Array): Uint8Array | undefined {
    const key = idKey(id)
    if (kind === 'response') {
      if (this.#replayed.delete(key)) return undefined
      this.#asked.delete(key)
      const isAnswerToInitialize = this.#initialize !== undefined && key === idKey(this.#initialize.id)
      if (isAnswerToInitialize && this.#negotiated === undefined) this.#negotiated = fields['result']
      return message
    }
    if (kind === 'notification')
      return method === 'notifications/cancelled' ? this.#cancelled(fields, message) : message
    if (!this.#orphaned.has(key)) {
      this.#askedByServer.set(key, id)
      return message
    }
    const other = this.#newId()
    this.#renamed.set(idKey(other), id)
    this.#askedByServer.set(idKey(other), other)
    return encodeMessage({ ...fields, id: other })
  }

  /** The server takes a request back that the client knows by another id. */
  #cancelled(fields: Outline['fields'], message: Uint8Array): Uint8Array {
    const { params } = fields
    if (typeof params !== 'object' || params === null || !('requestId' in params)) return message
    const wanted = idKey(params.requestId)
    for (const [key, original] of this.#renamed) {
      if (idKey(original) !== wanted) continue
      return encodeMessage({ ...fields, params: { ...params, requestId: JSON.parse(key) } })
    }
    return message
  }

  #newId(): string {
    this.#lastId++
    return `${this.#idPrefix}${this.#lastId}`
  }
}

function uriOf(params: unknown): string {
  return typeof params === 'object' && params !== null && 'uri' in params ? String(params.uri) : ''
}
