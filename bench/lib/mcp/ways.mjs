import { randomBytes } from 'node:crypto'
import { startWorker } from '../process.mjs'
import { startMcpWorld } from './world.mjs'

/**
 * A way from a host to an MCP server, and what the broker gets to see of it.
 *
 * @typedef {{ readonly name: string, readonly broker: 'sees nothing' | 'reads it' | 'sees it sealed' }} Way
 * @typedef {Awaited<ReturnType<typeof startWays>>} Ways
 */

export const DIRECT = 'stdio, no bridge'
export const PLAIN = 'plaintext pipe'
export const SEALED = 'sealed'
export const HTTP = 'Streamable HTTP'
const HTTP_JSON = 'Streamable HTTP, JSON'

/** @type {readonly Way[]} */
export const WAYS = [
  { name: DIRECT, broker: 'sees nothing' },
  { name: PLAIN, broker: 'reads it' },
  { name: SEALED, broker: 'sees it sealed' },
  { name: HTTP, broker: 'sees nothing' },
  { name: HTTP_JSON, broker: 'sees nothing' },
]

const AT_ONCE = 200
const LONG_TEXT = 300_000

/**
 * One host in a process of its own, in session with the echo server by every way.
 *
 * @param {{ readonly profile?: string | undefined }} [options]
 */
export async function startWays(options = {}) {
  const world = await startMcpWorld(options)
  const http = startWorker('mcp-http.mjs', options)
  const host = startWorker('mcp-host.mjs', options)
  const stop = async () => {
    await host.call('leave').catch(() => {})
    await host.stop()
    await http.stop()
    await world.stop()
  }
  const { env, commands } = world
  try {
    /** @type {Readonly<Record<string, import('../../workers/mcp-host.mjs').Reach>>} */
    const reaches = {
      [DIRECT]: { command: commands.direct, env },
      [PLAIN]: { command: commands.plain, env },
      [SEALED]: { command: commands.sealed, env },
      [HTTP]: { url: await http.call('listen', false) },
      [HTTP_JSON]: { url: await http.call('listen', true) },
    }
    for (const [name, reach] of Object.entries(reaches)) await host.call('join', { name, reach })
  } catch (error) {
    await stop()
    throw error
  }
  return {
    tap: world.tap,
    /**
     * One call after the other, each with a text of its own.
     *
     * @param {string} name
     * @param {{ readonly size: number, readonly count: number }} load
     * @returns {Promise<readonly number[]>} microseconds of each
     */
    async echo(name, { size, count }) {
      return [...(await host.call('echo', { name, size, count }))]
    },
    /**
     * @param {string} name
     * @param {readonly string[]} texts they are echoed at once
     * @returns {Promise<void>}
     */
    echoAll: (name, texts) => host.call('echoAll', { name, texts }),
    /**
     * One call with a result of this length.
     *
     * @param {string} name
     * @param {number} length
     * @returns {Promise<number>} its microseconds
     */
    print: (name, length) => host.call('print', { name, length }),
    stop,
  }
}

/**
 * Proves that a way works before it is timed: what comes back is what was sent, whatever it holds; and the broker gets
 * to see of it what it should.
 *
 * @param {Ways} ways
 * @param {Way} way
 */
export async function proveWay(ways, { name, broker }) {
  const tap = await ways.tap()
  let seen = 0
  let isReadable = false
  const marker = randomBytes(24).toString('hex')
  tap.subscribe('>', {
    callback: (_error, { data }) => {
      seen += data.length
      isReadable ||= Buffer.from(data).includes(marker)
    },
  })
  await tap.flush()
  await ways.echoAll(name, [marker, '', '\r\n\u2028"\\\u0000', '𝄞 ä', 'x'.repeat(LONG_TEXT)])
  await ways.echoAll(
    name,
    Array.from({ length: AT_ONCE }, (_, i) => `${i}`),
  )
  await tap.flush()
  await tap.close()
  // There and back. Sessions that wait for their turn give signs of life, which are short.
  const isSeen = seen > 2 * LONG_TEXT
  if (isSeen !== (broker !== 'sees nothing') || isReadable !== (broker === 'reads it'))
    throw new Error(`${name}: the broker saw ${seen} bytes, and could ${isReadable ? '' : 'not '}read them`)
}
