import { Client as ClientOf2 } from '@modelcontextprotocol/client'
import { McpServer as McpServerOf1 } from '@modelcontextprotocol/sdk/server/mcp.js'
import { inputRequired, McpServer as McpServerOf2 } from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { fingerprint } from '../../src/identity/fingerprint.ts'
import { serverPermissions } from '../../src/mcp/session/subjects.ts'
import { listenSealed, type SealedListener, SealedTransport } from '../../src/mcp.ts'
import { failure, until } from '../support/until.ts'
import { LineClient, LineServer, SDK_LINES, type SdkLine } from './sdk-lines.ts'
import { type ClientAgent, SERVER, SealedWorld, toPermissions } from './sealed-world.ts'

let world: SealedWorld
let laptop: ClientAgent
let files: SecureConnection
let listener: SealedListener | undefined
beforeAll(async () => {
  world = await SealedWorld.start()
  laptop = await world.client('laptop')
  files = await world.realm.agent(SERVER, { permissions: toPermissions(serverPermissions(SERVER)) })
})
afterAll(() => world.stop())
afterEach(() => {
  listener?.close()
  listener = undefined
})

/** Serves with a new server for each session, and returns those in the order of the sessions. */
async function serve(line: SdkLine): Promise<LineServer[]> {
  const servers: LineServer[] = []
  listener = await listenSealed(files, async (transport) => {
    const server = LineServer.of(line)
    await server.connect(transport)
    servers.push(server)
  })
  return servers
}

async function connected(line: SdkLine, { bus }: ClientAgent = laptop): Promise<LineClient> {
  const client = LineClient.of(line)
  await client.connect(new SealedTransport(bus, { server: SERVER }))
  return client
}

const pairs = SDK_LINES.flatMap((client) => SDK_LINES.map((server) => ({ client, server })))

describe.each(pairs)('a client of $client and a server of $server', (lines) => {
  let client: LineClient
  let server: LineServer
  let lasting: SealedListener | undefined
  beforeAll(async () => {
    const servers = await serve(lines.server)
    client = await connected(lines.client)
    const [only] = servers
    if (only === undefined) throw new Error('no session was taken')
    server = only
    // One session for all of these: the hook after each test would end it.
    lasting = listener
    listener = undefined
  })
  afterAll(async () => {
    await client.close()
    lasting?.close()
  })

  it('find each other, list tools and call them', async () => {
    expect(client.server).toBe('test')
    expect(await client.tools()).toEqual(['echo'])
    expect(await client.call('echo', { text: 'hello 🌍' })).toBe('hello 🌍')
    expect(await client.read()).toEqual([{ uri: 'note://one', text: 'a note' }])
  })

  it('give the handler who calls, verified, and no token', async () => {
    const { identity, bus } = laptop
    expect(JSON.parse(await client.call('who'))).toEqual({
      token: '',
      clientId: 'laptop',
      scopes: [],
      expiresAt: expect.any(Number),
      extra: {
        instance: bus.instance,
        identity: identity.publicKey,
        keyId: fingerprint(identity.publicKey),
      },
    })
  })

  it('say that a tool has failed, and go on', async () => {
    expect((await failure(() => client.call('none'))).message).toContain('no such tool')
    expect(await client.call('echo', { text: 'still here' })).toBe('still here')
  })

  it('report progress while a call lasts, before its result', async () => {
    const seen: number[] = []
    expect(
      await client.call('progress', {}, { onprogress: ({ progress }) => void seen.push(progress) }),
    ).toBe('done')
    expect(seen).toEqual([1, 2, 3])
  })

  it('cancel a call', async () => {
    const controller = new AbortController()
    const call = failure(() => client.call('wait', { id: 'x' }, { signal: controller.signal }))
    await until('it has begun', () => server.waiting.length === 1)
    controller.abort('no longer wanted')
    await call
    await until('the server knows', () => server.cancelled.length === 1)
    expect(server.cancelled).toEqual([{ id: 'x' }])
  })

  it('let the server ask for a sample, for an answer of the user and for roots', async () => {
    expect(JSON.parse(await client.call('sample'))).toMatchObject({ content: { text: '10 tokens' } })
    expect(JSON.parse(await client.call('elicit'))).toEqual({ action: 'accept', content: { name: 'Ada' } })
    expect(JSON.parse(await client.call('roots'))).toMatchObject({ roots: [{ uri: 'file:///srv' }] })
  })

  it('pass notifications both ways: logs, updates, changes of lists', async () => {
    await client.setLevel('debug')
    await client.call('log', { text: 'a line' })
    await client.subscribe()
    await client.call('touch')
    await client.sayRootsChanged()
    const methods = (): string[] => client.told.map(({ method }) => method)
    await until('all have come', () => methods().includes('notifications/tools/list_changed'))
    expect(client.told).toContainEqual(
      expect.objectContaining({
        method: 'notifications/message',
        params: expect.objectContaining({ level: 'info', data: 'a line' }),
      }),
    )
    expect(methods()).toContain('notifications/resources/updated')
    await until('the server has one too', () => server.told.includes('notifications/roots/list_changed'))
  })

  it('carry 5 MB each way, and many calls at once', async () => {
    const length = 5_000_000
    expect((await client.call('big', { length })).length).toBe(length)
    const text = 'x'.repeat(length)
    expect((await client.call('echo', { text })) === text).toBe(true)
    const texts = Array.from({ length: 200 }, (_, i) => String(i))
    expect(await Promise.all(texts.map((text) => client.call('echo', { text })))).toEqual(texts)
  })

  it('have had no errors in all of this', () => {
    expect([client.errors, server.errors, client.closes, server.closes]).toEqual([[], [], 0, 0])
  })
})

