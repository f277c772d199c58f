import { Client as ClientOf2 } from '@modelcontextprotocol/client'
import { Client as ClientOf1 } from '@modelcontextprotocol/sdk/client/index.js'
import { Server as ServerOf1 } from '@modelcontextprotocol/sdk/server/index.js'
import { Server as ServerOf2 } from '@modelcontextprotocol/server'
import type { SealedTransport } from '../../src/mcp.ts'

/** The two lines of the official SDK. */
export type SdkLine = '1.x' | '2.x'
export const SDK_LINES: readonly SdkLine[] = ['1.x', '2.x']

/** A request as either line hands it to a handler. */
interface Asked {
  readonly method: string
  readonly params: Readonly<Record<string, unknown>>
  readonly authInfo: unknown
  readonly signal: AbortSignal
  readonly progressToken: string | number | undefined
}

/** What both lines' servers can do, under one name. */
type AnyServer = ServerOf1 | ServerOf2

const INFO = { name: 'test', version: '1.0.0' }
const SERVER_CAPABILITIES = {
  tools: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  logging: {},
}
const CLIENT_CAPABILITIES = { sampling: {}, elicitation: {}, roots: { listChanged: true } }
const RESOURCE = 'note://one'
const SAMPLING = {
  messages: [{ role: 'user' as const, content: { type: 'text' as const, text: 'Hello?' } }],
  maxTokens: 10,
}

/** A server of one line with a tool for each thing that a server can do. */
export class LineServer {
  /** Names of the calls that were cancelled, with what they were called with. */
  readonly cancelled: unknown[] = []
  readonly waiting: unknown[] = []
  /** Methods of the notifications that came. */
  readonly told: string[] = []
  readonly errors: Error[] = []
  closes = 0
  readonly #server: AnyServer
  readonly #sample: () => Promise<unknown>

  static of(line: SdkLine): LineServer {
    const capabilities = SERVER_CAPABILITIES
    if (line === '1.x') {
      const server = new ServerOf1(INFO, { capabilities })
      const made = new LineServer(server, () => server.createMessage(SAMPLING))
      server.fallbackRequestHandler = ({ method, params }, { authInfo, signal, _meta }) =>
        made.#answer({ method, params: { ...params }, authInfo, signal, progressToken: _meta?.progressToken })
      server.fallbackNotificationHandler = async ({ method }) => void made.told.push(method)
      return made
    }
    const server = new ServerOf2(INFO, { capabilities })
    const made = new LineServer(server, () => server.createMessage(SAMPLING))
    server.fallbackRequestHandler = ({ method, params }, { http, mcpReq: { signal, _meta } }) => {
      const authInfo = http !== undefined && 'authInfo' in http ? http.authInfo : undefined
      return made.#answer({
        method,
        params: { ...params },
        authInfo,
        signal,
        progressToken: _meta?.progressToken,
      })
    }
    server.fallbackNotificationHandler = async ({ method }) => void made.told.push(method)
    return made
  }

  private constructor(server: AnyServer, sample: () => Promise<unknown>) {
    this.#server = server
    this.#sample = sample
    server.onclose = () => void this.closes++
    server.onerror = (error) => void this.errors.push(error)
  }

  /** That it compiles shows that the transport has the shape of either line's. */
  async connect(transport: SealedTransport): Promise<void> {
    await this.#server.connect(transport)
  }

  async close(): Promise<void> {
    await this.#server.close()
  }

  async #answer({ method, params, ...asked }: Asked): Promise<Record<string, unknown>> {
    switch (method) {
      case 'tools/list':
        return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] }
      case 'tools/call': {
        const { name, arguments: args = {} } = params as { name: string; arguments?: Record<string, unknown> }
        const result = await this.#call(name, args, asked)
        const text = typeof result === 'string' ? result : JSON.stringify(result)
        return { content: [{ type: 'text', text }] }
      }
      case 'resources/list':
        return { resources: [{ uri: RESOURCE, name: 'one' }] }
      case 'resources/read':
        return { contents: [{ uri: RESOURCE, text: 'a note' }] }
      case 'resources/subscribe':
        return {}
      default:
        throw new Error(`no such method: ${method}`)
    }
  }

  async #call(
    name: string,
    args: Readonly<Record<string, unknown>>,
    { authInfo, signal, progressToken = 0 }: Omit<Asked, 'method' | 'params'>,
  ): Promise<unknown> {
    const server = this.#server
    switch (name) {
      case 'echo':
        return args['text']
      case 'who':
        return authInfo
      case 'big':
        return 'x'.repeat(Number(args['length']))
      case 'progress':
        for (const progress of [1, 2, 3]) {
          const params = { progressToken, progress, total: 3 }
          await server.notification({ method: 'notifications/progress', params })
        }
        return 'done'
      case 'wait':
        this.waiting.push(args)
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => {
            this.cancelled.push(args)
            resolve('cancelled')
          })
        })
      case 'sample':
        return this.#sample()
      case 'elicit': {
        const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } }
        return server.elicitInput({ message: 'Who?', requestedSchema })
      }
      case 'roots':
        return server.listRoots()
      case 'log':
        await server.sendLoggingMessage({ level: 'info', data: args['text'] })
        return 'logged'
      case 'touch':
        await server.sendResourceUpdated({ uri: RESOURCE })
        await server.sendToolListChanged()
        return 'touched'
      default:
        throw new Error('no such tool')
    }
  }
}

