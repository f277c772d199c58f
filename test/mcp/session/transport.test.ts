import { InMemoryTransport as MemoryOf2, type Transport as TransportOf2 } from '@modelcontextprotocol/client'
import { InMemoryTransport as MemoryOf1 } from '@modelcontextprotocol/sdk/inMemory.js'
import type { Transport as TransportOf1 } from '@modelcontextprotocol/sdk/shared/transport.js'
import type { Transport as ServerTransportOf2 } from '@modelcontextprotocol/server'
import { afterAll, afterEach, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { fingerprint } from '../../../src/identity/fingerprint.ts'
import { openChannel } from '../../../src/mcp/session/client.ts'
import { McpEnd } from '../../../src/mcp/session/frames.ts'
import { Listener } from '../../../src/mcp/session/listener.ts'
import { serverPermissions } from '../../../src/mcp/session/subjects.ts'
import { listenSealed, type SealedListener, SealedTransport } from '../../../src/mcp.ts'
import { failure, until } from '../../support/until.ts'
import { type ClientAgent, SERVER, SealedWorld, toPermissions } from '../sealed-world.ts'

interface Message {
  readonly jsonrpc: '2.0'
  readonly method: string
}

const say = (method: string): Message => ({ jsonrpc: '2.0', method })

const codeOf = (error: Error): unknown => ('code' in error ? error.code : undefined)

/** What all transports have that are compared here. */
interface AnyTransport {
  start(): Promise<void>
  send(message: Message): Promise<void>
  close(): Promise<void>
  onclose?: (() => void) | undefined
  onerror?: ((error: Error) => void) | undefined
  // biome-ignore lint/suspicious/noExplicitAny: each of them has its own type of a message
  onmessage?: ((message: any, extra?: any) => void) | undefined
}

/** A transport, and what it has called back with. */
class Watched {
  readonly transport: AnyTransport
  readonly got: string[] = []
  readonly errors: Error[] = []
  closes = 0
  /** Called with each message, before it counts as read. */
  handle: (message: Message) => void = () => {}

  constructor(transport: AnyTransport) {
    this.transport = transport
    transport.onclose = () => void this.closes++
    transport.onerror = (error) => void this.errors.push(error)
    transport.onmessage = (message: Message) => {
      this.handle(message)
      this.got.push(message.method)
    }
  }
}

let world: SealedWorld
let laptop: ClientAgent
let files: SealedWorld['realm']['agent'] extends (...args: never[]) => Promise<infer Bus> ? Bus : never
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

/** A server's transport that nobody has started, and the client's that has opened the session. */
async function sealedPair(): Promise<{ readonly client: SealedTransport; readonly server: SealedTransport }> {
  let server: SealedTransport | undefined
  listener = await listenSealed(files, async (transport) => {
    server = transport
  })
  const client = new SealedTransport(laptop.bus, { server: SERVER })
  await client.start()
  if (server === undefined) throw new Error('no session was taken')
  return { client, server }
}

interface Pair {
  readonly client: Watched
  readonly server: Watched
}

/** A pair of which the client's has started. */
const pairs: readonly [string, () => Promise<Pair>][] = [
  ['InMemoryTransport of 1.x', () => memoryPair(MemoryOf1.createLinkedPair())],
  ['InMemoryTransport of 2.x', () => memoryPair(MemoryOf2.createLinkedPair())],
  [
    'SealedTransport',
    async () => {
      const { client, server } = await sealedPair()
      return { client: new Watched(client), server: new Watched(server) }
    },
  ],
]

async function memoryPair([client, server]: readonly [AnyTransport, AnyTransport]): Promise<Pair> {
  const pair = { client: new Watched(client), server: new Watched(server) }
  await client.start()
  return pair
}

describe.each(pairs)('%s', (kind, makePair) => {
  async function started(): Promise<Pair> {
    const pair = await makePair()
    await pair.server.transport.start()
    return pair
  }

  it('delivers messages in order, both ways', async () => {
    const { client, server } = await started()
    const methods = Array.from({ length: 50 }, (_, i) => `m/${i}`)
    for (const method of methods) {
      void client.transport.send(say(method))
      void server.transport.send(say(method))
    }
    await until('all have come', () => client.got.length + server.got.length === 100)
    expect([client.got, server.got]).toEqual([methods, methods])
  })

  it('keeps what comes before somebody reads it', async () => {
    const { client, server } = await makePair()
    // The memory line's transports know by their handler whether somebody reads.
    const { transport } = server
    const { onmessage } = transport
    transport.onmessage = undefined
    await client.transport.send(say('early'))
    await client.transport.send(say('bird'))
    transport.onmessage = onmessage
    await transport.start()
    await until('both have come', () => server.got.length === 2)
    expect(server.got).toEqual(['early', 'bird'])
  })

  it.each(['client', 'server'] as const)('closed by the %s is closed for both, and says so', async (who) => {
    const { client, server } = await started()
    await { client, server }[who].transport.close()
    await until('both say so', () => client.closes > 0 && server.closes > 0)
    // The older memory line says so twice to whoever closes.
    if (kind !== 'InMemoryTransport of 1.x') expect([client.closes, server.closes]).toEqual([1, 1])
    expect([client.errors, server.errors]).toEqual([[], []])
    for (const { transport } of [client, server])
      expect(await failure(() => transport.send(say('late')))).toBeInstanceOf(Error)
  })

  it('can be closed again and again, by both', async () => {
    const { client, server } = await started()
    await Promise.all([client, server, client, server].map(({ transport }) => transport.close()))
    await client.transport.close()
    await until('both say so', () => client.closes > 0 && server.closes > 0)
    if (kind !== 'InMemoryTransport of 1.x') expect([client.closes, server.closes]).toEqual([1, 1])
  })

  it('delivers what was sent before it was closed', async () => {
    const { client, server } = await started()
    const sends = [client.transport.send(say('a')), client.transport.send(say('b'))]
    await Promise.all(sends)
    await client.transport.close()
    await until('it is closed', () => server.closes > 0)
    expect(server.got).toEqual(['a', 'b'])
  })

  it('can be closed before the server has started', async () => {
    const { client, server } = await makePair()
    await server.transport.close()
    await until('it says so', () => server.closes > 0)
    await until('the client says so too', () => client.closes > 0)
    expect(server.got).toEqual([])
  })

  it('can be closed by who reads a message', async () => {
    const { client, server } = await started()
    server.handle = () => void server.transport.close()
    await client.transport.send(say('the last'))
    await until('both say so', () => client.closes > 0 && server.closes > 0)
    expect(server.got).toEqual(['the last'])
  })

  it('lives on when a handler throws', async () => {
    const { client, server } = await started()
    server.handle = ({ method }) => {
      if (method === 'bad') throw new Error('the handler')
    }
    // In memory it is the sender who is told.
    await client.transport.send(say('bad')).catch(() => {})
    await client.transport.send(say('good'))
    await until('the next one has come', () => server.got.length === 1)
    expect([server.got, client.closes, server.closes]).toEqual([['good'], 0, 0])
    if (kind === 'SealedTransport') expect(server.errors).toEqual([new Error('the handler')])
  })

  it('may have no handlers at all', async () => {
    const { client, server } = await started()
    for (const { transport } of [client, server]) {
      transport.onclose = undefined
      transport.onerror = undefined
      transport.onmessage = undefined
    }
    await client.transport.send(say('to nobody'))
    await client.transport.close()
  })
})

describe('a sealed transport', () => {
  it('has the shape of either line', () => {
    expectTypeOf<SealedTransport>().toExtend<TransportOf1>()
    expectTypeOf<SealedTransport>().toExtend<TransportOf2>()
    expectTypeOf<SealedTransport>().toExtend<ServerTransportOf2>()
    const asAny = (transport: SealedTransport): [TransportOf1, TransportOf2, ServerTransportOf2] => [
      transport,
      transport,
      transport,
    ]
    expect(asAny).toBeTypeOf('function')
  })

  it('says who is at the other end, and comes with it in every message', async () => {
    const { client, server } = await sealedPair()
    const seen: unknown[] = []
    server.onmessage = (_message, extra) => seen.push(extra)
    client.onmessage = (_message, extra) => seen.push(extra)
    await server.start()
    await client.send(say('a'))
    await until('the first has come', () => seen.length === 1)
    await server.send(say('b'))
    await until('the other too', () => seen.length === 2)
    const { peer } = server
    expect(peer).toMatchObject({ name: 'laptop', instance: laptop.bus.instance })
    expect(seen[0]).toEqual({
      authInfo: {
        token: '',
        clientId: 'laptop',
        scopes: [],
        expiresAt: peer?.expiresAt,
        extra: {
          instance: laptop.bus.instance,
          identity: laptop.identity.publicKey,
          keyId: fingerprint(laptop.identity.publicKey),
        },
      },
    })
    expect(seen[1]).toMatchObject({ authInfo: { token: '', clientId: SERVER, scopes: [] } })
    expect(Object.isFrozen(peer)).toBe(true)
  })

  it('hands over a message when what the one before it set off has run: progress does not come after its result', async () => {
    const { client, server } = await sealedPair()
    const order: string[] = []
    server.onmessage = ({ method }: Message) => {
      order.push(method)
      void Promise.resolve().then(() => order.push(`after ${method}`))
    }
    await server.start()
    // In one turn, and so in one frame.
    await Promise.all(['a', 'b', 'c'].map((method) => client.send(say(method))))
    await until('all have come', () => order.length === 6)
    expect(order).toEqual(['a', 'after a', 'b', 'after b', 'c', 'after c'])
  })

  it('has the id of the session at the server alone: the SDKs would not begin with one', async () => {
    const { client, server } = await sealedPair()
    expect(client.sessionId).toBeUndefined()
    expect(server.sessionId).toMatch(/^[0-9a-f]{32}$/)
  })

  it('is started once, and sends nothing before', async () => {
    const client = new SealedTransport(laptop.bus, { server: SERVER })
    expect(await failure(() => client.send(say('early')))).toMatchObject({
      code: 'ERR_CLOSED',
      message: 'this transport is not connected',
    })
    const pair = await sealedPair()
    expect((await failure(() => pair.client.start())).message).toBe('this transport was started before')
    expect((await failure(() => pair.server.send(say('early')))).code).toBe('ERR_CLOSED')
    await pair.server.start()
    expect((await failure(() => pair.server.start())).message).toBe('this transport was started before')
    await pair.client.send(say('fine'))
  })

  it('that was closed before its start, or while it opens the session, opens none', async () => {
    const { client: first, server } = await sealedPair()
    const early = new SealedTransport(laptop.bus, { server: SERVER })
    let closes = 0
    early.onclose = () => void closes++
    await early.close()
    expect(closes).toBe(1)
    expect((await failure(() => early.start())).code).toBe('ERR_CLOSED')
    const late = new SealedTransport(laptop.bus, { server: SERVER })
    late.onclose = () => void closes++
    const starting = failure(() => late.start())
    await late.close()
    expect((await starting).code).toBe('ERR_CLOSED')
    expect(closes).toBe(2)
    await until('only the first is left', () => listener?.sessions === 1)
    await server.start()
    await first.send(say('fine'))
  })

  it('must be told which server, and says when it is not there', async () => {
    // @ts-expect-error a client's transport has options
    expect(() => new SealedTransport(laptop.bus)).toThrow(TypeError)
    const nobody = new SealedTransport(laptop.bus, { server: SERVER, timeout: 200 })
    expect((await failure(() => nobody.start())).code).toBe('ERR_NO_RESPONDERS')
    expect((await failure(() => nobody.start())).message).toBe('this transport was started before')
    expect((await failure(() => nobody.send(say('x')))).code).toBe('ERR_CLOSED')
  })

  it('reports what is no JSON, without a word of it, and goes on', async () => {
    const received: unknown[] = []
    const errors: Error[] = []
    listener = await Listener.start(files, async (channel) => {
      const transport = new SealedTransport(channel)
      transport.onmessage = (message: unknown) => void received.push(message)
      transport.onerror = (error) => void errors.push(error)
      await transport.start()
    })
    const channel = await openChannel(laptop.bus, { server: SERVER })
    await channel.open({ message: () => {}, closed: () => {} })
    for (const text of ['{"secret', '', 'nul', '{"ok":1}']) await channel.send(utf8(text))
    await channel.send(Uint8Array.of(0x22, 0xff, 0x22))
    await channel.send(utf8('"last"'))
    await until('all have come', () => received.length === 2 && errors.length === 4)
    expect(received).toEqual([{ ok: 1 }, 'last'])
    for (const error of errors) expect([codeOf(error), error.cause]).toEqual(['ERR_MALFORMED', undefined])
    expect(new Set(errors.map(({ message }) => message))).toEqual(new Set(['an MCP message is no JSON']))
  })

  it('reports why it has ended where that was no purpose, and then that it has, whatever handlers do', async () => {
    listener = await listenSealed(files, (transport) => transport.start())
    const channel = await openChannel(laptop.bus, { server: SERVER })
    const transport = new SealedTransport(channel)
    const calls: string[] = []
    transport.onerror = ({ message }) => {
      calls.push(message)
      throw new Error('the handler')
    }
    transport.onclose = () => void calls.push('closed')
    await transport.start()
    channel.end(McpEnd.expired)
    expect(calls).toEqual(['the MCP session has ended: its time is over', 'closed'])
    await transport.close()
    expect(calls).toHaveLength(2)
    expect(await failure(() => transport.send(say('late')))).toMatchObject({ code: 'ERR_CLOSED' })
  })
})
