import { spawn } from 'node:child_process'
import { concat } from '../../base/bytes.ts'
import { MAX_MESSAGE_BYTES } from '../../base/limits.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

/** What a program is given. */
export interface ProgramInput {
  /** Its standard input. */
  readonly input: Uint8Array
  /** Its environment. */
  readonly env: Terminal['env']
  /** Ends it. */
  readonly signal?: AbortSignal
}

/** What a program did. */
export interface ProgramResult {
  /** What it wrote to its standard output. */
  readonly output: Uint8Array
  /** Why it did not end well; `undefined` where it did. */
  readonly failure: string | undefined
}

/** Variables of this process that hold secrets. */
const SECRETS = new Set(['NATS_PASSWORD', 'NATS_TOKEN', 'NATS_SEED'])

/**
 * Runs a program, and never a shell: each word reaches it as it is. What it writes to standard error is passed on.
 *
 * @param words the program and its arguments
 */
export async function runProgram(
  terminal: Terminal,
  words: readonly string[],
  { input, env, signal }: ProgramInput,
): Promise<ProgramResult> {
  const [program = '', ...args] = words
  // A word of a stranger may hold what no argument can, such as NUL.
  if (words.some((word) => word.includes('\0'))) return failed('its arguments would hold a NUL')
  const child = spawn(program, args, { env: { ...env }, stdio: 'pipe', ...(signal && { signal }) })
  const chunks: Uint8Array[] = []
  let size = 0
  child.stdout.on('data', (chunk: Uint8Array) => {
    size += chunk.length
    if (size > MAX_MESSAGE_BYTES) child.kill()
    else chunks.push(chunk)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => note(terminal, text.trimEnd()))
  // It need not read what it is given.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return new Promise((resolve) => {
    child.on('error', (error: NodeJS.ErrnoException) => resolve(failed(error.code ?? 'it did not start')))
    child.on('close', (code, killedBy) => {
      if (size > MAX_MESSAGE_BYTES) resolve(failed(`its output is over ${MAX_MESSAGE_BYTES} bytes`))
      else if (code === 0) resolve({ output: concat(...chunks), failure: undefined })
      else resolve(failed(killedBy === null ? `exit code ${code}` : `ended by ${killedBy}`))
    })
  })
}

function failed(failure: string): ProgramResult {
  return { output: new Uint8Array(0), failure }
}

/**
 * The environment without secrets: a program whose output goes to others has no use for them.
 *
 * @param sources options that may be `env:NAME`
 */
export function publicEnvironment(
  { env }: Terminal,
  sources: readonly (string | undefined)[],
): Terminal['env'] {
  const named = sources.map((source) => source?.replace(/^env:/, ''))
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !SECRETS.has(name) && !named.includes(name)),
  )
}
