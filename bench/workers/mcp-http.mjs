import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { echoServer } from '../lib/mcp/echo-server.mjs'
import { serve } from './serve.mjs'

const LOOPBACK = '127.0.0.1'

serve({ listen })

/**
 * Serves Streamable HTTP by MCP's own transport, in the clear: a session and a server for each client.
 *
 * @param {boolean} isJson whether a response is one JSON text, in place of a stream of events, which is the default
 * @returns {Promise<string>} where
 */
async function listen(isJson) {
  /** @type {Map<string | string[] | undefined, StreamableHTTPServerTransport>} */
  const sessions = new Map()
  const open = async () => {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      enableJsonResponse: isJson,
      onsessioninitialized: (id) => {
        sessions.set(id, transport)
      },
    })
    // The types of the two lines of the SDK do not fit each other; what they do fits.
    await echoServer().connect(/** @type {any} */ (transport))
    return transport
  }
  const http = createServer(async (request, response) => {
    const transport = sessions.get(request.headers['mcp-session-id']) ?? (await open())
    await transport.handleRequest(request, response)
  })
  await new Promise((resolve) => http.listen(0, LOOPBACK, () => resolve(undefined)))
  const address = http.address()
  if (address === null || typeof address === 'string') throw new TypeError('no port')
  return `http://${LOOPBACK}:${address.port}/mcp`
}
