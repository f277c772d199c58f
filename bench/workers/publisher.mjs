import { randomBytes } from 'node:crypto'
import { join, memory } from './agent.mjs'
import { serve } from './serve.mjs'

/**
 * @typedef {import('../lib/pipe.ts').Way} Way
 * @typedef {Way & { readonly size: number, readonly count: number, readonly burst: number }} Task
 */

/** @type {Awaited<ReturnType<typeof join>>} */
let agent

serve({
  async join(who) {
    agent = await join(who)
  },
  waitFor: (/** @type {{ subject: string, atLeast: number }} */ { subject, atLeast }) =>
    agent.bus.waitForAudience(subject, { atLeast, timeout: 30_000 }),
  audience: (/** @type {string} */ subject) => agent.bus.audience(subject).length,
  /** Payloads one by one, for checking that they arrive as they are. */
  async send({ way, payloads }) {
    const send = sender(way)
    for (const payload of payloads) send(payload)
    await agent.bus.flush()
    await agent.plain.flush()
  },
  publish,
  memory,
})

/**
 * Publishes as fast as it goes, in bursts with a turn of the event loop after each. Nothing waits for the server.
 *
 * @param {Task} task
 */
async function publish({ size, count, burst, ...way }) {
  const payload = randomBytes(size)
  const send = sender(way)
  const cpu = process.cpuUsage()
  const startedAt = process.hrtime.bigint()
  for (let sent = 0; sent < count; ) {
    for (const end = Math.min(count, sent + burst); sent < end; sent += way.many ?? 1) send(payload)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await (way.mode === 'plain' ? agent.plain : agent.bus).flush()
  return { startedAt, cpu: process.cpuUsage(cpu) }
}

/**
 * @param {Way} way
 * @returns {(payload: Uint8Array) => void}
 */
function sender({ mode, many, subject }) {
  const { plain, bus } = agent
  if (mode === 'plain') return (payload) => plain.publish(subject, payload)
  if (many === undefined) return (payload) => bus.publish(subject, payload, { mode })
  return (payload) => bus.publishMany(subject, new Array(many).fill(payload), { mode })
}
