import { fromJsonSchema, McpServer } from '@modelcontextprotocol/server'

const PATTERN = 'All work and no play. '

/** @type {import('@modelcontextprotocol/server').StandardSchemaWithJSON<{ readonly text: string }>} */
const TEXT = fromJsonSchema({ type: 'object', properties: { text: { type: 'string' } }, required: ['text'] })
/** @type {import('@modelcontextprotocol/server').StandardSchemaWithJSON<{ readonly length: number }>} */
const LENGTH = fromJsonSchema({
  type: 'object',
  properties: { length: { type: 'integer' } },
  required: ['length'],
})

/** An MCP server with a tool that answers what it is told, and one that answers at length. The same for every way. */
export function echoServer() {
  const server = new McpServer({ name: 'echo', version: '1.0.0' })
  server.registerTool('echo', { inputSchema: TEXT }, ({ text }) => textResult(text))
  server.registerTool('print', { inputSchema: LENGTH }, ({ length }) => textResult(printed(length)))
  return server
}

/**
 * What the tool `print` answers.
 *
 * @param {number} length
 */
export function printed(length) {
  return PATTERN.repeat(Math.ceil(length / PATTERN.length)).slice(0, length)
}

/**
 * @param {{ readonly content?: unknown, readonly isError?: unknown }} result what a call has brought
 * @param {string} text what it should have
 * @param {string} by which way
 */
export function assertText({ content, isError }, text, by) {
  const [first, ...more] = Array.isArray(content) ? content : []
  if (isError === true || more.length > 0 || first?.text !== text)
    throw new Error(`${by}: another text came back`)
}

/** @param {string} text */
function textResult(text) {
  return { content: [{ type: /** @type {const} */ ('text'), text }] }
}
