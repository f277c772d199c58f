import { SubrosaError } from '../../base/errors.ts'
import { MAX_WAITING_MESSAGES } from '../../base/limits.ts'
import { engineFor } from '../../crypto/engine.ts'
import { isObject } from '../../json/objects.ts'
import { OwnRequests } from '../pipes/own-requests.ts'
import { endSink, type MessagePipe, type PipeSink } from '../pipes/pipe.ts'
import {
  errorResponse,
  INVALID_REQUEST,
  type JsonRpcId,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
  readMessage,
} from '../policy/json-rpc.ts'
import { type PinToolsOptions, ToolCheck } from './tool-check.ts'
import { ToolRefusals } from './tool-refusals.ts'

/** Of requests that wait for a check; one alone may be longer. */
const MAX_WAITING_BYTES = 16 * 1024 * 1024

/** A pipe to a server whose tools are pinned. */
export interface PinnedPipe extends MessagePipe {
  /** To be called when the session below is lost and another one may follow: its server may be another replica. */
  sessionLost(): void
}

/**
 * Stands between a host and a server, and keeps tools from the host that nobody has accepted: those that the server
 * lists at the first use are pinned, and what differs from the pins later is refused until it is accepted.
 *
 * Before the first `tools/list` or `tools/call` goes on, this side lists the tools itself and compares them; so again
 * after `notifications/tools/list_changed`, and when the session was lost. These requests wait meanwhile, in order, and
 * others overtake them. Each answer to a host's own `tools/list` is compared too: a host sees no tool that is not
 * pinned, whatever a server says to whom. What is refused is answered with an error, and everything else passes byte for
 * byte, but for what cannot be told apart: responses to nothing that was asked, and messages that readers would
 * understand differently.
 *
 * It knows all revisions of MCP: since 2026-07-28, where each request says what its client is, this side's requests
 * repeat what the request says that waits for them. Only tools are pinned: instructions, prompts and resources of a
 * server are not.
 *
 * @example
 * ```ts
 * const pinned = pinTools(session, { server: 'fs', identity: () => peer.identity, store, report })
 * ```
 */
export function pinTools(pipe: MessagePipe, options: PinToolsOptions): PinnedPipe {
  return new CheckingPipe(pipe, options)
}

interface Asked {
  readonly id: JsonRpcId
  readonly method: string
}

class CheckingPipe implements PinnedPipe {
  readonly #pipe: MessagePipe
  readonly #report: PinToolsOptions['report']
  readonly #own: OwnRequests
  readonly #refusals: ToolRefusals
  readonly #check: ToolCheck
  /** Requests of the host that the server has not answered, by their ids as text: to some readers `1` is `"1"`. */
  readonly #asked = new Map<string, Asked>()
  /** Requests of the host that wait for a check, in order. */
  readonly #waiting: JsonRpcRequest[] = []
  #sink: PipeSink | undefined
  #lastDelivery: Promise<void> = Promise.resolve()
  #isWorking = false
  #isOver = false
  #hasDropped = false

  constructor(pipe: MessagePipe, options: PinToolsOptions) {
    this.#pipe = pipe
    this.#report = options.report
    this.#own = new OwnRequests(options.engine ?? engineFor(), (message) => pipe.send(message))
    this.#refusals = new ToolRefusals(options)
    this.#check = new ToolCheck(options, this.#own, this.#refusals)
  }

