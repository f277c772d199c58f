import { StdioServerTransport } from '@modelcontextprotocol/server/stdio'
import { echoServer } from '../lib/mcp/echo-server.mjs'

/** The MCP server behind every pipe: over its standard input and output. */
await echoServer().connect(new StdioServerTransport())
