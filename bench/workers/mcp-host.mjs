import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { assertText, printed } from '../lib/mcp/echo-server.mjs'
import { serve } from './serve.mjs'

/**
 * How a host reaches an MCP server: by a command that it starts, or by a URL.
 *
 * @typedef {{ readonly command: readonly string[], readonly env: Readonly<Record<string, string>> }} Start
 * @typedef {Start | { readonly url: string }} Reach
 */

/**
 * @typedef {{ readonly reach: Reach, client: Client }} Joined
 */

/** @type {Map<string, Joined>} */
const servers = new Map()

serve({ join, echo, echoAll, print, leave })

/**
 * @param {{ readonly name: string, readonly reach: Reach }} server
 */
async function join({ name, reach }) {
  servers.set(name, { reach, client: await connected(reach) })
}

/** @param {Reach} reach */
async function connected(reach) {
  const client = new Client({ name: 'bench', version: '1.0.0' })
  await client.connect(transportTo(reach))
  return client
}

/** @param {Reach} reach */
function transportTo(reach) {
  if ('url' in reach) return new StreamableHTTPClientTransport(new URL(reach.url))
  const [command = '', ...args] = reach.command
  return new StdioClientTransport({ command, args, env: { ...reach.env }, stderr: 'ignore' })
}

/**
 * One call after the other, each with a text of its own.
 *
 * @param {{ readonly name: string, readonly size: number, readonly count: number }} task
 * @returns {Promise<Float64Array>} microseconds of each
 */
async function echo({ name, size, count }) {
  const client = await freshClientOf(name)
  const took = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const text = `${i} `.padEnd(size, 'x')
    const start = process.hrtime.bigint()
    const result = await client.callTool({ name: 'echo', arguments: { text } })
    took[i] = Number(process.hrtime.bigint() - start) / 1000
    assertText(result, text, name)
  }
  return took
}

/**
 * Echoes these texts, all at once.
 *
 * @param {{ readonly name: string, readonly texts: readonly string[] }} task
 */
async function echoAll({ name, texts }) {
  const client = clientOf(name)
  await Promise.all(
    texts.map(async (text) =>
      assertText(await client.callTool({ name: 'echo', arguments: { text } }), text, name),
    ),
  )
}

/**
 * One call with a long result.
 *
 * @param {{ readonly name: string, readonly length: number }} task
 * @returns {Promise<number>} its microseconds
 */
async function print({ name, length }) {
  const expected = printed(length)
  const start = process.hrtime.bigint()
  const result = await clientOf(name).callTool({ name: 'print', arguments: { length } })
  const took = Number(process.hrtime.bigint() - start) / 1000
  assertText(result, expected, name)
  return took
}

async function leave() {
  await Promise.all([...servers.values()].map(({ client }) => client.close()))
}

/** @param {string} name */
function clientOf(name) {
  return joinedAs(name).client
}

/**
 * Over HTTP a session of its own: `fetch` leaves a listener on the signal of its session with each call, until garbage
 * is collected, and each makes the next call slower.
 *
 * @param {string} name
 */
async function freshClientOf(name) {
  const joined = joinedAs(name)
  if ('url' in joined.reach) {
    await joined.client.close()
    joined.client = await connected(joined.reach)
  }
  return joined.client
}

/** @param {string} name */
function joinedAs(name) {
  const joined = servers.get(name)
  if (joined === undefined) throw new Error(`there is no session with ${name}`)
  return joined
}
