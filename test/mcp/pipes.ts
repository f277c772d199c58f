import { InMemoryTransport } from '@modelcontextprotocol/sdk/inMemory.js'
import type { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { JSONRPCMessageSchema } from '@modelcontextprotocol/sdk/types.js'
import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import type { MessagePipe, PipeSink } from '../../src/mcp/pipes/pipe.ts'

/** One field of what was read from JSON, or `undefined`. */
export function field(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found: unknown = value
  for (const key of path)
    found =
      typeof found === 'object' && found !== null
        ? new Map(Object.entries(found)).get(String(key))
        : undefined
  return found
}

/** A promise that the test resolves. */
export function latch(): { readonly promise: Promise<void>; readonly open: () => void } {
  let open: () => void = () => {}
  const promise = new Promise<void>((resolve) => {
    open = resolve
  })
  return { promise, open: () => open() }
}

/** A pipe of which the test plays the other end. */
export class HandPipe implements MessagePipe {
  /** What was sent into it, as JSON. */
  readonly sent: unknown[] = []
  isOpen = false
  isClosed = false
  /** Sends fail with it, or the opening does. */
  failure: Error | undefined
  /** It is open only when this has resolved. */
  opening: Promise<void> = Promise.resolve()
  /** It takes the next message only when this has resolved. */
  taking: Promise<void> = Promise.resolve()
  /** It is closed only when this has resolved. */
  closing: Promise<void> = Promise.resolve()
  readonly #sink: Promise<PipeSink>
  #opened: (sink: PipeSink) => void = () => {}

  constructor() {
    this.#sink = new Promise((resolve) => {
      this.#opened = resolve
    })
  }

  async open(sink: PipeSink): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    this.#opened(sink)
    await this.opening
    this.isOpen = true
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.failure !== undefined) throw this.failure
    await this.taking
    this.sent.push(JSON.parse(fromUtf8(message) ?? ''))
  }

  async close(): Promise<void> {
    if (this.isClosed || !this.isOpen) return
    await this.closing
    this.isClosed = true
    const sink = await this.#sink
    sink.closed(undefined)
  }

  /** Lets a message come out of it. Resolves when the next one may. */
  async deliver(message: unknown): Promise<void> {
    const sink = await this.#sink
    await sink.message(utf8(typeof message === 'string' ? message : JSON.stringify(message)))
  }

  /** Ends it from the other end. */
  async end(error?: Error): Promise<void> {
    this.isClosed = true
    const sink = await this.#sink
    sink.closed(error)
  }
}

/** A pipe that leads to a server in this process. */
export function pipeTo(server: Server): MessagePipe {
  const [here, there] = InMemoryTransport.createLinkedPair()
  return {
    async open(sink) {
      let delivered = Promise.resolve()
      here.onmessage = (message) => {
        delivered = delivered.then(() => sink.message(utf8(JSON.stringify(message))))
      }
      here.onclose = () => sink.closed(undefined)
      await server.connect(there)
      await here.start()
    },
    send: (message) => here.send(JSONRPCMessageSchema.parse(JSON.parse(fromUtf8(message) ?? ''))),
    close: () => here.close(),
  }
}

/** What takes from a pipe, and keeps it for the test. */
export class HandSink implements PipeSink {
  readonly messages: unknown[] = []
  /** The calls of `closed`. */
  readonly ends: (Error | undefined)[] = []
  /** Messages are taken only when what it returns has resolved. */
  gate: () => Promise<void> = async () => {}

  readonly message = async (message: Uint8Array): Promise<void> => {
    await this.gate()
    this.messages.push(JSON.parse(fromUtf8(message) ?? ''))
  }

  readonly closed = (error: Error | undefined): void => {
    this.ends.push(error)
  }
}
