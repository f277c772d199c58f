import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { type Clock, systemClock } from '../../../base/clock.ts'
import { SubrosaError } from '../../../base/errors.ts'
import type { PipeSink } from '../../../mcp/pipes/pipe.ts'
import { note, type Terminal } from '../../terminal/terminal.ts'
import { looksLikeMessage, shownLine } from './child-output.ts'
import type { Guardian } from './guardian.ts'
import { LineWriter } from './line-writer.ts'
import { ProcessGroup } from './process-group.ts'
import { LineSplitter, readLines } from './stdio-lines.ts'

/** How an MCP server is handled while it runs. */
export interface RunningOptions {
  /** What it is called where people read of it. */
  readonly name: string
  /** Ends it when this process is killed. */
  readonly guardian: Guardian
  /** The longest message that is read, in bytes; a longer one is reported and skipped. Default 10 MiB. */
  readonly maxMessage?: number
  readonly clock?: Clock
}

/** A server that was started a moment ago. */
interface Started extends RunningOptions {
  readonly child: ChildProcessWithoutNullStreams
  readonly pid: number
  readonly sink: PipeSink
}

/** How long a server that is of no more use may be silent, or take to exit, before it is given up. */
const SETTLE_MS = 200
const MAX_STDERR_LINE_BYTES = 64 * 1024

/** An MCP server from its start until it and everything that it has started is gone. */
export class RunningChild {
  readonly #terminal: Terminal
  readonly #started: Started
  readonly #clock: Clock
  readonly #group: ProcessGroup
  readonly #input: LineWriter
  readonly #errorsRead: Promise<void>
  #isOutputRead = false
  /** How it has exited. */
  #exit: string | undefined
  /** Lets the reader go on that waits until a message is taken. */
  #stopWaiting: (() => void) | undefined
  #isSettling = false
  #isEnded = false
  #gone: Promise<void> | undefined

  /** Everything is set up in one turn: nothing that the server does comes too early. */
  constructor(terminal: Terminal, started: Started) {
    const { child, pid, guardian, clock = systemClock } = started
    this.#terminal = terminal
    this.#started = started
    this.#clock = clock
    this.#group = new ProcessGroup(child, pid, { guardian, clock })
    this.#input = new LineWriter(child.stdin, () => this.#fail('has closed its standard input'))
    child.once('exit', (code, signal) => {
      this.#exit = signal === null ? `has exited with code ${code}` : `was ended by ${signal}`
      this.#fail(this.#exit)
    })
    this.#errorsRead = this.#readErrors()
    void this.#readOutput()
  }

  /** @throws SubrosaError ERR_CLOSED */
  send(message: Uint8Array): Promise<void> {
    return this.#input.send(message)
  }

  /** Ends it, and resolves when all of its group are gone. */
  async close(): Promise<void> {
    this.#end(undefined)
    await this.#gone
  }

  async #readOutput(): Promise<void> {
    const splitter = new LineSplitter(this.#started.maxMessage)
    try {
      await readLines(this.#started.child.stdout, splitter, (line) => this.#take(line))
    } catch (error) {
      // The stream was destroyed, after the end; or a message could not be taken.
      return this.#end(error instanceof Error ? error : undefined)
    }
    if (splitter.pendingBytes > 0)
      this.#say(`(its output ends within a line of ${splitter.pendingBytes} bytes)`)
    this.#isOutputRead = true
    this.#fail('has closed its standard output')
  }

  #take(line: Uint8Array | SubrosaError): void | Promise<void> {
    // Somebody may wait for this message: the end says that it will not come.
    if (line instanceof SubrosaError) return this.#end(line)
    if (!looksLikeMessage(line)) return this.#say(shownLine(line))
    // What comes after the end is read and dropped, so that nobody hangs who still writes.
    if (this.#isEnded) return
    const taken = this.#started.sink.message(line)
    if (taken === undefined) return
    return new Promise((resolve, reject) => {
      this.#stopWaiting = () => {
        this.#stopWaiting = undefined
        resolve()
      }
      taken.then(this.#stopWaiting, reject)
    })
  }

  async #readErrors(): Promise<void> {
    const splitter = new LineSplitter(MAX_STDERR_LINE_BYTES)
    const say = (line: Uint8Array | SubrosaError): void => this.#say(shownLine(line))
    try {
      await readLines(this.#started.child.stderr, splitter, say)
      for (const line of splitter.end()) say(line)
    } catch {
      // It was destroyed, because somebody holds it who has left the group.
    }
  }

  #say(line: string): void {
    note(this.#terminal, `${this.#started.name}: ${line}`)
  }

  /** It is of no more use. What it has written is delivered first, and how it exits says more than `reason`. */
  #fail(reason: string): void {
    this.#input.end()
    void this.#group.end()
    if (this.#isEnded) return
    const error = (): SubrosaError =>
      new SubrosaError('ERR_MCP_ENDED', `the MCP server ${this.#started.name} ${this.#exit ?? reason}`, {
        hint: 'what it has last written to standard error may say why',
      })
    if (this.#exit !== undefined && this.#isOutputRead) this.#end(error())
    else this.#settle(() => this.#end(error()))
  }

  /** Others than the server itself may hold its output, and never close it: silence is enough. */
  #settle(end: () => void): void {
    if (this.#isSettling) return
    this.#isSettling = true
    // Behind what the system has to deliver in this turn.
    const check = (): NodeJS.Immediate =>
      setImmediate(() => {
        const isBusy = this.#stopWaiting !== undefined || this.#started.child.stdout.readableLength > 0
        if (isBusy && !this.#isEnded) this.#clock.after(SETTLE_MS, check)
        else end()
      })
    this.#clock.after(SETTLE_MS, check)
  }

  #end(error: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#input.end()
    this.#stopWaiting?.()
    this.#gone = this.#dispose()
    this.#started.sink.closed(error)
  }

  async #dispose(): Promise<void> {
    await this.#group.end()
    // Its last words.
    await Promise.race([
      this.#errorsRead,
      new Promise<void>((resolve) => this.#clock.after(SETTLE_MS, resolve)),
    ])
    const { stdin, stdout, stderr } = this.#started.child
    for (const stream of [stdin, stdout, stderr]) stream.destroy()
  }
}
