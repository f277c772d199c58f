import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { SubrosaError } from '../../../base/errors.ts'
import { DEFAULT_MCP_MESSAGE_BYTES } from '../../../base/limits.ts'
import { EventMeter } from '../event-meter.ts'

/** What `fetch` of {@link HttpFetch} is called with: as the global one, as far as MCP's own transport uses it. */
interface Init {
  readonly method?: string
  readonly headers?: ConstructorParameters<typeof Headers>[0]
  readonly body?: unknown
  readonly signal?: AbortSignal | null
}

/** Sockets end before most servers end them: a request on one that has just ended would fail. */
const IDLE_SOCKET_MS = 4000
const PROBE_MS = 30_000
/** More than what JSON or an event has around a message. */
const OVERHEAD_BYTES = 1024
const WITHOUT_BODY = new Set([204, 205, 304])

/**
 * Requests over HTTP whose answers may take as long as they like, where the global `fetch` gives up after five minutes
 * of silence: tools run longer than that. Redirects are not followed. It reads on only when what it read was taken,
 * and nothing that is longer than a message.
 */
export class HttpFetch {
  readonly #agents = {
    'http:': new HttpAgent({ keepAlive: true, timeout: IDLE_SOCKET_MS }),
    'https:': new HttpsAgent({ keepAlive: true, timeout: IDLE_SOCKET_MS }),
  }
  readonly #taken: () => Promise<void>
  readonly #onTooLong: (error: SubrosaError) => void

  /**
   * @param taken resolves when all that was read has been taken
   * @param onTooLong called when an answer ends because there is too much of it
   */
  constructor(taken: () => Promise<void>, onTooLong: (error: SubrosaError) => void) {
    this.#taken = taken
    this.#onTooLong = onTooLong
  }

  readonly fetch = (url: string | URL, init: Init = {}): Promise<Response> =>
    new Promise((resolve, reject) => {
      const { method = 'GET', headers, body, signal } = init
      const target = new URL(url)
      const isTls = target.protocol === 'https:'
      const options: RequestOptions = {
        method,
        headers: Object.fromEntries(new Headers(headers)),
        agent: this.#agents[isTls ? 'https:' : 'http:'],
        ...(signal instanceof AbortSignal && { signal }),
      }
      const request = isTls ? httpsRequest(target, options) : httpRequest(target, options)
      request.setSocketKeepAlive(true, PROBE_MS)
      request.once('response', (incoming) => resolve(this.#responseOf(incoming)))
      // It may come after the response too, where nobody hears it: the body ends with it.
      request.on('error', reject)
      request.end(typeof body === 'string' ? body : undefined)
    })

  /** Ends the connections that are open and unused. */
  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy()
  }

  async #responseOf(incoming: IncomingMessage): Promise<Response> {
    const { statusCode = 0, statusMessage = '', headers } = incoming
    const init = {
      status: statusCode,
      statusText: statusMessage,
      headers: Object.entries(headers).flatMap(([name, value]) =>
        typeof value === 'string' ? [[name, value] satisfies [string, string]] : [],
      ),
    }
    if (!WITHOUT_BODY.has(statusCode)) return new Response(ReadableStream.from(this.#bodyOf(incoming)), init)
    incoming.resume()
    return new Response(null, init)
  }

  async *#bodyOf(incoming: IncomingMessage): AsyncGenerator<Uint8Array> {
    const events = incoming.headers['content-type']?.startsWith('text/event-stream')
      ? new EventMeter()
      : undefined
    let bytes = 0
    for await (const chunk of incoming) {
      if (!(chunk instanceof Uint8Array)) continue
      bytes = events === undefined ? bytes + chunk.length : events.add(chunk)
      if (bytes > DEFAULT_MCP_MESSAGE_BYTES + OVERHEAD_BYTES) {
        const error = tooLong()
        this.#onTooLong(error)
        throw error
      }
      await this.#taken()
      yield chunk
    }
  }
}

function tooLong(): SubrosaError {
  return new SubrosaError('ERR_MESSAGE_TOO_LARGE', 'the MCP server sent a message that is too long', {
    hint: `a message has at most ${DEFAULT_MCP_MESSAGE_BYTES} bytes`,
  })
}
