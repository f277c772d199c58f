import {
  Match as CurrentMatch,
  headers as currentHeaders,
  type NatsConnection,
  wsconnect,
} from '@nats-io/nats-core'
import { Match as EarlierMatch, headers as earlierHeaders } from 'nats'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { type HeaderMatch, type HeadersLike, MessageHeaders } from '../../src/bus/messages/headers.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import type { NatsLike } from '../../src/bus/nats-like.ts'
import { secure } from '../../src/bus/secure.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import { type RotationService, startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { freePort } from '../setup/running-realm.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

/** Node 20 has no WebSocket of its own, and `wsconnect` without one never settles. */
async function connectOverWebSocket(port: number): Promise<NatsConnection> {
  return wsconnect({
    servers: `ws://127.0.0.1:${port}`,
    reconnectTimeWait: 20,
    maxReconnectAttempts: -1,
    wsFactory: async (url) => ({ socket: new WebSocket(url) as never, encrypted: false }),
  })
}

describe('agents on nats 2.29, on @nats-io 3.4 and over WebSocket', () => {
  let realm: TestRealm
  let agents: readonly SecureConnection[]
  let web: NatsConnection
  const names = ['earlier', 'current', 'web']

  beforeAll(async () => {
    const port = await freePort()
    realm = await TestRealm.start({
      serverConfig: `websocket { listen: "127.0.0.1:${port}", no_tls: true }`,
    })
    web = await connectOverWebSocket(port)
    const connections: readonly NatsLike[] = [
      await realm.connection({ client: 'nats' }),
      await realm.connection({ client: '@nats-io' }),
      web,
    ]
    agents = await Promise.all(
      connections.map((nc, i) =>
        secure(nc, { identity: realm.identity(names[i] ?? ''), trust: realm.trust, state: 'memory' }),
      ),
    )
    for (const bus of agents) await bus.waitForAudience('talk', { atLeast: 2 })
  })
  afterAll(async () => {
    for (const bus of agents) await bus.close()
    await web.close()
    await realm.stop()
  })

  const heard: string[] = []
  beforeEach(() => {
    heard.length = 0
  })
  const everyPair = names.flatMap((from) => names.map((to) => `${from} to ${to}`)).sort()

  /** Everyone listens on `subject`, and notes who said what to whom. */
  async function listen(subject: string): Promise<void> {
    for (const bus of agents) {
      bus.subscribe(subject, { callback: (_error, m) => heard.push(`${m.sender.name} to ${bus.name}`) })
      await bus.flush()
    }
  }

  it('all hear what each of them publishes', async () => {
    await listen('talk')
    for (const bus of agents) bus.publish('talk', 'hello')
    await until('all have heard all', () => heard.length === 9)
    expect(heard.sort()).toEqual(everyPair)
    for (const bus of agents) expect(bus.rejections()).toEqual({})
  })

  it('answer each other, one and all', async () => {
    for (const bus of agents) {
      bus.subscribe('ask', { callback: (_error, m) => m.respond(`${bus.name} to ${m.string()}`) })
      await bus.flush()
    }
    const answers: string[] = []
    for (const bus of agents) {
      for (const name of names) answers.push((await bus.request('ask', bus.name, { to: [name] })).string())
      const many = await bus.requestMany('ask', bus.name, { strategy: 'count', maxMessages: 3 })
      const responders: string[] = []
      for await (const m of many) responders.push(m.sender.name)
      expect(responders.sort()).toEqual([...names].sort())
    }
    expect(answers.sort()).toEqual(everyPair)
  })

  it('read the headers of every line, by the ways of matching of their own', async () => {
    const got: SecureMessage[] = []
    for (const bus of agents) {
      bus.subscribe('headers', {
        callback: (_error, m) => {
          got.push(m)
          if (m.headers !== undefined) m.respond('', { headers: m.headers })
        },
      })
      await bus.flush()
    }
    const makers: readonly (() => HeadersLike & Pick<MessageHeaders, 'append' | 'set'>)[] = [
      earlierHeaders,
      currentHeaders,
      () => new MessageHeaders(),
    ]
    for (const bus of agents) {
      for (const make of makers) {
        got.length = 0
        const headers = make()
        headers.append('X-Trace', 'a')
        headers.append('X-Trace', 'b')
        headers.append('x-trace', 'c')
        headers.set('Nats-Msg-Id', 'id-1')
        const response = await bus.request('headers', 'x', { headers })
        await until('all have it', () => got.length === 3)
        for (const m of [...got, response]) {
          const read = (name: string, match?: HeaderMatch) => m.headers?.values(name, match)
          expect(read('X-Trace')).toEqual(['a', 'b'])
          expect(read('X-TRACE')).toEqual([])
          for (const match of [EarlierMatch.CanonicalMIME, CurrentMatch.CanonicalMIME])
            expect(read('x-trace', match)).toEqual(['a', 'b'])
          for (const match of [EarlierMatch.IgnoreCase, CurrentMatch.IgnoreCase])
            expect(read('X-TRACE', match)).toEqual(['a', 'b', 'c'])
          expect(read('Nats-Msg-Id')).toEqual(['id-1'])
          expect([...(m.headers ?? [])].map(([name]) => name)).toEqual(['X-Trace', 'x-trace', 'Nats-Msg-Id'])
        }
      }
    }
  })
})

