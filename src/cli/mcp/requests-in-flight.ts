import type { JSONRPCMessage, JSONRPCRequest, RequestId } from '@modelcontextprotocol/server'
import type { HttpExchange } from './http/http-exchange.ts'

/** A request that an HTTP client waits for. */
export interface RequestInFlight {
  readonly id: RequestId
  readonly method: string
  /** Under what the client wants to hear of its progress. */
  readonly progressToken: string | number | undefined
  /** What carries its response, and whatever belongs to it before that. */
  readonly exchange: HttpExchange
}

/** The requests of one HTTP session that have no response yet, the oldest first. */
export class RequestsInFlight {
  readonly #requests = new Map<RequestId, RequestInFlight>()

  has(id: RequestId): boolean {
    return this.#requests.has(id)
  }

  add({ id, method, params }: JSONRPCRequest, exchange: HttpExchange): void {
    this.#requests.set(id, { id, method, progressToken: params?._meta?.progressToken, exchange })
  }

  /** The request of this id, which is in flight no more. */
  take(id: RequestId): RequestInFlight | undefined {
    const request = this.#requests.get(id)
    this.#requests.delete(id)
    return request
  }

  /** All of them, which are in flight no more. */
  takeAll(): readonly RequestInFlight[] {
    const all = [...this.#requests.values()]
    this.#requests.clear()
    return all
  }

  /** Whether another request waits in the same exchange. */
  shares(exchange: HttpExchange): boolean {
    return [...this.#requests.values()].some((request) => request.exchange === exchange)
  }

  /**
   * The request with which a message of the server's goes to the client. Progress goes to the request that asked for
   * it. Of everything else nobody says what it belongs to: over stdio that is lost. So it goes with the only request
   * that somebody waits for; where there are several, on the client's own stream, and without such a stream with the
   * newest of them.
   *
   * @returns `undefined` where it goes on the client's own stream, or nowhere yet
   */
  carrierOf(message: JSONRPCMessage, hasOwnStream: boolean): RequestInFlight | undefined {
    const waiting = [...this.#requests.values()].filter(({ exchange }) => exchange.isOpen)
    const token = progressTokenOf(message)
    const asked =
      token === undefined ? undefined : waiting.find(({ progressToken }) => progressToken === token)
    if (asked !== undefined) return asked
    return hasOwnStream && waiting.length !== 1 ? undefined : waiting.at(-1)
  }
}

function progressTokenOf(message: JSONRPCMessage): unknown {
  if (!('method' in message) || message.method !== 'notifications/progress') return undefined
  return message.params?.['progressToken']
}
