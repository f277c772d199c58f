import { copy } from '../../base/bytes.ts'
import { MCP_WINDOW_BYTES } from '../../base/limits.ts'
import { McpEnd, type McpFrame } from './frames.ts'
import { costOf } from './outgoing.ts'

/** What the receiving half of a session works with. */
export interface IncomingOptions {
  /** The longest message that is taken. */
  readonly maxMessage: number
  /** Tells the other side how many bytes it may have sent in all. */
  readonly grant: (limit: number) => void
  /** Handing on a message has failed. */
  readonly onError: (error: unknown) => void
}

type Take = (message: Uint8Array) => void | Promise<void>

interface Assembly {
  readonly total: number
  /** Memory for what has come: it grows with that, and not with what was said of the length. */
  memory: Uint8Array
  length: number
  /** What its parts take of the credit. */
  cost: number
}

interface Ready {
  readonly message: Uint8Array
  /** What it takes of the credit until it is handed on. */
  readonly cost: number
}

/**
 * The receiving half of a session: puts messages together and hands them on, one after the other. Credit for a message
 * is given again when it was handed on, and for the parts of one when nothing waits before it, so that what waits here
 * never exceeds the window and one message.
 */
export class Incoming {
  readonly #options: IncomingOptions
  readonly #ready: Ready[] = []
  #take: Take | undefined
  #assembly: Assembly | undefined
  #received = 0
  #done = 0
  #granted = MCP_WINDOW_BYTES
  #isHandingOn = false
  #isOver = false
  #onIdle: (() => void) | undefined

  constructor(options: IncomingOptions) {
    this.#options = options
  }

  /** Begins to hand on. */
  start(take: Take): void {
    this.#take = take
    void this.#handOn()
  }

  /** Takes a frame with content, the next one in order. @returns why the session must end, if it must */
  add(frame: Extract<McpFrame, { readonly content: Uint8Array }>): McpEnd | undefined {
    const { content } = frame
    const cost = costOf(content.length)
    this.#received += cost
    if (this.#received > this.#granted) return McpEnd.limit
    const { maxMessage } = this.#options
    if (frame.kind === 'message') {
      if (this.#assembly !== undefined) return McpEnd.malformed
      if (content.length > maxMessage) return McpEnd.limit
      // What waits is copied: it is a part of something larger that was opened.
      this.#push({ message: this.#isIdle ? content : copy(content), cost })
      return undefined
    }
    if (frame.kind === 'first') {
      if (this.#assembly !== undefined) return McpEnd.malformed
      if (frame.total > maxMessage) return McpEnd.limit
      this.#assembly = { total: frame.total, memory: new Uint8Array(0), length: 0, cost: 0 }
    }
    return this.#assemble(content, cost)
  }

  /** Hands on nothing more. */
  stop(): void {
    this.#isOver = true
    this.#ready.length = 0
    this.#assembly = undefined
  }

  /** Calls back when everything was handed on that has come so far. */
  whenIdle(callback: () => void): void {
    if (this.#isIdle) callback()
    else this.#onIdle = callback
  }

  get #isIdle(): boolean {
    return this.#ready.length === 0 && !this.#isHandingOn
  }

  #assemble(content: Uint8Array, cost: number): McpEnd | undefined {
    const assembly = this.#assembly
    // Every part takes the message further: an empty one would only be counted.
    if (assembly === undefined || content.length === 0) return McpEnd.malformed
    if (assembly.length + content.length > assembly.total) return McpEnd.malformed
    append(assembly, content)
    assembly.cost += cost
    if (assembly.length < assembly.total) {
      this.#settleParts()
      return undefined
    }
    this.#assembly = undefined
    this.#push({ message: assembly.memory.subarray(0, assembly.length), cost: assembly.cost })
    return undefined
  }

  #push(ready: Ready): void {
    this.#ready.push(ready)
    void this.#handOn()
  }

  async #handOn(): Promise<void> {
    if (this.#isHandingOn || this.#take === undefined) return
    this.#isHandingOn = true
    for (let next = this.#ready.shift(); next !== undefined; next = this.#ready.shift()) {
      try {
        const taken = this.#take(next.message)
        if (taken !== undefined) await taken
      } catch (error) {
        this.#options.onError(error)
      }
      if (this.#isOver) break
      this.#settle(next.cost)
    }
    this.#isHandingOn = false
    this.#settleParts()
    this.#onIdle?.()
  }

  /** A message may be longer than the window: the rest of it needs the credit of what has come. */
  #settleParts(): void {
    const assembly = this.#assembly
    if (assembly === undefined || !this.#isIdle) return
    const { cost } = assembly
    assembly.cost = 0
    this.#settle(cost)
  }

  /** Gives credit again in large steps: each is a message. */
  #settle(cost: number): void {
    this.#done += cost
    const limit = this.#done + MCP_WINDOW_BYTES
    if (limit - this.#granted < MCP_WINDOW_BYTES / 2) return
    this.#granted = limit
    this.#options.grant(limit)
  }
}

function append(assembly: Assembly, content: Uint8Array): void {
  const length = assembly.length + content.length
  if (length > assembly.memory.length) {
    const larger = new Uint8Array(Math.min(assembly.total, Math.max(length, 2 * assembly.memory.length)))
    larger.set(assembly.memory)
    assembly.memory = larger
  }
  assembly.memory.set(content, assembly.length)
  assembly.length = length
}