/**
 * The transport of `@nats-io/nats-core` is one for its process: the last that connected makes every later connection.
 * So an agent over WebSocket comes back only where all others in the process are of the earlier line.
 */
describe.each([
  ['nats 2.29 and @nats-io 3.4', async (realm: TestRealm) => realm.connection({ client: '@nats-io' })],
  ['nats 2.29 and WebSocket', async (_realm: TestRealm, port: number) => connectOverWebSocket(port)],
])('agents on %s', (_lines, connectOther) => {
  let realm: TestRealm
  let service: RotationService
  let other: NatsConnection
  let agents: readonly SecureConnection[]
  const heard: string[] = []

  beforeAll(async () => {
    const port = await freePort()
    realm = await TestRealm.start({
      rotation: false,
      serverConfig: `websocket { listen: "127.0.0.1:${port}", no_tls: true }`,
    })
    service = await startRotationService(await realm.connection({ client: 'nats' }), {
      identity: realm.rotator,
      trust: realm.trust,
      plan: realm.kept,
      store: memoryRotationStore(),
    })
    other = await connectOther(realm, port)
    const join = (nc: NatsLike, name: string) =>
      secure(nc, { identity: realm.identity(name), trust: realm.trust, state: 'memory' })
    agents = [await join(await realm.connection({ client: 'nats' }), 'earlier'), await join(other, 'other')]
    for (const bus of agents) {
      bus.subscribe('talk', { callback: (_error, m) => heard.push(`${m.sender.name} to ${bus.name}`) })
      await bus.flush()
      await bus.waitForAudience('talk')
    }
  })
  afterAll(async () => {
    for (const bus of agents) await bus.close()
    service.close()
    await other.close()
    await realm.stop()
  })

  async function hearEachOther(): Promise<void> {
    heard.length = 0
    await until('both have heard both', () => {
      for (const bus of agents) bus.publish('talk', 'again')
      return new Set(heard).size === 4
    })
  }

  it('hear each other again after each has made a new connection to the server', async () => {
    const events = agents.map(collectStatus)
    await Promise.all(agents.map((bus) => bus.reconnect()))
    await until('both are back', () => events.every(hasReconnected))
    await hearEachOther()
  })

  it('hear each other again after the server was killed', async () => {
    const events = agents.map(collectStatus)
    await realm.server.kill()
    const again = await realm.server.restart()
    try {
      await until('both are back', () => events.every(hasReconnected))
      await hearEachOther()
      for (const bus of agents) expect(bus.rejections()).toEqual({})
    } finally {
      for (const bus of agents) await bus.close()
      await again.stop()
    }
  })
})

const hasReconnected = (events: readonly StatusEvent[]): boolean =>
  events.some((event) => event.type === 'nats' && event.status.type === 'reconnect')
