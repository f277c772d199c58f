// One instance of an MCP server in a process of its own, to be killed. Arguments: server, identity file, authority,
// milliseconds between signs of life. It runs on the built package, tells its parent of each session, and echoes.
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { CallToolRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { connect } from '@nats-io/transport-node'
import { loadIdentity, secure } from '../../dist/index.js'
import { listenSealed } from '../../dist/mcp.js'

const [servers, identityFile, authority, heartbeat] = process.argv.slice(2)
const bus = await secure(await connect({ servers }), {
  identity: await loadIdentity(`file:${identityFile}`),
  trust: { authority: [authority] },
  state: 'memory',
})
await listenSealed(
  bus,
  async (transport) => {
    const server = new Server({ name: 'echo', version: '1.0.0' }, { capabilities: { tools: {} } })
    server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
      if (params.name === 'never') return new Promise(() => {})
      return { content: [{ type: 'text', text: bus.instance }] }
    })
    await server.connect(transport)
    process.send({ session: transport.sessionId })
  },
  { heartbeat: Number(heartbeat) },
)
process.on('disconnect', () => process.exit())
process.send({ serves: bus.instance })
