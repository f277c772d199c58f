import { fromJsonSchema, McpServer } from '@modelcontextprotocol/server'

const ECHO = { type: 'object', properties: { text: { type: 'string' } }, required: ['text'] }
const PRINT = { type: 'object', properties: { length: { type: 'integer' } }, required: ['length'] }
const PATTERN = 'All work and no play. '

/** An MCP server with a tool that answers what it is told, and one that answers at length. The same for every way. */
export function echoServer() {
  const server = new McpServer({ name: 'echo', version: '1.0.0' })
  server.registerTool('echo', { inputSchema: fromJsonSchema(ECHO) }, ({ text }) => textResult(text))
  server.registerTool('print', { inputSchema: fromJsonSchema(PRINT) }, ({ length }) =>
    textResult(printed(length)),
  )
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

/** @param {string} text */
function textResult(text) {
  return { content: [{ type: /** @type {const} */ ('text'), text }] }
}
