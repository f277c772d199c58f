import { createServer, type IncomingMessage, type Server } from 'node:http'
import { isInitializeRequest } from '@modelcontextprotocol/server'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { SubrosaError } from '../../../base/errors.ts'
import { DEFAULT_MCP_MESSAGE_BYTES, MAX_MCP_HTTP_SESSIONS } from '../../../base/limits.ts'
import type { MessagePipe } from '../../../mcp/pipes/pipe.ts'
import { INVALID_REQUEST } from '../../../mcp/policy/json-rpc.ts'
import { readJson } from '../json.ts'
import { type LoopbackAddress, refusalOf } from '../loopback.ts'
import { httpError, INTERNAL_ERROR, PARSE_ERROR, SESSION_NOT_FOUND, TRANSPORT_FAILED } from './http-errors.ts'
import { HttpExchange, readBody } from './http-exchange.ts'
import { HttpSession } from './http-session.ts'

/** Where and for whom Streamable HTTP is served. */
export interface HttpFrontOptions {
  readonly address: LoopbackAddress
  /** Leads to the server, for one client alone. Called for each. */
  readonly openPipe: () => MessagePipe
  /** Called with what ends a session, or keeps one from beginning. */
  readonly onError: (error: Error) => void
  readonly clock?: Clock
  /** A session ends when its client has asked for nothing, and waited for nothing, so long. Default: 30 minutes. */
  readonly idleMs?: number
}

/** A Streamable HTTP endpoint of MCP on this machine. */
export interface HttpFront {
  /** Where clients find it. */
  readonly url: string
  /** Ends all sessions, and then the server. */
  close(): Promise<void>
}

const PATH = '/mcp'
const DEFAULT_IDLE_MS = 30 * 60_000
/** How long the last answers may take to be written. */
const LAST_WORDS_MS = 1000
/** The headers that MCP's own transport looks at. */
const HEADERS = ['accept', 'content-type', 'mcp-session-id', 'mcp-protocol-version', 'last-event-id']

/**
 * Serves Streamable HTTP on this machine alone: revision 2025-11-25 of MCP and those before it. Each client has a
 * session, and each session a pipe. Clients of revision 2026-07-28, which has no sessions, fall back to an earlier one.
 * A stream that broke cannot be resumed.
 *
 * @throws SubrosaError ERR_CONNECTION when nothing can be served at this address
 *
 * @example
 * ```ts
 * const front = await startHttpFront({ address: parseLoopback('127.0.0.1:8808'), openPipe, onError: console.error })
 * ```
 */
export async function startHttpFront(options: HttpFrontOptions): Promise<HttpFront> {
  const front = new Front(options)
  await front.listen()
  return front
}

class Front implements HttpFront {
  readonly #options: HttpFrontOptions
  readonly #server: Server
  readonly #sessions = new Map<string, HttpSession>()
  readonly #exchanges = new Set<HttpExchange>()
  #port = 0
  #isClosing = false

