import { hex } from '../../base/bytes.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { encodeMessage, type JsonRpcId, type JsonRpcResponse } from '../policy/json-rpc.ts'

const TOKEN_BYTES = 16

/**
 * Requests that this side makes of a server by itself, beside those that pass it. Their ids begin with what nobody can
 * guess, so that no other request has one of them.
 */
export class OwnRequests {
  readonly #send: (message: Uint8Array) => Promise<void>
  readonly #prefix: string
  readonly #unanswered = new Map<JsonRpcId, (response: JsonRpcResponse) => void>()
  #count = 0

  constructor(engine: CryptoEngine, send: (message: Uint8Array) => Promise<void>) {
    this.#send = send
    this.#prefix = `subrosa-${hex(engine.randomBytes(TOKEN_BYTES))}-`
  }

  /** The server's answer. @throws what sending throws, and what the signal is aborted with */
  async ask(method: string, params: object, signal: AbortSignal): Promise<JsonRpcResponse> {
    signal.throwIfAborted()
    const id = `${this.#prefix}${this.#count++}`
    let abort = (): void => {}
    const answer = new Promise<JsonRpcResponse>((resolve, reject) => {
      abort = () => reject(signal.reason)
      signal.addEventListener('abort', abort)
      this.#unanswered.set(id, resolve)
    })
    try {
      const request = encodeMessage({ jsonrpc: '2.0', id, method, params })
      const [response] = await Promise.all([answer, this.#send(request)])
      return response
    } finally {
      signal.removeEventListener('abort', abort)
      this.#unanswered.delete(id)
    }
  }

  /** Whether an id is of a request of this side, now or before. */
  owns(id: JsonRpcId | undefined): boolean {
    return typeof id === 'string' && id.startsWith(this.#prefix)
  }

  /** Takes the answer to a request of this side. One that comes too late does nothing. */
  take(response: JsonRpcResponse): undefined {
    if (response.id !== undefined) this.#unanswered.get(response.id)?.(response)
  }
}
