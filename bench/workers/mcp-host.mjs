import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { printed } from '../lib/mcp/echo-server.mjs'
import { serve } from './serve.mjs'

/**
 * How a host reaches an MCP server: by a command that it starts, or by a URL.
 *
 * @typedef {{ readonly command: readonly string[], readonly env: Readonly<Record<string, string>> }} Start
 * @typedef {Start | { readonly url: string }} Reach
 */

/** @type {Map<string, Client>} */
const clients = new Map()

serve({ join, echo, echoAll, print, leave })

/**
 * @param {{ readonly name: string, readonly reach: Reach }} server
 */
async function join({ name, reach }) {
  const client = new Client({ name: 'bench', version: '1.0.0' })
  await client.connect(transportTo(reach))
  clients.set(name, client)
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
  const client = clientOf(name)
  const took = new Float64Array(count)
  for (let i = 0; i < count; i++) {
    const text = `${i} `.padEnd(size, 'x')
    const start = process.hrtime.bigint()
    const result = await client.callTool({ name: 'echo', arguments: { text } })
    took[i] = Number(process.hrtime.bigint() - start) / 1000
    assertText(name, result, text)
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
      assertText(name, await client.callTool({ name: 'echo', arguments: { text } }), text),
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
  assertText(name, result, expected)
  return took
}

async function leave() {
  for (const client of clients.values()) await client.close()
}

/** @param {string} name */
function clientOf(name) {
  const client = clients.get(name)
  if (client === undefined) throw new Error(`there is no client of ${name}`)
  return client
}

/**
 * @param {string} name
 * @param {{ readonly content?: unknown, readonly isError?: unknown }} result
 * @param {string} expected
 */
function assertText(name, { content, isError }, expected) {
  const [first, ...more] = Array.isArray(content) ? content : []
  if (isError === true || more.length > 0 || first?.text !== expected)
    throw new Error(`${name}: another text came back`)
}
