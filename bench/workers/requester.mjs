import { randomBytes } from 'node:crypto'
import { join } from './agent.mjs'
import { serve } from './serve.mjs'

/**
 * @typedef {import('../lib/requests.ts').RequestVariant & { readonly size: number, readonly count: number }} Task
 */

const TIMEOUT_MS = 10_000

/** @type {Awaited<ReturnType<typeof join>>} */
let agent

serve({
  async join(who) {
    agent = await join(who)
  },
  waitFor: (/** @type {string} */ subject) => agent.bus.waitForAudience(subject, { timeout: 30_000 }),
  request,
})

/**
 * One request after the other.
 *
 * @param {Task} task
 * @returns {Promise<Float64Array>} microseconds of each
 */
async function request({ mode, subject, size, count }) {
  const { plain, bus } = agent
  const ask = (/** @type {Uint8Array} */ payload) =>
    mode === 'plain'
      ? plain.request(subject, payload, { timeout: TIMEOUT_MS })
      : bus.request(subject, payload, { timeout: TIMEOUT_MS, mode })
  const payload = randomBytes(size)
  const took = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const start = process.hrtime.bigint()
    const response = await ask(payload)
    took[i] = Number(process.hrtime.bigint() - start) / 1000
    if (Buffer.compare(response.data, payload) !== 0) throw new Error(`${mode}: another payload came back`)
  }
  return took
}
