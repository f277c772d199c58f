import { join, memory } from './agent.mjs'
import { serve } from './serve.mjs'

/** Without any message for so long, those that are missing are lost. */
const LOST_AFTER_MS = 10_000
const WATCH_MS = 250

/** @type {Awaited<ReturnType<typeof join>>} */
let agent
/** @type {string[]} */
const troubles = []
/** @type {Uint8Array[] | undefined} */
let kept

let count = 0
let bytes = 0
let wanted = 0
let lastAt = 0n
let reached = () => {}
let cpu = process.cpuUsage()

serve({
  async join(/** @type {{ plain: string[], sealed: string[] }} */ { plain, sealed, ...who }) {
    agent = await join(/** @type {any} */ (who))
    for (const subject of plain)
      agent.plain.subscribe(subject, {
        callback: (error, message) => (error === null ? take(message.data) : note(error)),
      })
    for (const subject of sealed)
      agent.bus.subscribe(subject, {
        callback: (error, message) => (error === undefined ? take(message.data) : note(error)),
      })
    void watch(agent.plain.status())
    void watch(agent.bus.status())
    await agent.plain.flush()
    await agent.bus.flush()
  },
  /** From now on so many messages are expected. */
  expect(/** @type {{ count: number, keep?: boolean }} */ { count: expected, keep = false }) {
    count = 0
    bytes = 0
    wanted = expected
    kept = keep ? [] : undefined
    cpu = process.cpuUsage()
  },
  finished,
  memory,
  rejections: () => agent.bus.rejections(),
})

/** @param {Uint8Array} data */
function take(data) {
  count++
  bytes += data.length
  kept?.push(data.slice())
  if (count === wanted) {
    lastAt = process.hrtime.bigint()
    reached()
  }
}

/** Resolves when all that was expected has come. What is lost is an error: it would count as fast. */
async function finished() {
  await new Promise((resolve, reject) => {
    let before = -1
    let since = performance.now()
    const end = (/** @type {() => void} */ settle) => {
      clearInterval(timer)
      reached = () => {}
      settle()
    }
    const timer = setInterval(() => {
      if (troubles.length > 0) end(() => reject(new Error(troubles.join('; '))))
      if (count !== before) since = performance.now()
      before = count
      if (performance.now() - since < LOST_AFTER_MS) return
      const rejections = JSON.stringify(agent.bus.rejections())
      end(() =>
        reject(new Error(`${wanted - count} of ${wanted} messages were lost; rejected: ${rejections}`)),
      )
    }, WATCH_MS)
    reached = () => end(() => resolve(undefined))
    if (count >= wanted) reached()
  })
  if (count !== wanted) throw new Error(`${count} messages came, and ${wanted} were published`)
  return { lastAt, bytes, kept, cpu: process.cpuUsage(cpu) }
}

/**
 * A client that falls behind is disconnected, and loses messages.
 *
 * @param {AsyncIterable<{ readonly type: string }>} events
 */
async function watch(events) {
  for await (const event of events)
    if (/disconnect|slowConsumer|error|stale/i.test(event.type)) troubles.push(`subscriber: ${event.type}`)
}

/** @param {unknown} error */
function note(error) {
  troubles.push(String(error))
}
