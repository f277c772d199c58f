import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import type { PinnedTools, ToolPinStore } from '../../src/mcp/pins/tool-pins.ts'
import type { ToolReport } from '../../src/mcp/pins/tool-refusals.ts'
import type { MessagePipe, PipeSink } from '../../src/mcp/pipes/pipe.ts'
import { type JsonRpcRequest, readMessage } from '../../src/mcp/policy/json-rpc.ts'
import { engine } from '../support/identities.ts'

/** The public identity keys of two servers. */
export const SERVER = encodeNkey('U', engine.ed25519KeyPair().publicKey)
export const OTHER_SERVER = encodeNkey('U', engine.ed25519KeyPair().publicKey)

/** A tool as servers write them. */
export function tool(name: string, more: object = {}): object {
  return { name, description: `Does ${name}.`, inputSchema: { type: 'object', properties: {} }, ...more }
}

/** A server made by hand, at the far end of a pipe in memory. It answers each request in a turn of its own. */
export class HandToolServer implements MessagePipe {
  tools: readonly object[] = []
  pageSize = Number.MAX_SAFE_INTEGER
  capabilities: object = { tools: { listChanged: true } }
  /** What it says in the place of its usual answer; nothing at all for an empty text. */
  answer: (request: JsonRpcRequest) => string | undefined = () => undefined
  /** Every message that came here, as it came. */
  readonly heard: string[] = []
  #sink: PipeSink | undefined
  #isClosed = false

  async open(sink: PipeSink): Promise<void> {
    this.#sink = sink
  }

  async send(raw: Uint8Array): Promise<void> {
    if (this.#isClosed) throw new SubrosaError('ERR_CLOSED', 'this pipe is closed')
    this.heard.push(fromUtf8(raw) ?? '')
    const message = readMessage(raw)
    if (message?.kind !== 'request') return
    const text = this.answer(message) ?? this.#usualAnswer(message)
    if (text !== '') setImmediate(() => this.say(text))
  }

  async close(): Promise<void> {
    this.end()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  say(text: string): void {
    if (!this.#isClosed) void this.#sink?.message(utf8(text))
  }

  end(error?: Error): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#sink?.closed(error)
  }

  /** The methods of what came here. */
  get methods(): readonly unknown[] {
    return this.heard.map((text) => JSON.parse(text).method)
  }

  /** Those of what came here by this method. */
  heardOf(method: string): readonly JsonRpcRequest['fields'][] {
    return this.heard.map((text) => JSON.parse(text)).filter((message) => message.method === method)
  }

  #usualAnswer({ id, method, params }: JsonRpcRequest): string {
    return JSON.stringify({ jsonrpc: '2.0', id, ...this.#result(method, Object(params)) })
  }

  #result(method: string, params: { readonly cursor?: string; readonly name?: string }): object {
    switch (method) {
      case 'initialize':
        return { result: { protocolVersion: '2025-11-25', capabilities: this.capabilities } }
      case 'tools/list': {
        const start = Number(params.cursor ?? 0)
        const next = start + this.pageSize
        const nextCursor = next < this.tools.length ? String(next) : undefined
        return { result: { tools: this.tools.slice(start, next), nextCursor } }
      }
      case 'tools/call':
        return { result: { content: [{ type: 'text', text: `called ${params.name}` }] } }
      case 'ping':
        return { result: {} }
      default:
        return { error: { code: -32601, message: 'unknown method' } }
    }
  }
}

/** Pins in memory. */
export class HandPinStore implements ToolPinStore {
  pins: PinnedTools | undefined
  /** What it fails with, if it does. */
  failure: Error | undefined
  /** Another process pins these in the moment before this one does. */
  faster: PinnedTools | undefined

  async read(): Promise<PinnedTools | undefined> {
    if (this.failure !== undefined) throw this.failure
    return this.pins
  }

  async create(pins: PinnedTools): Promise<PinnedTools> {
    if (this.failure !== undefined) throw this.failure
    this.pins ??= this.faster ?? pins
    return this.pins
  }

  async replace(pins: PinnedTools): Promise<void> {
    this.pins = pins
  }

  /** The names of what is pinned. */
  get names(): readonly string[] | undefined {
    return this.pins && [...this.pins.tools.keys()]
  }
}

/** What was reported, and of which kind. */
export class Reports {
  readonly all: ToolReport[] = []
  readonly take = (report: ToolReport): void => void this.all.push(report)

  get kinds(): readonly string[] {
    return this.all.map(({ kind }) => kind)
  }

  /** Of the last report of changes, what they are. */
  get lastChanges(): object | undefined {
    const report = this.all.findLast(({ kind }) => kind === 'changed')
    if (report?.kind !== 'changed') return undefined
    const { pinnedIdentity, added, changed, removed } = report.changes
    return {
      ...(pinnedIdentity !== undefined && { pinnedIdentity }),
      added: added.map(({ name }) => name),
      changed: changed.map(({ after, fields }) => `${after.name}: ${fields.join(' ')}`),
      removed,
    }
  }
}
