// Outlives the stack's own process for a moment, however that ends: when nothing more comes on standard input, it ends
// every process that was reported and is not gone, and removes the temporary folder that it was given.
// Lines: +PID when a process was started, -PID when it is gone.
import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'

const [folder] = process.argv.slice(2)
/** @type {Set<number>} */
const running = new Set()

for await (const line of createInterface({ input: process.stdin })) {
  if (line.startsWith('+')) running.add(Number(line.slice(1)))
  else running.delete(Number(line.slice(1)))
}
for (const signal of /** @type {const} */ (['SIGTERM', 'SIGKILL'])) {
  for (const pid of running) end(pid, signal)
  if (running.size > 0) await pause(3000)
}
if (folder !== undefined) rmSync(folder, { recursive: true, force: true })

/**
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 */
function end(pid, signal) {
  try {
    process.kill(pid, signal)
  } catch {
    running.delete(pid)
  }
}
