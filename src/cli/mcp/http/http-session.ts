import { randomUUID } from 'node:crypto'
import {
  isJSONRPCErrorResponse,
  isJSONRPCNotification,
  isJSONRPCRequest,
  isJSONRPCResultResponse,
  type JSONRPCMessage,
  type JSONRPCNotification,
  type RequestId,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import type { Clock } from '../../../base/clock.ts'
import { SubrosaError } from '../../../base/errors.ts'
import type { MessagePipe } from '../../../mcp/pipes/pipe.ts'
import { encodeMessage, INVALID_REQUEST } from '../../../mcp/policy/json-rpc.ts'
import { readJson } from '../json.ts'
import { RequestsInFlight } from '../requests-in-flight.ts'
import { errorAnswer, httpError, INTERNAL_ERROR, reasonOf, TRANSPORT_FAILED } from './http-errors.ts'
import type { HttpExchange } from './http-exchange.ts'

/** What a session of an HTTP client is made of. */
export interface HttpSessionOptions {
  /** What leads to a server of its own for this client. */
  readonly openPipe: () => MessagePipe
  readonly clock: Clock
  /** It ends when the client has asked for nothing, and waited for nothing, so long. */
  readonly idleMs: number
  /** Called with what ended it, and with what the server sent that no client can be given. */
  readonly onError: (error: Error) => void
  /** Called once, when it has ended. */
  readonly onEnd: () => void
}

/** What may wait for the pipe before further requests wait for it. */
const MAX_WAITING_BYTES = 10 * 1024 * 1024

/**
 * The session of one HTTP client: MCP's own transport on one side, and on the other a pipe of this session's alone, so
 * that the ids of two clients never meet. No MCP server stands between them. Over HTTP messages keep what they mean,
 * and not their bytes: the transport takes them as objects.
 */
export class HttpSession {
  readonly id = randomUUID()
  readonly #options: HttpSessionOptions
  readonly #transport: WebStandardStreamableHTTPServerTransport
  readonly #inFlight = new RequestsInFlight()
  readonly #exchanges = new WeakMap<Request, HttpExchange>()
  #pipe: MessagePipe | undefined
  /** What carries what belongs to no request: the client opens it, or does not. */
  #ownStream: HttpExchange | undefined
  #openExchanges = 0
  #idleSince: number | undefined
  #cancelIdle: () => void = () => {}
  #waitingBytes = 0
  #sent: Promise<void> = Promise.resolve()
  #wake: () => void = () => {}
  #failure: unknown
  #isOver = false
  #gone: Promise<void> = Promise.resolve()

  constructor(options: HttpSessionOptions) {
    this.#options = options
    this.#transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => this.id,
      // The answer to the client's first request waits for it.
      onsessioninitialized: () => this.#open(),
    })
    this.#transport.onmessage = (message, extra) => this.#toServer(message, extra?.request)
    this.#transport.onclose = () => this.#end(undefined)
  }

  /**
   * Answers one HTTP request of this session; the first is the one that begins it.
   *
   * @param body what was posted: JSON that was read
   */
  async handle(request: Request, exchange: HttpExchange, body?: unknown): Promise<Response> {
    this.#stayWith(exchange)
    const posted = Array.isArray(body) ? body : [body]
    const repeated = posted.find((message) => isJSONRPCRequest(message) && this.#inFlight.has(message.id))
    if (repeated !== undefined)
      return httpError(400, { code: INVALID_REQUEST, message: 'a request with this id is in flight' })
    while (this.#waitingBytes > MAX_WAITING_BYTES) await this.#sent
    this.#exchanges.set(request, exchange)
    const response = await this.#transport.handleRequest(request, { parsedBody: body })
    if (this.#failure !== undefined) return this.#failureOf(body)
    if (request.method === 'GET' && response.ok) {
      this.#ownStream = exchange
      this.#wake()
    }
    return response
  }

  /** Since when nobody waits for anything of it; `undefined` while somebody does. */
  get idleSince(): number | undefined {
    return this.#idleSince
  }

  /** Ends it: requests in flight are told, and the pipe is closed. */
  close(): Promise<void> {
    this.#end(new SubrosaError('ERR_CLOSED', 'the connection to the MCP server was closed'))
    return this.#gone
  }

  async #open(): Promise<void> {
    const { openPipe, onError } = this.#options
    try {
      this.#pipe = openPipe()
      await this.#pipe.open({
        message: (message) => this.#toClient(message),
        closed: (error) => {
          if (error !== undefined && !this.#isOver) onError(error)
          this.#end(error ?? new SubrosaError('ERR_MCP_ENDED', 'the MCP session has ended'))
        },
      })
    } catch (error) {
      this.#failure = error
      this.#pipe = undefined
      throw error
    }
    // Nobody waits for it any more.
    if (this.#isOver) await this.#pipe.close()
  }

  /** The first request could not be handed on: there is no session, and the client is told why. */
  #failureOf(body: unknown): Response {
    const error = { code: TRANSPORT_FAILED, message: reasonOf(this.#failure) }
    this.#options.onError(
      this.#failure instanceof Error ? this.#failure : new Error('the MCP session could not be opened'),
    )
    this.#end(undefined)
    return httpError(200, error, isJSONRPCRequest(body) ? body.id : null)
  }

  #toServer(message: JSONRPCMessage, request: Request | undefined): void {
    const exchange = request === undefined ? undefined : this.#exchanges.get(request)
    if (isJSONRPCRequest(message) && exchange !== undefined) {
      this.#inFlight.add(message, exchange)
      this.#wake()
    }
    const bytes = encodeMessage(message)
    this.#waitingBytes += bytes.length
    this.#sent = this.#sent.then(async () => {
      try {
        await this.#pipe?.send(bytes)
      } catch (error) {
        await this.#notSent(message, error)
      } finally {
        this.#waitingBytes -= bytes.length
      }
    })
    if (isJSONRPCNotification(message) && message.method === 'notifications/cancelled') this.#forget(message)
  }

  async #notSent(message: JSONRPCMessage, error: unknown): Promise<void> {
    if (isJSONRPCRequest(message) && this.#inFlight.take(message.id) !== undefined)
      return this.#transport.send(errorAnswer(message.id, TRANSPORT_FAILED, reasonOf(error)))
    if (!this.#isOver && error instanceof Error) this.#options.onError(error)
  }

  /** The client wants no response to this request any more, and mostly the server sends none: its stream ends here. */
  #forget({ params }: JSONRPCNotification): void {
    const id = params?.['requestId']
    if (typeof id !== 'string' && typeof id !== 'number') return
    const request = this.#inFlight.take(id)
    if (request === undefined) return
    if (!this.#inFlight.shares(request.exchange)) this.#transport.closeSSEStream(id)
    // The transport remembers a request until it is answered. Only in a batch does anybody hear this answer.
    void this.#transport.send(errorAnswer(id, TRANSPORT_FAILED, 'the request was cancelled'))
  }

  async #toClient(bytes: Uint8Array): Promise<void> {
    const read = readJson(bytes)
    const messages = Array.isArray(read?.value) ? read.value : [read?.value]
    for (const message of messages) await this.#deliver(message)
  }

  async #deliver(message: unknown): Promise<void> {
    if (isJSONRPCResultResponse(message) || isJSONRPCErrorResponse(message)) {
      const request = message.id === undefined ? undefined : this.#inFlight.take(message.id)
      if (request === undefined) return
      await this.#transport.send(message)
      // A client begins anew after that, and not in this session.
      if (request.method === 'initialize' && isJSONRPCErrorResponse(message)) return this.#end(undefined)
      return request.exchange.room()
    }
    if (isJSONRPCRequest(message) || isJSONRPCNotification(message)) return this.#push(message)
    await this.#refuse(message)
  }

  /** What the server sends unasked waits until the client has a stream open: it is lost otherwise. */
  async #push(message: JSONRPCMessage): Promise<void> {
    while (!this.#isOver) {
      const ownStream = this.#ownStream?.isOpen === true ? this.#ownStream : undefined
      const carrier = this.#inFlight.carrierOf(message, ownStream !== undefined)
      const exchange = carrier?.exchange ?? ownStream
      if (exchange !== undefined) {
        await this.#transport.send(message, carrier === undefined ? {} : { relatedRequestId: carrier.id })
        return exchange.room()
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** What the server sent is no message. Who waits for it hears that, at least. */
  async #refuse(message: unknown): Promise<void> {
    const id = idOf(message)
    const reason = 'the MCP server sent what is no message of JSON-RPC'
    if (id !== undefined && this.#inFlight.take(id) !== undefined)
      await this.#transport.send(errorAnswer(id, INTERNAL_ERROR, reason))
    this.#options.onError(new SubrosaError('ERR_MALFORMED', reason))
  }

  /** Counts the exchange as open until it ends. Without one the session becomes idle. */
  #stayWith(exchange: HttpExchange): void {
    this.#cancelIdle()
    this.#idleSince = undefined
    this.#openExchanges++
    void exchange.ended.then(() => {
      this.#openExchanges--
      if (this.#openExchanges > 0 || this.#isOver) return
      this.#idleSince = this.#options.clock.monotonic()
      this.#cancelIdle = this.#options.clock.after(this.#options.idleMs, () => this.#end(undefined))
    })
  }

  #end(error: Error | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#cancelIdle()
    this.#wake()
    for (const { id } of this.#inFlight.takeAll())
      void this.#transport.send(errorAnswer(id, TRANSPORT_FAILED, reasonOf(error)))
    this.#gone = this.#closeBoth()
    this.#options.onEnd()
  }

  async #closeBoth(): Promise<void> {
    try {
      await this.#transport.close()
      await this.#pipe?.close()
    } catch (error) {
      if (error instanceof Error) this.#options.onError(error)
    }
  }
}

function idOf(message: unknown): RequestId | undefined {
  if (typeof message !== 'object' || message === null || 'method' in message || !('id' in message))
    return undefined
  const { id } = message
  return typeof id === 'string' || typeof id === 'number' ? id : undefined
}