  async open(sink: PipeSink): Promise<void> {
    this.#sink = sink
    await this.#pipe.open({
      message: (message) => this.#fromServer(message),
      closed: (error) => this.#end(error),
    })
  }

  async send(raw: Uint8Array): Promise<void> {
    if (this.#isOver) return this.#pipe.send(raw)
    const message = readMessage(raw)
    if (message === undefined) return this.#answer(undefined, 'not one message that every reader reads alike')
    if (message.kind === 'request') return this.#request(message)
    if (message.kind === 'notification' && this.#cancels(message)) return
    await this.#pipe.send(raw)
  }

  async close(error?: Error): Promise<void> {
    this.#stop()
    await this.#pipe.close(error)
  }

  sessionLost(): void {
    this.#check.sessionLost()
  }

  async #request(request: JsonRpcRequest): Promise<void> {
    const { id, method } = request
    if (this.#isTaken(id)) return this.#answer(id, 'this id is of a request that is not answered yet')
    const needsTools = method === 'tools/list' || method === 'tools/call'
    if (!needsTools || (this.#check.isFresh && !this.#isWorking)) return this.#forward(request)
    if (!this.#hasRoomFor(request)) return this.#answer(id, 'too many requests wait for a check of the tools')
    this.#waiting.push(request)
    void this.#work()
  }

  #isTaken(id: JsonRpcId): boolean {
    const isWaiting = this.#waiting.some((waiting) => String(waiting.id) === String(id))
    return isWaiting || this.#asked.has(String(id)) || this.#own.owns(id)
  }

  #hasRoomFor({ raw }: JsonRpcRequest): boolean {
    const bytes = this.#waiting.reduce((sum, waiting) => sum + waiting.raw.length, raw.length)
    const isFull = this.#waiting.length >= MAX_WAITING_MESSAGES || bytes > MAX_WAITING_BYTES
    return this.#waiting.length === 0 || !isFull
  }

  /** @returns whether it cancels a request that waits: then there is nothing for the server to cancel */
  #cancels({ method, params }: JsonRpcNotification): boolean {
    if (method !== 'notifications/cancelled' || !isObject(params)) return false
    const { requestId } = params
    const key = String(requestId)
    // Whoever takes a request back reads no answer to it any more.
    if (this.#asked.get(key)?.id === requestId) this.#asked.delete(key)
    const at = this.#waiting.findIndex(({ id }) => id === requestId)
    if (at >= 0) this.#waiting.splice(at, 1)
    return at >= 0
  }

  async #forward({ id, method, raw }: JsonRpcRequest): Promise<void> {
    this.#asked.set(String(id), { id, method })
    try {
      await this.#pipe.send(raw)
    } catch (error) {
      this.#asked.delete(String(id))
      throw error
    }
  }

  /** Has the tools checked as often as they must be, and lets go what waits for that, in order. */
  async #work(): Promise<void> {
    if (this.#isWorking) return
    this.#isWorking = true
    for (let first = this.#waiting[0]; first !== undefined && !this.#isOver; first = this.#waiting[0]) {
      const refusal = this.#check.isFresh ? undefined : await this.#check.run(first.params)
      do {
        const request = this.#waiting.shift()
        if (request !== undefined) await this.#settle(request, refusal)
      } while (this.#waiting.length > 0 && (refusal !== undefined || this.#check.isFresh))
    }
    this.#isWorking = false
  }

  /** Whoever sent it waits for the answer alone: what goes wrong is one. */
  async #settle(request: JsonRpcRequest, refusal: string | undefined): Promise<void> {
    const refuse = (why: string) => this.#deliver(this.#refusals.answer(request.id, why)).catch(() => {})
    if (refusal !== undefined) return refuse(refusal)
    await this.#forward(request).catch((error: unknown) => refuse(this.#refusals.failed(error)))
  }

  #fromServer(raw: Uint8Array): Promise<void> | undefined {
    const message = readMessage(raw)
    if (message === undefined) return this.#drop()
    if (message.kind === 'notification' && message.method === 'notifications/tools/list_changed')
      this.#check.doubt()
    if (message.kind !== 'response' || message.id === undefined) return this.#deliver(raw)
    return this.#own.owns(message.id) ? this.#own.take(message) : this.#response(message)
  }

  #response(response: JsonRpcResponse): Promise<void> | undefined {
    const asked = this.#asked.get(String(response.id))
    if (asked === undefined || asked.id !== response.id) return undefined
    this.#asked.delete(String(response.id))
    return this.#deliver(this.#shownOf(response, asked))
  }

  /** What the host gets to read of an answer. */
  #shownOf(response: JsonRpcResponse, { id, method }: Asked): Uint8Array {
    const { raw, result } = response
    if (result === undefined) return raw
    if (method === 'initialize' || method === 'server/discover') this.#check.noteCapabilities(result)
    const refusal = method === 'tools/list' ? this.#check.whyNotShown(response) : undefined
    if (refusal === undefined) return raw
    this.#check.doubt()
    return this.#refusals.answer(id, refusal)
  }

  /** Said once: a server that speaks in a way of its own does so always. */
  #drop(): undefined {
    if (this.#hasDropped) return
    this.#hasDropped = true
    const error = new SubrosaError(
      'ERR_MALFORMED',
      'the server sent what is not one message that every reader reads alike: it went no further',
    )
    this.#report({ kind: 'failed', error })
  }

  #answer(id: JsonRpcId | undefined, why: string): Promise<void> {
    return this.#deliver(errorResponse(id, INVALID_REQUEST, why))
  }

  /** Hands a message to the host after those before it. */
  #deliver(message: Uint8Array): Promise<void> {
    const delivery = this.#lastDelivery.then(() => (this.#isOver ? undefined : this.#sink?.message(message)))
    this.#lastDelivery = delivery.catch(() => {})
    return delivery
  }

  #end(error: Error | undefined): void {
    void this.#lastDelivery.then(() => {
      this.#stop()
      if (this.#sink !== undefined) endSink(this.#sink, error)
    })
  }

  #stop(): void {
    this.#isOver = true
    this.#waiting.length = 0
    this.#check.stop()
  }
}
