import { spawn } from 'node:child_process'

/** A program that failed, with all that it said. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly output: string

  constructor(command: string, what: string, output: string) {
    super(`${command} ${what}`)
    this.output = output
  }
}

interface Where {
  readonly cwd: string
  /** Ends the program, and everything that it has started. */
  readonly signal: AbortSignal
}

/**
 * Runs a program to its end. It has a process group of its own, so that it ends with all its children.
 *
 * @returns what it wrote to its standard output
 * @throws CommandFailed with all that it wrote, where it fails or is not there
 */
export async function run(program: string, args: readonly string[], { cwd, signal }: Where): Promise<string> {
  signal.throwIfAborted()
  const command = [program, ...args].join(' ')
  const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  const kill = () => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGTERM')
    } catch {
      // It has ended in this moment.
    }
  }
  signal.addEventListener('abort', kill)
  process.once('exit', kill)
  let stdout = ''
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  try {
    const status = await new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
      child.once('error', ({ message }) => reject(new CommandFailed(command, 'does not start', message)))
      child.once('close', (code, by) => resolve(code ?? by))
    })
    signal.throwIfAborted()
    if (status !== 0) throw new CommandFailed(command, `ended with ${status}`, output.trim())
    return stdout.trim()
  } finally {
    signal.removeEventListener('abort', kill)
    process.removeListener('exit', kill)
  }
}
