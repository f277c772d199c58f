import type { Writable } from 'node:stream'
import { SubrosaError } from '../../../base/errors.ts'
import { asLine } from './stdio-lines.ts'

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Writes messages as lines to the standard input of a process, no faster than that reads. */
export class LineWriter {
  readonly #stream: Writable
  readonly #waiting: Waiting[] = []
  #isOver = false

  /** @param onBroken called when nobody reads any more, and something was written all the same */
  constructor(stream: Writable, onBroken: () => void) {
    this.#stream = stream
    stream.on('error', onBroken)
    stream.on('drain', () => {
      for (const { resolve } of this.#waiting.splice(0)) resolve()
    })
  }

  /**
   * Resolves when there is room for more.
   *
   * @throws SubrosaError ERR_CLOSED after the end, also to who waits when it comes
   */
  async send(message: Uint8Array): Promise<void> {
    if (this.#isOver) throw closedInput()
    if (this.#stream.write(asLine(message))) return
    await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** The process gets what is written, and then the end of its input. */
  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stream.end()
    for (const { reject } of this.#waiting.splice(0)) reject(closedInput())
  }
}

function closedInput(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'the pipe to the MCP server is closed')
}
