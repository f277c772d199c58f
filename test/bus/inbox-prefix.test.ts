import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { type SecureOptions, secure } from '../../src/bus/secure.ts'
import type { ClientLine } from '../support/client.ts'
import { collectStatus, type Tapped, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

/** Each of these users may subscribe to inboxes of its own alone, besides the subjects of the protocol. */
const USERS = `authorization {
  users: [
    { user: any, password: any }
    { user: alice, password: a, permissions: { publish: ">", subscribe: ["_INBOX_alice.>", "subrosa.v1.>", "tools.>"] } }
    { user: carol, password: c, permissions: { publish: ">", subscribe: ["replies.carol.>", "subrosa.v1.>", "tools.>"] } }
  ]
}
no_auth_user: any`

let realm: TestRealm
let worker: SecureConnection
let other: SecureConnection
let wire: Tapped[]
const connections: NatsConnection[] = []

beforeAll(async () => {
  realm = await TestRealm.start({ serverConfig: USERS })
  worker = await realm.agent('worker')
  other = await realm.agent('other')
  for (const bus of [worker, other]) {
    bus.subscribe('tools.ask', { callback: (_error, m) => m.respond(`${bus.name}: ${m.string()}`) })
    await bus.flush()
  }
  worker.subscribe('tools.queue', { queue: 'q', callback: (_error, m) => m.respond('done') })
  await worker.flush()
  wire = await realm.tap()
})
afterAll(async () => {
  await realm.stop()
  for (const nc of connections) await nc.close()
})

interface Login {
  readonly user: 'alice' | 'carol'
  readonly client?: ClientLine
  readonly inboxPrefix?: string
}

/** An agent that logs in as one of the users, and knows the others. */
async function login(login: Login, options: Partial<SecureOptions> = {}): Promise<SecureConnection> {
  const nc = await realm.connection({ ...login, pass: login.user.slice(0, 1) })
  const identity = realm.identity(`${login.user}-${connections.push(nc)}`)
  const bus = await secure(nc, { identity, trust: realm.trust, state: 'memory', ...options })
  await bus.waitForAudience('tools.ask', { atLeast: 2 })
  return bus
}

/** The reply subjects of the requests that the broker has seen. */
async function replies(count: number): Promise<(string | undefined)[]> {
  const asked = (): Tapped[] => wire.filter(({ subject }) => subject === 'tools.ask')
  await until('the broker has seen them', () => asked().length === count)
  return asked().map(({ reply }) => reply)
}

describe('requests under a prefix of inboxes', () => {
  it.each(['nats', '@nats-io'] as const)(
    'use that of the connection, and a server allows no other: %s',
    async (client) => {
      const bus = await login({ user: 'alice', client, inboxPrefix: '_INBOX_alice' })
      wire.length = 0
      const one = await bus.request('tools.ask', 'one', { to: ['worker'] })
      expect(one.string()).toBe('worker: one')
      const many: string[] = []
      const options = { strategy: 'count', maxMessages: 2, to: ['worker', 'other'] } as const
      for await (const m of await bus.requestMany('tools.ask', 'many', options)) many.push(m.string())
      expect(many.sort()).toEqual(['other: many', 'worker: many'])
      for (const reply of await replies(2))
        expect(reply).toMatch(/^_INBOX_alice\.[0-9a-f]{30}\.[0-9a-f]{30}$/)
      await bus.close()
    },
  )

  it('use that of the option before that of the connection', async () => {
    const bus = await login({ user: 'carol', inboxPrefix: '_INBOX_wrong' }, { inboxPrefix: 'replies.carol' })
    wire.length = 0
    const one = await bus.request('tools.ask', 'one', { to: ['worker'] })
    expect(one.string()).toBe('worker: one')
    expect((await replies(1))[0]).toMatch(/^replies\.carol\./)
    await bus.close()
  })

  it('use _INBOX where neither says anything', async () => {
    wire.length = 0
    await other.request('tools.ask', 'one', { to: ['worker'] })
    expect((await replies(1))[0]).toMatch(/^_INBOX\.[0-9a-f]{30}\.[0-9a-f]{30}$/)
  })

  it('fail clearly, and not by timing out, where the server does not allow the inbox', async () => {
    for (const inboxPrefix of [undefined, '_INBOX_bob']) {
      const bus = await login({ user: 'alice', ...(inboxPrefix === undefined ? {} : { inboxPrefix }) })
      const error = await failure(() => bus.request('tools.ask', 'one', { to: ['worker'], timeout: 20_000 }))
      expect(error.code).toBe('ERR_SUBSCRIBE_DENIED')
      expect(error.message).toContain(`${inboxPrefix ?? '_INBOX'}.`)
      expect(error.hint).toContain('inboxPrefix')
      const many = await bus.requestMany('tools.ask', 'many', { to: ['worker'], maxWait: 20_000 })
      const error_ = await failure(async () => {
        for await (const _ of many) throw new Error('nobody can answer')
      })
      expect(error_.code).toBe('ERR_SUBSCRIBE_DENIED')
      await bus.close()
    }
  })

  it('are refused where the option is no subject', async () => {
    const nc = await realm.connection()
    for (const inboxPrefix of ['', 'a.*', '>', 'a b', 'a.', '.a', 'a\r\nPUB x 0', 'x'.repeat(2000)]) {
      const error = await failure(() =>
        secure(nc, { identity: realm.identity('x'), trust: realm.trust, state: 'memory', inboxPrefix }),
      )
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain('inboxPrefix')
    }
  })
})

describe('the hint of a queue worker that a request was not sealed to', () => {
  it('reaches requesters with prefixes of the usual kind, and a request fails at once', async () => {
    for (const client of ['nats', '@nats-io'] as const) {
      const bus = await login({ user: 'alice', client, inboxPrefix: '_INBOX_alice' })
      const error = await failure(() => bus.request('tools.queue', 'x', { to: ['other'], timeout: 20_000 }))
      expect(error.code).toBe('ERR_UNADDRESSED')
      await bus.close()
    }
  })

  it('reaches requesters with the prefix of its own, and no other prefix that it does not know', async () => {
    const nc = await realm.connection()
    const parts = { identity: realm.identity('colleague'), trust: realm.trust, state: 'memory' }
    const colleague = await secure(nc, { ...parts, inboxPrefix: 'replies.carol' })
    colleague.subscribe('tools.shared', { queue: 'q', callback: () => {} })
    await colleague.flush()
    const bus = await login({ user: 'carol' }, { inboxPrefix: 'replies.carol' })
    const shared = await failure(() => bus.request('tools.shared', 'x', { to: ['other'], timeout: 20_000 }))
    expect(shared.code).toBe('ERR_UNADDRESSED')
    const strange = await failure(() => bus.request('tools.queue', 'x', { to: ['other'], timeout: 50 }))
    expect(strange.code).toBe('ERR_TIMEOUT')
    await colleague.close()
    await bus.close()
  })

  it('is sent to inboxes alone: not to subjects that whoever published chose', async () => {
    const bus = await login({ user: 'alice', inboxPrefix: '_INBOX_alice' })
    wire.length = 0
    bus.publish('tools.queue', 'not for the worker', { to: ['other'] })
    await until('the broker has it', () => wire.some(({ subject }) => subject === 'tools.queue'))
    const bytes = wire.find(({ subject }) => subject === 'tools.queue')?.data ?? new Uint8Array(0)
    const broker = await realm.connection()
    const events = collectStatus(worker)
    wire.length = 0
    const inboxes = ['_INBOX.v.1', '_INBOX_alice.v.1', '_INBOX_.v']
    const others = [
      'orders.victim',
      'inbox.v',
      '_inbox.v',
      'INBOX.v',
      'x._INBOX.v',
      '_R_v.1',
      'replies.carol.v',
      '_INBOX',
      '_INBOX.>',
      '_INBOX.*.v',
      '$JS.API.INFO',
      realm.inboxOf(worker),
    ]
    for (const reply of [...others, ...inboxes]) broker.publish('tools.queue', bytes, { reply })
    await until('the last inbox has its hint', () => wire.some(({ subject }) => subject === '_INBOX_.v'))
    const hinted = wire.filter(({ data }) => data.length === 0).map(({ subject }) => subject)
    expect(hinted).toEqual(inboxes)
    expect(events.filter(({ type }) => type !== 'nats')).toEqual([])
    await bus.close()
  })
})
