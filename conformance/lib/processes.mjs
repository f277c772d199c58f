import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const GUARD = fileURLToPath(new URL('../../scripts/stack/guard.mjs', import.meta.url))
const POLL_MS = 20
const READY_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 10_000
const LAST_LINES = 15

/**
 * What to start. `out` is a file for its standard output; without one that goes to the log, where standard error goes
 * always.
 *
 * @typedef {{
 *   readonly name: string, readonly command: string, readonly args: readonly string[],
 *   readonly env: NodeJS.ProcessEnv, readonly out?: string,
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

/** The processes of a run. Each is ended by its own number, however the run ends. */
export class Processes {
  #folder
  #guard
  /** @type {Set<Running>} */
  #running = new Set()
  #isStopping = false

  /** @param {string} folder where their logs go; it is removed at the end */
  constructor(folder) {
    this.#folder = folder
    // It ends what is left, and removes the folder, even when this process is killed.
    this.#guard = spawn(process.execPath, [GUARD, folder], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    })
    this.#guard.stdin?.on('error', () => {})
  }

  /**
   * @param {Start} start
   * @returns {Running}
   */
  start({ name, command, args, env, out }) {
    if (this.#isStopping) throw new Error('stopped')
    const path = join(this.#folder, `${name}.log`)
    const log = openSync(path, 'a', 0o600)
    const output = out === undefined ? log : openSync(out, 'w', 0o600)
    // A Ctrl-C on the terminal is for this process: it ends the others in order.
    const child = spawn(command, args, { env, stdio: ['ignore', output, log], detached: true })
    for (const file of new Set([log, output])) closeSync(file)
    const { pid } = child
    if (pid !== undefined) this.watch(pid)
    let isGone = false
    const exited = new Promise((resolve) => {
      child.once('error', () => resolve('an error at its start'))
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
    this.#running.add(running)
    void exited.then(() => {
      isGone = true
      this.#running.delete(running)
      if (pid !== undefined) this.forget(pid)
    })
    return running
  }

  /**
   * Runs a program to its end, and answers with its exit code.
   *
   * @param {Start & { readonly timeoutMs: number }} start
   */
  async run({ timeoutMs, ...start }) {
    const running = this.start(start)
    const timeout = new AbortController()
    const late = pause(timeoutMs, true, { signal: timeout.signal }).catch(() => false)
    const isLate = await Promise.race([running.exited.then(() => false), late])
    timeout.abort()
    if (isLate) {
      await running.stop()
      throw new Error(`${start.name} did not end in ${timeoutMs / 1000} s\n${lastLines(running)}`)
    }
    return { code: await running.exited, said: running.said }
  }

  /** @param {number} pid of a process that was started in another way */
  watch(pid) {
    this.#guard.stdin?.write(`+${pid}\n`)
  }

  /** @param {number} pid */
  forget(pid) {
    this.#guard.stdin?.write(`-${pid}\n`)
  }

  /** Ends the youngest first. */
  async stop() {
    this.#isStopping = true
    for (const running of [...this.#running].reverse()) await running.stop()
  }

  /** Nothing is left to guard but the folder. */
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
      throw new Error(`${running.name} is not ready in time\n${lastLines(running)}`)
    await pause(POLL_MS)
  }
}

/** @param {Running} running */
function lastLines({ said }) {
  return said().trimEnd().split('\n').slice(-LAST_LINES).join('\n')
}