describe.each(SDK_LINES)('a server of %s', (line) => {
  it('keeps two clients apart that count their requests alike', async () => {
    const servers = await serve(line)
    const desk = await world.client(`desk-${line.charAt(0)}`)
    const clients = [await connected('1.x'), await connected('2.x', desk), await connected('2.x')]
    const answers = await Promise.all(
      clients.flatMap((client, i) =>
        Array.from({ length: 20 }, (_, n) => client.call('echo', { text: `${i}/${n}` })),
      ),
    )
    expect(answers).toEqual(clients.flatMap((_, i) => Array.from({ length: 20 }, (_, n) => `${i}/${n}`)))
    const who = await Promise.all(clients.map((client) => client.call('who')))
    expect(who.map((text) => JSON.parse(text).clientId)).toEqual([
      'laptop',
      `desk-${line.charAt(0)}`,
      'laptop',
    ])
    expect(servers).toHaveLength(3)
    await clients[0]?.close()
    await until('one session has ended', () => servers.some(({ closes }) => closes === 1))
    expect(await clients[2]?.call('echo', { text: 'goes on' })).toBe('goes on')
    expect([clients[0]?.closes, clients[1]?.closes, servers.map(({ closes }) => closes)]).toEqual([
      1,
      0,
      [1, 0, 0],
    ])
    for (const client of clients.slice(1)) await client.close()
  })

  it('that closes fails what was called, and the client is closed', async () => {
    const servers = await serve(line)
    for (const clientLine of SDK_LINES) {
      const client = await connected(clientLine)
      const server = servers.at(-1)
      const call = failure(() => client.call('wait'))
      await until('it has begun', () => server?.waiting.length === 1)
      await server?.close()
      expect((await call).message).toMatch(/closed/i)
      expect([client.closes, server?.closes]).toEqual([1, 1])
    }
  })

  it('answers with an error what its client cannot take, and the session goes on', async () => {
    const servers = await serve(line)
    for (const clientLine of SDK_LINES) {
      const client = LineClient.of(clientLine)
      await client.connect(new SealedTransport(laptop.bus, { server: SERVER, maxMessage: 100_000 }))
      const error = await failure(() => client.call('big', { length: 100_000 }))
      expect(error.message).toContain('the response is too long: the other side takes 100000 at most')
      expect(servers.at(-1)?.errors).toHaveLength(1)
      expect((await client.call('big', { length: 99_000 })).length).toBe(99_000)
      await client.close()
    }
  })

  it('is refused and said to be so by connect() of a client', async () => {
    listener = await listenSealed(files, () => Promise.reject(new Error('no')))
    for (const clientLine of SDK_LINES)
      expect(await failure(() => connected(clientLine))).toMatchObject({ code: 'ERR_MCP_REFUSED' })
  })
})

