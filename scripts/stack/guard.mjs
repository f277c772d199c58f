// Outlives the stack's own process for a moment, however that ends: when nothing more comes on standard input, it ends
// every process that was reported and is not gone, and removes the temporary folder that it was given.
// Lines: +PID when a process was started, -PID when it is gone.
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'

const WAIT_MS = 50
const MAX_WAITS = 60

const [folder] = process.argv.slice(2)
/** @type {Set<number>} */
const running = new Set()

for await (const line of createInterface({ input: process.stdin })) {
  if (line.startsWith('+')) running.add(Number(line.slice(1)))
  else running.delete(Number(line.slice(1)))
}
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGKILL'])) {
  for (const pid of running) send(pid, signal)
  for (let waits = 0; running.size > 0 && waits < MAX_WAITS; waits++) {
    await pause(WAIT_MS)
    for (const pid of running) send(pid, 0)
  }
}
if (folder !== undefined) rmSync(folder, { recursive: true, force: true })

/**
 * @param {number} pid
 * @param {NodeJS.Signals | 0} signal nothing is sent with 0: it only shows whether the process is there
 */
function send(pid, signal) {
  try {
    process.kill(pid, signal)
  } catch {
    running.delete(pid)
  }
}
