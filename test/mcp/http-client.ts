import { request } from 'node:http'
import { field } from './pipes.ts'

/** An HTTP answer, whose events are read as they come. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  /** The messages of an event stream, or of a JSON body. */
  readonly messages: unknown[]
  /** Resolves when the answer has ended. */
  readonly ended: Promise<void>
  /** Goes away. */
  readonly leave: () => void
}

const HEADERS = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' }

export const INITIALIZE = {
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'hand', version: '1' } },
}

/** Sends one HTTP request, and reads its answer in the background. */
export async function send(
  method: string,
  url: string,
  options: { readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  const { body, headers = {} } = options
  const abort = new AbortController()
  const response = await fetch(url, {
    method,
    headers: { ...HEADERS, ...headers },
    signal: abort.signal,
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const messages: unknown[] = []
  return {
    status: response.status,
    headers: response.headers,
    messages,
    ended: read(response, messages).catch(() => {}),
    leave: () => abort.abort(),
  }
}

async function read(response: Response, messages: unknown[]): Promise<void> {
  if (response.headers.get('content-type') !== 'text/event-stream') {
    const text = await response.text()
    if (text !== '') messages.push(JSON.parse(text))
    return
  }
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true })
    const events = text.split('\n\n')
    text = events.pop() ?? ''
    for (const event of events) {
      const data = event.split('\n').find((line) => line.startsWith('data: '))
      if (data !== undefined) messages.push(JSON.parse(data.slice('data: '.length)))
    }
  }
}

/** A client of MCP by hand: it does over HTTP what the test says, and nothing else. */
export class HandClient {
  readonly #url: string
  readonly session: string

  private constructor(url: string, session: string) {
    this.#url = url
    this.session = session
  }

  /** Begins a session. `answer` answers `initialize` at the other end. */
  static async begin(url: string, answer: (id: unknown) => Promise<void>): Promise<HandClient> {
    const begun = await send('POST', url, { body: INITIALIZE })
    await answer(INITIALIZE.id)
    await begun.ended
    return new HandClient(url, begun.headers.get('mcp-session-id') ?? '')
  }

  post(body: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return send('POST', this.#url, { body, headers: { 'mcp-session-id': this.session, ...headers } })
  }

  /** Calls a tool, with the progress token where there is one. */
  call(id: number | string, progressToken?: number | string): Promise<Answer> {
    const params = { name: 'x', ...(progressToken !== undefined && { _meta: { progressToken } }) }
    return this.post({ jsonrpc: '2.0', id, method: 'tools/call', params })
  }

  get(): Promise<Answer> {
    return send('GET', this.#url, { headers: { 'mcp-session-id': this.session } })
  }

  delete(): Promise<Answer> {
    return send('DELETE', this.#url, { headers: { 'mcp-session-id': this.session } })
  }
}

/** Sends a request with headers that `fetch` does not let through. @returns its status */
export function sendAs(url: string, headers: Readonly<Record<string, string>>): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', headers: { ...HEADERS, ...headers } }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    sent.once('error', reject)
    sent.end(JSON.stringify(INITIALIZE))
  })
}

/** Code and message of an error of JSON-RPC. */
export function errorIn(message: unknown): { readonly code: unknown; readonly message: unknown } {
  return { code: field(message, 'error', 'code'), message: field(message, 'error', 'message') }
}

/** Tries until it succeeds; fails with `what` when it does not within 15 s. */
export async function retry(what: string, attempt: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!(await attempt())) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
