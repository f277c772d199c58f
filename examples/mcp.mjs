// mcp.mjs: an MCP server and its client, sealed. Arguments: [REALM-FOLDER [SERVER]]
import { readFile } from 'node:fs/promises'
import { Client } from '@modelcontextprotocol/client'
import { McpServer } from '@modelcontextprotocol/server'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { loadIdentity, secure } from 'subrosa'
import { listenSealed, SealedTransport } from 'subrosa/mcp'

const [dir = 'subrosa-realm', url] = process.argv.slice(2)
const { authority, server } = JSON.parse(await readFile(`${dir}/realm.json`, 'utf8'))

/** @param {string} name */
async function join(name) {
  const nc = await connect({
    servers: url ?? server,
    tls: { caFile: `${dir}/tls/ca.crt` },
    authenticator: credsAuthenticator(await readFile(`${dir}/agents/${name}.creds`)),
  })
  return secure(nc, {
    identity: await loadIdentity(`file:${dir}/agents/${name}.identity`),
    trust: { authority },
  })
}

const files = await join('files')
const laptop = await join('laptop')

// #region readme
// A server for each client: its tools know whom they serve.
const listener = await listenSealed(files, async (transport) => {
  const server = new McpServer({ name: 'greeter', version: '1.0.0' })
  server.registerTool('greet', { description: 'greets you' }, async (context) => ({
    content: [{ type: 'text', text: `hello ${context.http?.authInfo?.clientId}` }],
  }))
  await server.connect(transport)
})

const client = new Client({ name: 'example', version: '1.0.0' })
await client.connect(new SealedTransport(laptop, { server: 'files' }))
console.log(await client.callTool({ name: 'greet' }))
// #endregion

await client.close()
listener.close()
await Promise.all([files.drain(), laptop.drain()])
