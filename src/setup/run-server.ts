import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import type { NatsServerProgram } from './nats-server.ts'

const START_TIMEOUT_MS = 30_000
const POLL_MS = 20
const STOP_TIMEOUT_MS = 5000

/** A nats-server that this process started. */
export interface RunningServer {
  /** The port that it listens on for clients. */
  readonly port: number
  readonly pid: number | undefined
  /** Ends it and waits until it is gone. */
  stop(): Promise<void>
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>
}

/** What to start. */
export interface StartOptions {
  readonly program: NatsServerProgram
  readonly configPath: string
  /** A folder of its own: the server writes its log and its ports there. */
  readonly folder: string
}

/**
 * Starts a nats-server and resolves when it takes connections. It ends with this process at the latest.
 *
 * @throws SubrosaError ERR_SETUP with the end of the server's log when it does not start
 *
 * @example
 * ```ts
 * const server = await startNatsServer({ program: await findNatsServer(), configPath, folder })
 * await server.stop()
 * ```
 */
export async function startNatsServer(options: StartOptions): Promise<RunningServer> {
  const { program, configPath, folder } = options
  const logPath = join(folder, 'nats-server.log')
  const log = openSync(logPath, 'a', 0o600)
  const child = spawn(program.command, [...program.args, '-c', configPath, '--ports_file_dir', folder], {
    stdio: ['ignore', log, log],
    // A Ctrl-C on the terminal is for this process: it ends the server in its own time.
    detached: true,
  })
  closeSync(log)
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const endWithProcess = (): void => {
    child.kill('SIGKILL')
  }
  process.once('exit', endWithProcess)
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    process.removeListener('exit', endWithProcess)
    child.kill(signal)
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await gone
    clearTimeout(killer)
  }
  try {
    const port = await readPort(child, folder, gone)
    return { port, pid: child.pid, stop: () => end('SIGTERM'), kill: () => end('SIGKILL') }
  } catch {
    await end('SIGKILL')
    throw new SubrosaError('ERR_SETUP', `${program.origin} did not start`, { hint: await lastLines(logPath) })
  }
}

/** The server writes its ports into a file once it listens: the only sign of readiness that races with nothing. */
async function readPort(child: ChildProcess, folder: string, gone: Promise<void>): Promise<number> {
  let isGone = false
  void gone.then(() => {
    isGone = true
  })
  const deadline = performance.now() + START_TIMEOUT_MS
  while (!isGone && performance.now() < deadline) {
    const port = await portIn(folder, child.pid)
    if (port !== undefined) return port
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  throw new Error('not started')
}

async function portIn(folder: string, pid: number | undefined): Promise<number | undefined> {
  // In Docker the process has another number: there the folder is the server's alone all the same.
  const files = (await readdir(folder)).filter((name) => name.endsWith('.ports'))
  const own = files.find((name) => name.includes(`_${pid}.`)) ?? (files.length === 1 ? files[0] : undefined)
  if (own === undefined) return undefined
  try {
    const { nats } = JSON.parse(await readFile(join(folder, own), 'utf8')) as { nats?: string[] }
    const port = Number(nats?.[0]?.split(':').at(-1))
    return Number.isInteger(port) ? port : undefined
  } catch {
    return undefined
  }
}

async function lastLines(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch(() => '')
  return text.trim().split('\n').slice(-5).join('\n') || 'it wrote no log'
}
