import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { createMcpHandler, Server as NewServer } from '@modelcontextprotocol/server'
import { HttpExchange } from '../../src/cli/mcp/http/http-exchange.ts'
import { type ToolServer, toolServer } from './tool-server.ts'

/** An HTTP server on a free port of this machine. */
export interface TestServer {
  readonly url: URL
  /** Ends it at once. */
  close(): Promise<void>
}

/** What came over HTTP. */
export interface Received {
  readonly method: string
  readonly headers: IncomingMessage['headers']
  /** The body as JSON, `undefined` where there is none. */
  readonly body: unknown
}

/** Serves with what the test does with each request. */
export async function serve(
  handle: (request: Received, out: ServerResponse) => void | Promise<void>,
): Promise<TestServer> {
  const server = createServer((request, out) => {
    void read(request).then((received) => handle(received, out))
  })
  return listen(server)
}

/** A server of the 1.x line that keeps sessions. */
export interface StatefulServer extends TestServer {
  readonly sessions: Map<string, ToolServer>
  /** Forgets all sessions, as a restart does. */
  forget(): Promise<void>
}

/** Serves tools in sessions, and answers with event streams or with JSON. */
export async function serveStateful(enableJsonResponse = false): Promise<StatefulServer> {
  const sessions = new Map<string, ToolServer>()
  const transports = new Map<string, StreamableHTTPServerTransport>()
  const server = await serve(async ({ method, headers, body }, out) => {
    const id = String(headers['mcp-session-id'] ?? '')
    let transport = transports.get(id)
    if (transport === undefined && id !== '') {
      out.writeHead(404).end('Session not found')
      return
    }
    if (transport === undefined) {
      const made = toolServer()
      const begun = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        enableJsonResponse,
        onsessioninitialized: (session) => {
          sessions.set(session, made)
          transports.set(session, begun)
        },
        onsessionclosed: (session) => {
          sessions.delete(session)
        },
      })
      await made.server.connect(begun)
      transport = begun
    }
    const request = Object.assign(out.req, { method })
    await transport.handleRequest(request, out, body)
  })
  return {
    ...server,
    sessions,
    async forget() {
      for (const transport of transports.values()) await transport.close()
      transports.clear()
    },
  }
}

/** A server of revision 2026-07-28, which keeps no sessions. */
export interface StatelessServer extends TestServer {
  /** What became of the calls of `wait`. */
  readonly waits: string[]
  /** The methods of what was posted. */
  readonly methods: unknown[]
}

/** Serves an echo, and a tool that waits to be cancelled, without sessions. */
export async function serveStateless(): Promise<StatelessServer> {
  const waits: string[] = []
  const methods: unknown[] = []
  const handler = createMcpHandler(() => {
    const server = new NewServer({ name: 'stateless', version: '1' }, { capabilities: { tools: {} } })
    server.setRequestHandler('tools/list', () => ({
      tools: [{ name: 'echo', inputSchema: { type: 'object' as const } }],
    }))
    server.setRequestHandler('tools/call', async ({ params }, { mcpReq }) => {
      if (params.name === 'wait') {
        waits.push('begun')
        await new Promise((resolve) => mcpReq.signal.addEventListener('abort', resolve))
        waits.push('cancelled')
      }
      return { content: [{ type: 'text' as const, text: String(params.arguments?.['text']) }] }
    })
    return server
  })
  const server = await serve(async ({ method, headers, body }, out) => {
    methods.push(typeof body === 'object' && body !== null && 'method' in body ? body.method : undefined)
    const abort = new AbortController()
    out.once('close', () => abort.abort())
    const request = new Request('http://127.0.0.1/mcp', {
      method,
      headers: Object.entries(headers).map(
        ([name, value]) => [name, String(value)] satisfies [string, string],
      ),
      signal: abort.signal,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    new HttpExchange(out).start(await handler.fetch(request))
  })
  return { ...server, waits, methods }
}

async function read(request: IncomingMessage): Promise<Received> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk)
  return {
    method: request.method ?? '',
    headers: request.headers,
    body: text === '' ? undefined : JSON.parse(text),
  }
}

function listen(server: Server): Promise<TestServer> {
  return new Promise((resolve) => {
    server.listen({ host: '127.0.0.1', port: 0 }, () => {
      const bound = server.address()
      if (typeof bound !== 'object' || bound === null) throw new Error('it is not bound')
      resolve({
        url: new URL(`http://127.0.0.1:${bound.port}/mcp`),
        close: () =>
          new Promise((closed) => {
            server.close(() => closed())
            server.closeAllConnections()
          }),
      })
    })
  })
}
