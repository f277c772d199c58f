import type { IncomingMessage, ServerResponse } from 'node:http'

/** One request's answer on its way to an HTTP client, which may take long and come in pieces. */
export class HttpExchange {
  /** Resolves when everything is written, or nobody is there any more who would read it. */
  readonly ended: Promise<void>
  readonly #out: ServerResponse
  #hasEnded = false
  #room: Promise<void> = Promise.resolve()

  constructor(out: ServerResponse) {
    this.#out = out
    this.ended = new Promise((resolve) => {
      out.once('close', () => {
        this.#hasEnded = true
        resolve()
      })
    })
  }

  /** Whether the client may still hear something. */
  get isOpen(): boolean {
    return !this.#hasEnded
  }

  /** Resolves when the client has taken what was written, or is gone. */
  room(): Promise<void> {
    return this.#room
  }

  /** Begins to write the answer. Called once. */
  start(answer: Response): void {
    const body = answer.body?.getReader()
    if (this.#hasEnded) {
      void body?.cancel()
      return
    }
    this.#out.writeHead(answer.status, Object.fromEntries(answer.headers))
    this.#out.flushHeaders()
    if (body === undefined) {
      this.#out.end()
      return
    }
    void this.ended.then(() => body.cancel())
    void this.#write(body)
  }

  async #write(body: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    for (;;) {
      const { value, done } = await body.read()
      if (done || this.#hasEnded) break
      if (this.#out.write(value)) continue
      this.#room = this.#drained()
      await this.#room
    }
    this.#out.end()
  }

  #drained(): Promise<void> {
    return Promise.race([new Promise<void>((resolve) => this.#out.once('drain', resolve)), this.ended])
  }
}

/**
 * The body of a request.
 *
 * @returns `undefined` where it is longer: nothing of it is kept, and the rest is read so that the client reads the
 * answer. Also where the client goes away in the middle of it.
 */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    let chunks: Uint8Array[] = []
    let length = 0
    request.on('data', (chunk: Uint8Array) => {
      length += chunk.length
      if (length <= maxBytes) chunks.push(chunk)
      else {
        chunks = []
        resolve(undefined)
      }
    })
    request.once('end', () => resolve(Buffer.concat(chunks)))
    request.once('close', () => resolve(undefined))
  })
}
