import {
  isJSONRPCErrorResponse,
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResultResponse,
  type JSONRPCMessage,
  type JSONRPCRequest,
  PROTOCOL_VERSION_META_KEY,
  type RequestId,
  SdkErrorCode,
  SdkHttpError,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { SubrosaError } from '../../../base/errors.ts'
import type { MessagePipe, PipeSink } from '../../../mcp/pipes/pipe.ts'
import { encodeMessage, errorResponse, INVALID_REQUEST } from '../../../mcp/policy/json-rpc.ts'
import { readJson } from '../json.ts'
import { PARSE_ERROR, reasonOf, TRANSPORT_FAILED } from './http-errors.ts'
import { errorOf, failureOf, type JsonRpcError } from './http-failures.ts'
import { HttpFetch } from './http-fetch.ts'

/** Which MCP server is used over Streamable HTTP, and how. */
export interface HttpBackOptions {
  readonly url: URL
  /** Sent with every request. Their values may be secrets. */
  readonly headers: Readonly<Record<string, string>>
  /** Called with what goes wrong without ending the pipe. */
  readonly onError: (error: Error) => void
  readonly clock?: Clock
}

/** A request that waits for its response. */
interface Pending {
  readonly method: string
  /** Whether it is of a revision that has no sessions, 2026-07-28 or later: the request itself says so. */
  readonly isStateless: boolean
  readonly abort: AbortController
}

const MAX_PENDING = 256
const MAX_RECONNECTS = 5
const MIN_RECONNECT_MS = 100
const RECONNECTS = {
  initialReconnectionDelay: 1000,
  maxReconnectionDelay: 30_000,
  reconnectionDelayGrowFactor: 1.5,
  // They are counted where they are scheduled.
  maxRetries: Number.POSITIVE_INFINITY,
}
/** How long the server may take to end a session. */
const TERMINATE_MS = 2000

/**
 * A pipe to an MCP server over Streamable HTTP, with a session there of its own. Over HTTP messages keep what they
 * mean, and not their bytes: MCP's own transport takes them as objects. A request that gets no response gets an error,
 * and is never sent again. A session that the server knows no more ends the pipe.
 *
 * @example
 * ```ts
 * const pipe = httpBack({ url: parseServerUrl('http://127.0.0.1:3000/mcp'), headers: {}, onError: console.error })
 * ```
 */
export function httpBack(options: HttpBackOptions): MessagePipe {
  return new HttpBack(options)
}

class HttpBack implements MessagePipe {
  readonly #onError: (error: Error) => void
  readonly #clock: Clock
  readonly #http = new HttpFetch(
    () => this.#delivered,
    (error) => this.#report(error),
  )
  readonly #transport: StreamableHTTPClientTransport
  readonly #pending = new Map<RequestId, Pending>()
  #sink: PipeSink | undefined
  #sent: Promise<void> = Promise.resolve()
  #delivered: Promise<void> = Promise.resolve()
  #reported: unknown
  #isClosed = false
  #isOver = false
  #gone: Promise<void> = Promise.resolve()

  constructor({ url, headers, onError, clock = systemClock }: HttpBackOptions) {
    this.#onError = onError
    this.#clock = clock
    this.#transport = new StreamableHTTPClientTransport(url, {
      fetch: this.#http.fetch,
      requestInit: { headers: { ...headers } },
      redirectPolicy: 'same-origin',
      reconnectionOptions: RECONNECTS,
      reconnectionScheduler: (reconnect, delayMs, attempt) => this.#reconnect(reconnect, delayMs, attempt),
    })
    this.#transport.onmessage = (message) => this.#receive(message)
    this.#transport.onerror = (error) => this.#hear(error)
  }

  async open(sink: PipeSink): Promise<void> {
    this.#sink = sink
    await this.#transport.start()
  }

  send(bytes: Uint8Array): Promise<void> {
    const sent = this.#sent.then(() => this.#send(bytes))
    this.#sent = sent.catch(() => {})
    return sent
  }

  close(): Promise<void> {
    this.#isClosed = true
    this.#end(undefined)
    return this.#gone
  }

  async #send(bytes: Uint8Array): Promise<void> {
    if (this.#isOver) throw new SubrosaError('ERR_CLOSED', 'the connection to the MCP server is closed')
    const read = readJson(bytes)
    if (read === undefined) return this.#deliver(errorResponse(undefined, PARSE_ERROR, 'this is no JSON'))
    // Servers of later revisions take no batches.
    for (const message of Array.isArray(read.value) ? read.value : [read.value]) await this.#post(message)
  }

  /**
   * Requests go side by side, because the response to one may come long after the next has gone. Everything else goes
   * before what follows it.
   */
  async #post(message: unknown): Promise<void> {
    if (isJSONRPCRequest(message)) return this.#request(message)
    if (isJSONRPCResultResponse(message) || isJSONRPCErrorResponse(message)) return this.#tell(message)
    if (!isJSONRPCNotification(message))
      return this.#deliver(errorResponse(undefined, INVALID_REQUEST, 'this is no message of JSON-RPC'))
    if (message.method !== 'notifications/cancelled') return this.#tell(message)
    const id = message.params?.['requestId']
    const cancelled = typeof id === 'string' || typeof id === 'number' ? this.#take(id) : undefined
    // Without a session the end of the request's own stream says it.
    if (cancelled?.isStateless !== true) await this.#tell(message)
    cancelled?.abort.abort()
  }

  #request(message: JSONRPCRequest): void {
    const { id, method, params } = message
    if (this.#pending.has(id))
      return this.#deliver(errorResponse(id, INVALID_REQUEST, 'a request with this id is in flight'))
    if (this.#pending.size >= MAX_PENDING)
      return this.#deliver(errorResponse(id, TRANSPORT_FAILED, 'too many requests are in flight'))
    const abort = new AbortController()
    const isStateless = params?._meta?.[PROTOCOL_VERSION_META_KEY] !== undefined
    this.#pending.set(id, { method, isStateless, abort })
    const ended = { code: TRANSPORT_FAILED, message: 'the MCP server ended its answer before the response' }
    this.#transport
      .send(message, { requestSignal: abort.signal, onRequestStreamEnd: () => this.#fail(id, ended) })
      .catch((error: unknown) => this.#fail(id, errorOf(error)))
  }

  async #tell(message: JSONRPCMessage): Promise<void> {
    try {
      await this.#transport.send(message)
    } catch (error) {
      this.#report(error)
    }
  }

  #receive(message: JSONRPCMessage): void {
    if (isJSONRPCResultResponse(message)) {
      const request = this.#take(message.id)
      const version = message.result['protocolVersion']
      if (request?.method === 'initialize' && typeof version === 'string')
        this.#transport.setProtocolVersion(version)
    } else if (isJSONRPCErrorResponse(message) && message.id !== undefined) this.#take(message.id)
    this.#deliver(encodeMessage(message))
  }

  #fail(id: RequestId, error: JsonRpcError): void {
    if (this.#take(id) !== undefined) this.#deliver(encodeMessage({ jsonrpc: '2.0', id, error }))
  }

  #take(id: RequestId): Pending | undefined {
    const request = this.#pending.get(id)
    this.#pending.delete(id)
    return request
  }

  #deliver(bytes: Uint8Array): void {
    this.#delivered = this.#delivered
      .then(() => (this.#isClosed ? undefined : this.#sink?.message(bytes)))
      .catch((error: unknown) => this.#end(failureOf(error)))
  }

  /** What the transport says of failures; those of what was sent are also thrown, and handled there. */
  #hear(error: Error): void {
    if (!(error instanceof SdkHttpError)) return
    // A server without a stream of its own may have nothing for GET there.
    if (error.code === SdkErrorCode.ClientHttpFailedToOpenStream) this.#report(error)
    else if (error.data.status === 404 && this.#transport.sessionId !== undefined)
      this.#end(
        new SubrosaError('ERR_MCP_ENDED', 'the MCP session has ended: the MCP server knows it no more'),
      )
  }

  #report(error: unknown): void {
    if (this.#isOver || this.#reported === error) return
    this.#reported = error
    this.#onError(failureOf(error))
  }

  #reconnect(reconnect: () => void, delayMs: number, attempt: number): () => void {
    if (attempt < MAX_RECONNECTS) return this.#clock.after(Math.max(delayMs, MIN_RECONNECT_MS), reconnect)
    this.#end(new SubrosaError('ERR_CONNECTION', 'the connection to the MCP server was lost'))
    return () => {}
  }

  #end(error: SubrosaError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const id of this.#pending.keys()) this.#deliver(errorResponse(id, TRANSPORT_FAILED, reasonOf(error)))
    this.#pending.clear()
    this.#gone = this.#leave(error)
  }

  async #leave(error: SubrosaError | undefined): Promise<void> {
    if (error === undefined) await this.#terminate()
    await this.#transport.close()
    this.#http.close()
    if (!this.#isClosed) await this.#delivered
    this.#sink?.closed(error)
  }

  /** Ends the session at the server, if it does that soon. */
  async #terminate(): Promise<void> {
    let cancel: () => void = () => {}
    const late = new Promise<void>((resolve) => {
      cancel = this.#clock.after(TERMINATE_MS, resolve)
    })
    // A server that does not end it loses it by itself.
    await Promise.race([this.#transport.terminateSession().catch(() => {}), late])
    cancel()
  }
}
