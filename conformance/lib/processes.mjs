import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/**
 * What to start. Its standard error goes to a log of that name, and so does its standard output where no file is given
 * for it.
 *
 * @typedef {{
 *   readonly name: string, readonly command: readonly string[], readonly env: NodeJS.ProcessEnv,
 *   readonly out?: string,
 * }} Start
 *
 * @typedef {{
 *   readonly name: string,
 *   readonly said: () => string,
 *   readonly exited: Promise<number | string>,
 *   readonly isGone: () => boolean,
 *   readonly stop: () => Promise<void>,
 * }} Running
 */

const GUARD = fileURLToPath(new URL('../../scripts/stack/guard.mjs', import.meta.url))
const POLL_MS = 20
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 10_000
const LAST_LINES = 15

/** The processes of a run. Each is ended by its own number, however the run itself ends. */
export class Processes {
  #folder
  #guard
  /** @type {Set<Running>} */
  #running = new Set()
  #isStopping = false

  /** @param {string} folder where the logs go; it is removed at the end */
  constructor(folder) {
    this.#folder = folder
    // It ends what is left and removes the folder, even when this process is killed.
    this.#guard = spawn(process.execPath, [GUARD, folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.#guard.stdin?.on('error', () => {})
  }

  /** Whether everything is being ended. */
  get isStopping() {
    return this.#isStopping
  }

  /**
   * @param {Start} start
   * @returns {Running}
   */
  start({ name, command: [program = '', ...args], env, out }) {
    if (this.#isStopping) throw new Error('stopped')
    const path = join(this.#folder, `${name}.log`)
    const log = openSync(path, 'w', 0o600)
    const output = out === undefined ? log : openSync(out, 'w', 0o600)
    // A Ctrl-C on the terminal is for this process: it ends the others in order.
    const child = spawn(program, args, { env, stdio: ['ignore', output, log], detached: true })
    for (const file of new Set([log, output])) closeSync(file)
    let isGone = false
    const exited = new Promise((resolve) => {
      child.once('error', ({ message }) => resolve(message))
      child.once('exit', (code, signal) => resolve(code ?? signal ?? 'an unknown cause'))
    })
    /** @type {Running} */
    const running = {
      name,
      exited,
      said: () => readFileSync(path, 'utf8'),
      isGone: () => isGone,
      async stop() {
        child.kill('SIGTERM')
        const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
        await exited
        clearTimeout(killer)
      },
    }
    const { pid } = child
    if (pid !== undefined) this.guard(pid)
    this.#running.add(running)
    void exited.then(() => {
      isGone = true
      this.#running.delete(running)
      if (pid !== undefined) this.#guard.stdin?.write(`-${pid}\n`)
    })
    return running
  }

  /**
   * Runs a program to its end.
   *
   * @param {Start & { readonly timeoutMs: number }} start
   * @returns {Promise<{ readonly code: number | string, readonly said: () => string }>} its exit code, and its log
   */
  async run({ timeoutMs, ...start }) {
    const running = this.start(start)
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      void running.stop()
    }, timeoutMs)
    const code = await running.exited
    clearTimeout(timer)
    if (isLate) throw new Error(`${start.name} did not end in ${timeoutMs / 1000} s\n${lastLines(running)}`)
    return { code, said: running.said }
  }

  /** @param {number} pid a process that must not outlive this one */
  guard(pid) {
    this.#guard.stdin?.write(`+${pid}\n`)
  }

  /** Ends them, the youngest first. */
  async stop() {
    this.#isStopping = true
    for (const running of [...this.#running].reverse()) await running.stop()
  }

  /** Lets the folder be removed. Called last. */
  release() {
    this.#guard.stdin?.end()
  }
}

/**
 * Resolves when a condition holds.
 *
 * @param {Running} running
 * @param {() => boolean | Promise<boolean>} condition
 */
export async function becomes(running, condition) {
  const deadline = performance.now() + READY_TIMEOUT_MS
  while (!(await condition())) {
    if (running.isGone())
      throw new Error(`${running.name} ended with ${await running.exited}\n${lastLines(running)}`)
    if (performance.now() > deadline)
      throw new Error(`${running.name} was not ready in time\n${lastLines(running)}`)
    await pause(POLL_MS)
  }
}

/** @param {Running} running */
function lastLines({ said }) {
  return said().trimEnd().split('\n').slice(-LAST_LINES).join('\n')
}
