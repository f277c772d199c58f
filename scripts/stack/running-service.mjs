import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'

const STOP_TIMEOUT_MS = 10_000
/** Long enough to see that nothing depends on one service. */
const RESTART_PAUSE_MS = 5000

/**
 * How a service runs here.
 *
 * @typedef {{
 *   readonly name: string, readonly command: string, readonly args: readonly string[], readonly env: NodeJS.ProcessEnv,
 *   readonly cwd: string, readonly restarts: boolean,
 *   readonly say: (source: string, line: string) => void,
 *   readonly onPid: (change: '+' | '-', pid: number) => void,
 * }} Plan
 */

/** A service that runs as a plain process, and is started again when it ends, as an engine does. */
export class RunningService {
  #plan
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process
  #stopping = new AbortController()
  /** @type {Error | undefined} */
  #failure
  #life

  /** @param {Plan} plan */
  constructor(plan) {
    this.#plan = plan
    this.#life = this.#live()
  }

  /** Why it cannot be started at all. */
  get failure() {
    return this.#failure
  }

  /** Resolves with the exit code of a service that is not started again. */
  async ended() {
    return this.#life
  }

  async stop() {
    this.#stopping.abort()
    this.#process?.kill('SIGTERM')
    const killer = setTimeout(() => this.#process?.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await this.#life
    clearTimeout(killer)
  }

  async #live() {
    const { name, restarts, say } = this.#plan
    const { signal } = this.#stopping
    for (;;) {
      const code = await this.#runOnce()
      if (signal.aborted || !restarts || this.#failure !== undefined) return code
      say('stack', `${name} has ended with ${code}, and is started again in ${RESTART_PAUSE_MS / 1000} s`)
      await pause(RESTART_PAUSE_MS, undefined, { signal }).catch(() => {})
      if (signal.aborted) return code
    }
  }

  /** @returns {Promise<number | string>} its exit code, or the signal that ended it */
  async #runOnce() {
    const { name, command, args, env, cwd, say, onPid } = this.#plan
    // A Ctrl-C on the terminal is for the stack: it ends its services in order.
    const child = spawn(command, args, { env, cwd, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    this.#process = child
    for (const input of [child.stdout, child.stderr])
      createInterface({ input }).on('line', (line) => say(name, line))
    const { pid } = child
    if (pid !== undefined) {
      onPid('+', pid)
      say('stack', `${name} is process ${pid}`)
    }
    return new Promise((resolve) => {
      child.once('error', (error) => {
        this.#failure = new Error(`${name} cannot be started: ${error.message}`)
        resolve(1)
      })
      child.once('exit', (code, signal) => {
        if (pid !== undefined) onPid('-', pid)
        resolve(code ?? signal ?? 1)
      })
    })
  }
}
