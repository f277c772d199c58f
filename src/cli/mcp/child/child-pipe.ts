import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { SubrosaError } from '../../../base/errors.ts'
import type { MessagePipe, PipeSink } from '../../../mcp/pipes/pipe.ts'
import type { Terminal } from '../../terminal/terminal.ts'
import { RunningChild, type RunningOptions } from './running-child.ts'

/** Which MCP server is run, and how. */
export interface ChildPipeOptions extends RunningOptions {
  readonly command: string
  readonly args: readonly string[]
  /** All of its environment: see `childEnvironment`. */
  readonly env: Readonly<Record<string, string>>
}

/**
 * An MCP server that runs as a child process: started as it stands and by no shell, with an environment and a process
 * group of its own. A message is a line on its standard input or output. What it writes to standard error is passed on,
 * and so are lines of its output that are no message: each with the server's name.
 *
 * When the pipe is closed, the end of its input tells the server to end. What is left of the group gets SIGTERM after
 * 2 s, and SIGKILL after 3 s more. A server that exits, or that closes its output or its input, ends the pipe with
 * ERR_MCP_ENDED, after the messages that it has written.
 *
 * @example
 * ```ts
 * const env = childEnvironment(terminal.env)
 * const child = new ChildPipe(terminal, { name: 'fs', command: 'mcp-server-filesystem', args: ['/srv'], env, guardian })
 * await child.open({ message: (message) => channel.send(message), closed: () => void channel.close() })
 * ```
 */
export class ChildPipe implements MessagePipe {
  readonly #terminal: Terminal
  readonly #options: ChildPipeOptions
  #running: RunningChild | undefined

  constructor(terminal: Terminal, options: ChildPipeOptions) {
    this.#terminal = terminal
    this.#options = options
  }

  /** Starts the server. @throws SubrosaError ERR_SETUP when it cannot be started */
  async open(sink: PipeSink): Promise<void> {
    const { command } = this.#options
    const child = spawnServer(this.#options)
    const { pid } = child
    if (pid === undefined) {
      const [error] = await once(child, 'error')
      throw notStarted(command, error)
    }
    // In the same turn: from here on the guardian knows it.
    this.#running = new RunningChild(this.#terminal, { ...this.#options, child, pid, sink })
  }

  /** @throws SubrosaError ERR_CLOSED */
  async send(message: Uint8Array): Promise<void> {
    if (this.#running === undefined) throw new SubrosaError('ERR_CLOSED', 'the MCP server is not running')
    await this.#running.send(message)
  }

  async close(): Promise<void> {
    await this.#running?.close()
  }
}

function spawnServer({ command, args, env }: ChildPipeOptions): ChildProcessWithoutNullStreams {
  try {
    return spawn(command, args, { env: { ...env }, stdio: 'pipe', shell: false, detached: true })
  } catch (error) {
    throw notStarted(command, error)
  }
}

const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such program: install it, or give its path',
  EACCES: 'the file is no program that this user may run',
}

/** Without its cause: that holds the arguments, and they may hold a secret. */
function notStarted(command: string, error: unknown): SubrosaError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  const hint = HINTS[code]
  return new SubrosaError('ERR_SETUP', `the MCP server ${command} cannot be started (${code})`, {
    ...(hint !== undefined && { hint }),
  })
}