describe('servers of a higher level', () => {
  it('of 1.x give their tools who calls', async () => {
    listener = await listenSealed(files, async (transport) => {
      const server = new McpServerOf1({ name: 'test', version: '1.0.0' })
      server.registerTool('who', {}, ({ authInfo }) => ({
        content: [{ type: 'text', text: `${authInfo?.clientId} ${authInfo?.token}` }],
      }))
      await server.connect(transport)
    })
    for (const line of SDK_LINES) expect(await (await connected(line)).call('who')).toBe('laptop ')
  })

  it('of 2.x give their tools who calls', async () => {
    listener = await listenSealed(files, async (transport) => {
      const server = new McpServerOf2({ name: 'test', version: '1.0.0' })
      server.registerTool('who', {}, ({ http }) => ({
        content: [{ type: 'text', text: `${http?.authInfo?.clientId} ${http?.authInfo?.token}` }],
      }))
      await server.connect(transport)
    })
    for (const line of SDK_LINES) expect(await (await connected(line)).call('who')).toBe('laptop ')
  })
})

describe('the revision 2026-07-28', () => {
  /** A server of either era, which knows its client by the session: the SDK does not hand on who calls here. */
  async function serveModern(): Promise<void> {
    listener = await listenSealed(files, async (transport) => {
      const { peer } = transport
      serveStdio(
        () => {
          const server = new McpServerOf2({ name: 'modern', version: '1.0.0' })
          server.registerTool('who', {}, () => ({ content: [{ type: 'text', text: peer?.name ?? '' }] }))
          server.registerTool('ask', {}, ({ mcpReq }) => {
            const answer = mcpReq.inputResponses?.['who']
            if (answer !== undefined) return { content: [{ type: 'text', text: JSON.stringify(answer) }] }
            const requestedSchema = {
              type: 'object' as const,
              properties: { name: { type: 'string' as const } },
            }
            return inputRequired({
              inputRequests: { who: inputRequired.elicit({ message: 'Who?', requestedSchema }) },
            })
          })
          return server
        },
        { transport },
      )
    })
  }

  async function modernClient(mode: 'auto' | { readonly pin: string }): Promise<ClientOf2> {
    const client = new ClientOf2(
      { name: 'test', version: '1.0.0' },
      { capabilities: { elicitation: {} }, versionNegotiation: { mode } },
    )
    client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Ada' } }))
    await client.connect(new SealedTransport(laptop.bus, { server: SERVER }))
    return client
  }

  const textOf = ({ content }: { readonly content: unknown }): unknown =>
    (content as readonly { readonly text?: string }[])[0]?.text

  it.each(['auto', { pin: '2026-07-28' }] as const)(
    'is spoken by a client and a server of it, mode %j',
    async (mode) => {
      await serveModern()
      const client = await modernClient(mode)
      expect(client.getNegotiatedProtocolVersion()).toBe('2026-07-28')
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(['who', 'ask'])
      expect(textOf(await client.callTool({ name: 'who' }))).toBe('laptop')
      expect(JSON.parse(String(textOf(await client.callTool({ name: 'ask' }))))).toEqual({
        action: 'accept',
        content: { name: 'Ada' },
      })
      await client.close()
    },
  )

  it('is not forced on anybody: a server of both speaks the older one with older clients', async () => {
    await serveModern()
    for (const line of SDK_LINES) {
      const client = await connected(line)
      expect(await client.call('who')).toBe('laptop')
      await client.close()
    }
  })

  it.each(SDK_LINES)('is looked for by a client, and a server of %s is taken as it is', async (line) => {
    await serve(line)
    const client = LineClient.of('2.x', 'auto')
    await client.connect(new SealedTransport(laptop.bus, { server: SERVER }))
    expect(await client.call('echo', { text: 'older' })).toBe('older')
    expect(client.closes).toBe(0)
    await client.close()
  })

  it('that is asked for alone is refused by a server that has it not, and the session ends', async () => {
    await serve('1.x')
    expect(await failure(() => modernClient({ pin: '2026-07-28' }))).toBeInstanceOf(Error)
    await until('nothing is left', () => listener?.sessions === 0)
  })
})
