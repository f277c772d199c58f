import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Another process that answers calls. It ends with this one at the latest.
 *
 * @typedef {{
 *   readonly call: (method: string, argument?: unknown) => Promise<any>,
 *   readonly stop: () => Promise<void>,
 * }} Worker
 */

/**
 * How to start one: `profile` is a folder for a CPU profile of the whole process, `maxHeapMiB` what its heap may grow to, and
 * `signal` ends it at once.
 *
 * @typedef {{
 *   readonly profile?: string | undefined, readonly exposeGc?: boolean, readonly maxHeapMiB?: number,
 *   readonly signal?: AbortSignal | undefined,
 * }} WorkerOptions
 */

/**
 * Starts a script of the folder `workers` in a process of its own; what is TypeScript, by tsx.
 *
 * @param {string} script
 * @param {WorkerOptions} [options]
 * @returns {Worker}
 */
export function startWorker(script, { profile, exposeGc = false, maxHeapMiB, signal } = {}) {
  const execArgv = [
    ...(script.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : []),
    ...(exposeGc ? ['--expose-gc'] : []),
    ...(maxHeapMiB === undefined ? [] : [`--max-old-space-size=${maxHeapMiB}`]),
    ...(profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]),
  ]
  const path = fileURLToPath(new URL(`../workers/${script}`, import.meta.url))
  const child = fork(path, { execArgv, serialization: 'advanced' })
  /** @type {Map<number, { resolve: (value: unknown) => void, reject: (error: Error) => void }>} */
  const pending = new Map()
  let last = 0
  let isGone = false
  const exited = new Promise((resolve) => child.once('exit', (code, by) => resolve(code ?? by)))
  const kill = () => child.kill()
  signal?.addEventListener('abort', kill)
  if (signal?.aborted) kill()
  void exited.then((code) => {
    isGone = true
    signal?.removeEventListener('abort', kill)
    for (const { reject } of pending.values()) reject(new Error(`${script} ended with ${code}`))
  })
  child.on('message', (/** @type {any} */ { id, result, error }) => {
    const waiting = pending.get(id)
    pending.delete(id)
    if (error === undefined) waiting?.resolve(result)
    else waiting?.reject(new Error(`${script}: ${error}`))
  })
  return {
    call(method, argument) {
      if (isGone) return Promise.reject(new Error(`${script} has ended`))
      const id = ++last
      return new Promise((resolve, reject) => {
        pending.set(id, { resolve, reject })
        child.send({ id, method, argument })
      })
    },
    async stop() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}
