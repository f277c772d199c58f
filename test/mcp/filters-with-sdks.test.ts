import {
  Client,
  InMemoryTransport,
  type JSONRPCMessage,
  parseJSONRPCMessage,
} from '@modelcontextprotocol/client'
import { Client as ClientOf1 } from '@modelcontextprotocol/sdk/client/index.js'
import { inputRequired, McpServer, ResourceTemplate } from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { describe, expect, it } from 'vitest'
import { fromUtf8 } from '../../src/base/bytes.ts'
import type { MessageFilter } from '../../src/mcp/pipes/filter.ts'
import { clientGate } from '../../src/mcp/policy/client-gate.ts'
import { encodeMessage } from '../../src/mcp/policy/json-rpc.ts'
import { readPolicy } from '../../src/mcp/policy/policy.ts'
import { failure } from '../support/until.ts'

/** A server with something to hide of each kind, and a tool that asks its client who is there. */
function server(): McpServer {
  const server = new McpServer({ name: 'files', version: '1.0.0' })
  const text = (text: string) => ({ content: [{ type: 'text' as const, text }] })
  for (const name of ['read_file', 'read_secret', 'write_file'])
    server.registerTool(name, {}, () => text(name))
  server.registerTool('read_user', {}, ({ mcpReq }) => {
    if (mcpReq.inputResponses?.['who'] !== undefined)
      return text(JSON.stringify(mcpReq.inputResponses['who']))
    const requestedSchema = { type: 'object' as const, properties: { name: { type: 'string' as const } } }
    return inputRequired({
      inputRequests: { who: inputRequired.elicit({ message: 'Who?', requestedSchema }) },
    })
  })
  for (const name of ['greet', 'hidden'])
    server.registerPrompt(name, {}, () => ({
      messages: [{ role: 'user', content: { type: 'text', text: name } }],
    }))
  for (const uri of ['file:///srv/a.txt', 'file:///etc/passwd'])
    server.registerResource(uri, uri, {}, () => ({ contents: [{ uri, text: uri }] }))
  for (const uri of ['note://{id}', 'file:///etc/{name}'])
    server.registerResource(uri, new ResourceTemplate(uri, { list: undefined }), {}, ({ href }) => ({
      contents: [{ uri: href, text: href }],
    }))
  return server
}

function messageOf(bytes: Uint8Array): JSONRPCMessage {
  return parseJSONRPCMessage(JSON.parse(fromUtf8(bytes) ?? ''))
}

/** The client's end of a line to the server that goes through the filter. */
function lineThrough(filter: MessageFilter): InMemoryTransport {
  const [client, front] = InMemoryTransport.createLinkedPair()
  const [back, end] = InMemoryTransport.createLinkedPair()
  const link = (from: InMemoryTransport, to: InMemoryTransport, pass: MessageFilter['toServer']) => {
    from.onmessage = (message) => {
      const { forward, answer } = pass(encodeMessage(message))
      if (forward !== undefined) void to.send(messageOf(forward))
      if (answer !== undefined) void from.send(messageOf(answer))
    }
    from.onclose = () => void to.close()
  }
  link(front, back, filter.toServer)
  link(back, front, filter.toClient)
  serveStdio(server, { transport: end })
  return client
}

const INFO = { name: 'laptop', version: '1.0.0' }
const ELICITATION = { capabilities: { elicitation: {} } }
const ANSWER = { action: 'accept' as const, content: { name: 'me' } }

const KINDS = [
  { kind: 'revision 2025-11-25', mode: 'legacy' as const },
  { kind: 'revision 2026-07-28', mode: { pin: '2026-07-28' } },
]

async function connect(filter: MessageFilter, mode: 'legacy' | { pin: string }) {
  const client = new Client(INFO, { ...ELICITATION, versionNegotiation: { mode } })
  client.setRequestHandler('elicitation/create', () => ANSWER)
  await client.connect(lineThrough(filter))
  return client
}

const policy = readPolicy(`{
  "agents": {
    "laptop": {
      "tools": { "allow": ["read_*"], "deny": ["read_secret"] },
      "prompts": ["greet"],
      "resources": ["file:///srv/*", "note://*"]
    },
    "guest": {}
  }
}`)