/** What both lines' clients take when they call. */
interface CallOptions {
  readonly onprogress?: (progress: { readonly progress: number }) => void
  readonly signal?: AbortSignal
}

/** A client, and which line it is of: they take the options of a call in different places. */
type AnyClient =
  | { readonly is: '1.x'; readonly client: ClientOf1 }
  | { readonly is: '2.x'; readonly client: ClientOf2 }

/** A client of one line that answers what servers ask. */
export class LineClient {
  /** Notifications that came, but for progress. */
  readonly told: { readonly method: string; readonly params?: unknown }[] = []
  readonly errors: Error[] = []
  closes = 0
  readonly #line: AnyClient

  /** @param mode of the newer line: how it finds out which revision the server speaks */
  static of(line: SdkLine, mode: 'legacy' | 'auto' = 'legacy'): LineClient {
    const capabilities = CLIENT_CAPABILITIES
    if (line === '1.x') return new LineClient({ is: line, client: new ClientOf1(INFO, { capabilities }) })
    const client = new ClientOf2(INFO, { capabilities, versionNegotiation: { mode } })
    return new LineClient({ is: line, client })
  }

  private constructor(line: AnyClient) {
    this.#line = line
    const { client } = line
    client.onclose = () => void this.closes++
    client.onerror = (error) => void this.errors.push(error)
    client.fallbackRequestHandler = answerServer
    client.fallbackNotificationHandler = async (notification) => void this.told.push(notification)
  }

  async connect(transport: SealedTransport): Promise<void> {
    await this.#line.client.connect(transport)
  }

  async close(): Promise<void> {
    await this.#line.client.close()
  }

  /** What the server is called that answered. */
  get server(): string | undefined {
    return this.#line.client.getServerVersion()?.name
  }

  /** The text of a tool's result. */
  async call(name: string, args: Record<string, unknown> = {}, options: CallOptions = {}): Promise<string> {
    const params = { name, arguments: args }
    const { content } =
      this.#line.is === '1.x'
        ? await this.#line.client.callTool(params, undefined, options)
        : await this.#line.client.callTool(params, options)
    const [first] = content as readonly { readonly text?: string }[]
    return first?.text ?? ''
  }

  async tools(): Promise<readonly string[]> {
    return (await this.#line.client.listTools()).tools.map(({ name }) => name)
  }

  async read(): Promise<unknown> {
    return (await this.#line.client.readResource({ uri: RESOURCE })).contents
  }

  async subscribe(): Promise<void> {
    await this.#line.client.subscribeResource({ uri: RESOURCE })
  }

  async setLevel(level: 'debug' | 'error'): Promise<void> {
    await this.#line.client.setLoggingLevel(level)
  }

  async sayRootsChanged(): Promise<void> {
    await this.#line.client.sendRootsListChanged()
  }
}

async function answerServer({
  method,
  params = {},
}: {
  readonly method: string
  readonly params?: Readonly<Record<string, unknown>> | undefined
}): Promise<Record<string, unknown>> {
  switch (method) {
    case 'sampling/createMessage':
      return {
        model: 'test',
        role: 'assistant',
        content: { type: 'text', text: `${params['maxTokens']} tokens` },
      }
    case 'elicitation/create':
      return { action: 'accept', content: { name: 'Ada' } }
    case 'roots/list':
      return { roots: [{ uri: 'file:///srv', name: 'srv' }] }
    default:
      throw new Error(`no such method: ${method}`)
  }
}
