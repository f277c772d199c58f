import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { runCli } from '../../src/cli/program.ts'
import type { Terminal } from '../../src/cli/terminal/terminal.ts'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** What a command did. */
export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs in this process, and what it has said so far. */
export interface RunningCommand {
  readonly said: readonly string[]
  /** What it has written to standard output so far. */
  readonly written: () => string
  readonly outcome: Promise<Outcome>
  /** As Ctrl-C. */
  interrupt(): void
}

/** A terminal of which these parts are looked at, and the others do nothing. */
export function terminalThat(parts: Partial<Terminal>): Terminal {
  return {
    data: () => {},
    write: async () => {},
    showsData: false,
    say: () => {},
    input: { isTyped: true, read: () => readInput() },
    env: EMPTY_HOME,
    interrupted: () => new Promise(() => {}),
    ...parts,
  }
}

/** Where nobody has installed anything: what the person who runs the tests has is none of their business. */
const EMPTY_HOME = { HOME: '/nonexistent' }

/** Starts a command in this process. `input` is its standard input; without one a person sits there, and waits. */
export function start(
  argv: readonly string[],
  env: Terminal['env'] = {},
  input?: AsyncIterable<Uint8Array> | Iterable<string>,
): RunningCommand {
  const output: Buffer[] = []
  const said: string[] = []
  const written = (): string => Buffer.concat(output).toString()
  let interrupt = (): void => {}
  const interruption = new Promise<void>((resolve) => {
    interrupt = resolve
  })
  const code = runCli(argv, {
    data: (line) => void output.push(Buffer.from(`${line}\n`)),
    write: async (data) => void output.push(Buffer.from(data)),
    showsData: false,
    say: (line) => void said.push(line),
    input: { isTyped: input === undefined, read: () => readInput(input) },
    env: { ...EMPTY_HOME, ...env },
    interrupted: () => interruption,
  })
  const outcome = code.then((exit) => ({
    code: exit,
    stdout: written().replace(/\n$/, ''),
    stderr: said.join('\n'),
  }))
  return { said, written, outcome, interrupt }
}

async function* readInput(
  input: AsyncIterable<Uint8Array> | Iterable<string> = [],
): AsyncIterable<Uint8Array> {
  for await (const chunk of input) yield Buffer.from(chunk)
}

/** Runs a command to its end in this process. */
export async function run(...argv: readonly string[]): Promise<Outcome> {
  return start(argv).outcome
}

/** Runs the built program as a process of its own. */
export function spawnCli(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { readonly child: ChildProcess; readonly said: () => string; readonly outcome: Promise<Outcome> } {
  // Whatever the user's mask, secrets are for the owner alone.
  const child = spawn('/bin/sh', ['-c', 'umask 000; exec "$@"', 'sh', process.execPath, MAIN, ...argv], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const outcome = new Promise<Outcome>((resolve) => {
    child.once('close', (code) => resolve({ code: code ?? -1, stdout, stderr }))
  })
  return { child, said: () => stderr, outcome }
}