function filterFor(agent: string): MessageFilter {
  const filter = policy.filterFor(agent)
  if (filter === undefined) throw new Error('not admitted')
  return filter
}

describe.each(KINDS)('an official client of $kind under a policy', ({ mode }) => {
  it('sees and uses what it may', async () => {
    const client = await connect(filterFor('laptop'), mode)
    const [{ tools }, { prompts }, { resources }, { resourceTemplates }] = [
      await client.listTools(),
      await client.listPrompts(),
      await client.listResources(),
      await client.listResourceTemplates(),
    ]
    expect(tools.map(({ name }) => name)).toEqual(['read_file', 'read_user'])
    expect(prompts.map(({ name }) => name)).toEqual(['greet'])
    expect(resources.map(({ uri }) => uri)).toEqual(['file:///srv/a.txt'])
    expect(resourceTemplates.map(({ uriTemplate }) => uriTemplate)).toEqual(['note://{id}'])
    expect(await client.callTool({ name: 'read_file' })).toMatchObject({ content: [{ text: 'read_file' }] })
    expect(await client.callTool({ name: 'read_user' })).toMatchObject({
      content: [{ text: JSON.stringify(ANSWER) }],
    })
    expect(await client.readResource({ uri: 'note://7' })).toMatchObject({ contents: [{ text: 'note://7' }] })
    expect(await client.getPrompt({ name: 'greet' })).toMatchObject({
      messages: [{ content: { text: 'greet' } }],
    })
    await client.close()
  })

  it('is refused the rest, whether it is there or not', async () => {
    const client = await connect(filterFor('laptop'), mode)
    for (const name of ['read_secret', 'write_file', 'no_such_tool'])
      expect(await failure(() => client.callTool({ name }))).toMatchObject({
        code: -32602,
        message: expect.stringContaining('the tool is not available to this agent'),
      })
    for (const name of ['hidden', 'no_such_prompt'])
      expect(await failure(() => client.getPrompt({ name }))).toMatchObject({ code: -32602 })
    for (const uri of ['file:///etc/passwd', 'file:///srv/../etc/passwd', 'file:///srv/%2e%2e/etc/passwd'])
      expect(await failure(() => client.readResource({ uri }))).toMatchObject({ code: -32602 })
    await client.close()
  })

  it('sees nothing at all where it may nothing', async () => {
    const client = await connect(filterFor('guest'), mode)
    expect((await client.listTools()).tools).toEqual([])
    expect((await client.listPrompts()).prompts).toEqual([])
    expect((await client.listResources()).resources).toEqual([])
    expect((await client.listResourceTemplates()).resourceTemplates).toEqual([])
    await client.close()
  })
})

describe.each(KINDS)('an official client of $kind that refuses to be asked', ({ mode }) => {
  it('is not asked, and uses all else', async () => {
    for (const refused of ['elicitation', 'all'] as const) {
      const client = await connect(clientGate([refused]), mode)
      let asked = 0
      client.setRequestHandler('elicitation/create', () => {
        asked++
        return ANSWER
      })
      expect(await client.callTool({ name: 'read_file' })).toMatchObject({ content: [{ text: 'read_file' }] })
      const result = await client.callTool({ name: 'read_user' }).catch((error: unknown) => error)
      expect(JSON.stringify(result)).not.toContain('accept')
      expect(result).toSatisfy((it) => it instanceof Error || JSON.stringify(it).includes('"isError":true'))
      expect(asked).toBe(0)
      await client.close()
    }
  })

  it('is asked for what it does not refuse', async () => {
    const client = await connect(clientGate(['sampling', 'roots']), mode)
    expect(await client.callTool({ name: 'read_user' })).toMatchObject({
      content: [{ text: JSON.stringify(ANSWER) }],
    })
    await client.close()
  })
})

describe('an official client of the older line under a policy', () => {
  it('sees and uses what it may, and nothing else', async () => {
    const client = new ClientOf1(INFO)
    await client.connect(lineThrough(filterFor('laptop')))
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['read_file', 'read_user'])
    expect(await client.callTool({ name: 'read_file' })).toMatchObject({ content: [{ text: 'read_file' }] })
    expect(await failure(() => client.callTool({ name: 'write_file' }))).toMatchObject({ code: -32602 })
    await client.close()
  })
})
