import { parseArgs } from 'node:util'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { serveHttp } from './fixture/http.mjs'
import { fixtureServer } from './fixture/server.mjs'

/**
 * An MCP server with every tool, prompt and resource that the scenarios of the conformance suite name.
 *
 *   node fixture-server.mjs                over stdio
 *   node fixture-server.mjs --http PORT    over Streamable HTTP on 127.0.0.1, at /mcp
 */

const { values } = parseArgs({ options: { http: { type: 'string' } } })
if (values.http === undefined) await fixtureServer().connect(new StdioServerTransport())
else await serveHttp(Number(values.http), fixtureServer)
