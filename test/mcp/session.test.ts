import { Client } from '@modelcontextprotocol/client'
import { McpServer } from '@modelcontextprotocol/server'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listenSealed, SealedTransport } from '../../src/mcp.ts'
import { clientPermissions, serverPermissions } from '../../src/mcp/subjects.ts'
import { TestRealm } from '../support/realm.ts'

let realm: TestRealm
beforeAll(async () => { realm = await TestRealm.start() })
afterAll(() => realm.stop())

function permissions({ pub, sub }: { pub: readonly string[]; sub: readonly string[] }) {
  return { pub: { allow: pub, deny: [] }, sub: { allow: sub, deny: [] } }
}

test('a client calls a tool', async () => {
  const files = await realm.agent('files', { permissions: permissions(serverPermissions('files')) })
  const laptop = await realm.agent('laptop', { permissions: permissions(clientPermissions('files')) })
  const seen: unknown[] = []
  await listenSealed(files, async (transport) => {
    const server = new McpServer({ name: 'greeter', version: '1.0.0' })
    server.registerTool('greet', {}, async (extra: any) => { seen.push(extra.http?.authInfo ?? extra.authInfo); return { content: [{ type: 'text', text: 'hello' }] } })
    await server.connect(transport)
  })
  const client = new Client({ name: 'example', version: '1.0.0' })
  await client.connect(new SealedTransport(laptop, { server: 'files' }))
  console.log(await client.listTools())
  console.log(JSON.stringify(await client.callTool({ name: 'greet', arguments: {} })), seen)
  expect(1).toBe(1)
})