  constructor(options: HttpFrontOptions) {
    this.#options = options
    this.#server = createServer((request, out) => {
      const exchange = new HttpExchange(out)
      this.#exchanges.add(exchange)
      void exchange.ended.then(() => this.#exchanges.delete(exchange))
      void this.#answer(request, exchange)
    })
  }

  get url(): string {
    const { host } = this.#options.address
    return `http://${host === '::1' ? '[::1]' : host}:${this.#port}${PATH}`
  }

  listen(): Promise<void> {
    const { host, port } = this.#options.address
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => reject(notServed(cause)))
      this.#server.listen({ host, port, exclusive: true }, () => {
        // Later ones cost a connection, and nothing else: there may be too many open files.
        this.#server.on('error', this.#options.onError)
        const bound = this.#server.address()
        this.#port = typeof bound === 'object' && bound !== null ? bound.port : port
        resolve()
      })
    })
  }

  async close(): Promise<void> {
    this.#isClosing = true
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await Promise.all([...this.#sessions.values()].map((session) => session.close()))
    const written = Promise.all([...this.#exchanges].map(({ ended }) => ended))
    const { clock = systemClock } = this.#options
    await Promise.race([written, new Promise<void>((resolve) => clock.after(LAST_WORDS_MS, resolve))])
    this.#server.closeAllConnections()
    await closed
  }

  async #answer(request: IncomingMessage, exchange: HttpExchange): Promise<void> {
    try {
      exchange.start(await this.#route(request, exchange))
    } catch (error) {
      if (!exchange.isOpen) return
      exchange.start(httpError(500, { code: INTERNAL_ERROR, message: 'the request could not be handled' }))
      if (error instanceof Error) this.#options.onError(error)
    }
  }

  async #route(request: IncomingMessage, exchange: HttpExchange): Promise<Response> {
    const { method = '', headers, url = '' } = request
    const refusal = refusalOf(headers, this.#port)
    if (refusal !== undefined) return httpError(403, { code: TRANSPORT_FAILED, message: refusal })
    if (url.split('?', 1)[0] !== PATH)
      return httpError(404, { code: TRANSPORT_FAILED, message: `nothing is served here but ${PATH}` })
    const id = request.headers['mcp-session-id']
    const session = typeof id === 'string' ? this.#sessions.get(id) : undefined
    if (id !== undefined && session === undefined)
      return httpError(404, { code: SESSION_NOT_FOUND, message: 'there is no such session, or no more' })
    if (method === 'POST') return this.#post(request, exchange, session)
    if (method !== 'GET' && method !== 'DELETE') return notAllowed()
    return session?.handle(webRequest(request), exchange) ?? withoutSession()
  }

  async #post(
    request: IncomingMessage,
    exchange: HttpExchange,
    session: HttpSession | undefined,
  ): Promise<Response> {
    const bytes = await readBody(request, DEFAULT_MCP_MESSAGE_BYTES)
    if (bytes === undefined) {
      const message = `a message has at most ${DEFAULT_MCP_MESSAGE_BYTES} bytes`
      return httpError(413, { code: INVALID_REQUEST, message })
    }
    const body = readJson(bytes)
    if (body === undefined) return httpError(400, { code: PARSE_ERROR, message: 'the body is no JSON' })
    if (session !== undefined) return session.handle(webRequest(request), exchange, body.value)
    if (!isInitializeRequest(body.value)) return withoutSession()
    return this.#begin(webRequest(request), exchange, body.value)
  }

  async #begin(request: Request, exchange: HttpExchange, initialize: unknown): Promise<Response> {
    const { openPipe, onError, clock = systemClock, idleMs = DEFAULT_IDLE_MS } = this.#options
    if (this.#isClosing || !this.#makeRoom())
      return httpError(503, { code: TRANSPORT_FAILED, message: 'no further session can begin here' })
    const session = new HttpSession({
      openPipe,
      clock,
      idleMs,
      onError,
      onEnd: () => this.#sessions.delete(session.id),
    })
    this.#sessions.set(session.id, session)
    const response = await session.handle(request, exchange, initialize)
    // Who does not know the session's id cannot use it.
    if (!response.ok || !exchange.isOpen) await session.close()
    return response
  }

  /**
   * Most clients go without a word: the official ones end no session. So the one that was left alone for the longest time
   * makes room. @returns whether there is room
   */
  #makeRoom(): boolean {
    if (this.#sessions.size < MAX_MCP_HTTP_SESSIONS) return true
    let longest: { readonly session: HttpSession; readonly since: number } | undefined
    for (const session of this.#sessions.values()) {
      const since = session.idleSince
      if (since !== undefined && since < (longest?.since ?? Number.POSITIVE_INFINITY))
        longest = { session, since }
    }
    // Its place is free at once: whoever comes meanwhile finds no second one.
    void longest?.session.close()
    return longest !== undefined
  }
}

/** The request as MCP's own transport takes it: without its body, which was read. */
function webRequest({ method = '', headers }: IncomingMessage): Request {
  const kept = HEADERS.flatMap((name) => {
    const value = headers[name]
    return typeof value === 'string' ? [[name, value] satisfies [string, string]] : []
  })
  return new Request(`http://localhost${PATH}`, { method, headers: kept })
}

function withoutSession(): Response {
  const message = 'a session begins with initialize, and every other request names one in Mcp-Session-Id'
  return httpError(400, { code: TRANSPORT_FAILED, message })
}

function notAllowed(): Response {
  const response = httpError(405, { code: TRANSPORT_FAILED, message: 'use POST, GET or DELETE' })
  response.headers.set('allow', 'GET, POST, DELETE')
  return response
}

function notServed(cause: Error): SubrosaError {
  return new SubrosaError('ERR_CONNECTION', 'nothing can be served at this address', {
    hint: 'another program may use this port',
    cause,
  })
}
