import { SubrosaError } from '../../../base/errors.ts'
import type { MessagePipe, PipeSink } from '../../../mcp/pipes/pipe.ts'
import { reportFailure } from '../../terminal/failure.ts'
import { note, OutputClosed, type Terminal } from '../../terminal/terminal.ts'
import { asLine, LineSplitter, readLines } from './stdio-lines.ts'

/**
 * The host that has started this process: a message is a line on standard input or output, and nothing else is written
 * there. The end of the input ends it, and so does a host that reads no more: neither is an error.
 *
 * @example
 * ```ts
 * const host = new StdioPipe(terminal)
 * await host.open({ message: (message) => server.send(message), closed: () => server.close() })
 * ```
 */
export class StdioPipe implements MessagePipe {
  readonly #terminal: Terminal
  readonly #splitter: LineSplitter
  #sink: PipeSink | undefined
  #isEnded = false

  /** @param maxMessage bytes of the longest message that is read; a longer one is reported and skipped */
  constructor(terminal: Terminal, maxMessage?: number) {
    this.#terminal = terminal
    this.#splitter = new LineSplitter(maxMessage)
  }

  async open(sink: PipeSink): Promise<void> {
    if (this.#isEnded) throw closedPipe()
    this.#sink = sink
    void this.#read(sink)
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#isEnded) throw closedPipe()
    try {
      await this.#terminal.write(asLine(message))
    } catch (error) {
      this.#end(error instanceof OutputClosed ? undefined : asError(error))
      throw closedPipe()
    }
  }

  async close(): Promise<void> {
    this.#end(undefined)
  }

  async #read(sink: PipeSink): Promise<void> {
    try {
      await readLines(this.#terminal.input.read(), this.#splitter, (line) => {
        // What comes after the end is read and dropped, so that nobody hangs who still writes.
        if (this.#isEnded) return
        if (line instanceof SubrosaError) reportFailure(this.#terminal, line)
        else return sink.message(line)
      })
    } catch (error) {
      return this.#end(asError(error))
    }
    const { pendingBytes } = this.#splitter
    if (pendingBytes > 0)
      note(this.#terminal, `the input ends within a line: its ${pendingBytes} bytes are left out`)
    this.#end(undefined)
  }

  #end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#sink?.closed(error)
  }
}

function closedPipe(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'the pipe to the host is closed')
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('something that is no error was thrown')
}
