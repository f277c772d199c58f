import { connect as connectCurrent, type NatsConnection } from '@nats-io/transport-node'
import { connect as connectEarlier } from 'nats'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SubrosaError } from '../../src/base/errors.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { secure } from '../../src/bus/secure.ts'
import { clientLine } from '../support/client.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

/** The server lets nobody publish on `secret.>`, whatever a token says. */
const CONFIG = `authorization { users: [ { user: a, password: a, permissions: { publish: { deny: "secret.>" } } } ] }
no_auth_user: a`

let realm: TestRealm
let nc: NatsConnection
let bus: SecureConnection
let other: SecureConnection

beforeAll(async () => {
  realm = await TestRealm.start({ serverConfig: CONFIG })
  other = await realm.agent('other')
})
afterAll(() => realm.stop())

let names = 0
async function join(connection?: NatsConnection): Promise<SecureConnection> {
  nc = connection ?? (await realm.connection())
  bus = await secure(nc, {
    identity: realm.identity(`agent-${names++}`),
    trust: realm.trust,
    state: 'memory',
  })
  await bus.waitForAudience('talk')
  await until('the other knows it', () => other.audience('talk').some(({ name }) => name === bus.name))
  return bus
}
afterEach(async () => {
  await bus.close().catch(() => {})
  await nc.close()
})

/** A connection of the line under test that gives up soon. */
async function connectBriefly(servers: string): Promise<NatsConnection> {
  const options = { servers, maxReconnectAttempts: 1, reconnectTimeWait: 5 }
  if (clientLine === '@nats-io') return connectCurrent(options)
  return (await connectEarlier(options)) as unknown as NatsConnection
}

describe('stats()', () => {
  it("has the client's own figures, and counts what was sealed, opened and rejected", async () => {
    await join()
    expect(bus.stats()).toMatchObject({ ...nc.stats(), sealed: 0, opened: 0, rejected: 0 })
    const sub = bus.subscribe('talk')
    bus.subscribe('talk', { callback: () => {} })
    bus.subscribe('ask', { callback: (_error, m) => m.respond('answer') })
    await bus.flush()
    other.publish('talk', 'x', { to: [bus.name] })
    // By two subscriptions, each of which opens it.
    await until('both have it', () => bus.stats().opened === 2)
    bus.publish('talk', 'y', { to: ['other'] })
    await other.request('ask', 'q', { to: [bus.name] })
    expect(bus.stats()).toMatchObject({ sealed: 2, opened: 3, rejected: 0 })
    const broker = await realm.connection()
    for (let i = 0; i < 3; i++) broker.publish('talk', 'junk')
    await until('both have rejected it', () => bus.stats().rejected === 6)
    expect(bus.rejections()).toEqual({ plaintext: 6 })
    expect(bus.stats()).toMatchObject({ ...nc.stats(), sealed: 2, opened: 3, rejected: 6 })
    expect(sub.getReceived()).toBe(1)
  })

  it('counts each response of requestMany that is read, and nothing that was refused to be sent', async () => {
    await join()
    const sub = other.subscribe('many', {
      callback: (_error, m) => {
        for (const text of ['1', '2', '3']) m.respond(text)
      },
    })
    await other.flush()
    const before = bus.stats()
    for await (const _ of await bus.requestMany('many', 'q', {
      strategy: 'count',
      maxMessages: 3,
      to: ['other'],
    })) {
    }
    expect(bus.stats().opened).toBe(before.opened + 3)
    expect(bus.stats().sealed).toBe(before.sealed + 1)
    await failure(() => bus.publish('talk', 'x', { to: ['nobody'] }))
    await failure(() => bus.publish('talk', new Uint8Array(2_000_000)))
    expect(bus.stats().sealed).toBe(before.sealed + 1)
    sub.unsubscribe()
  })
})

describe('rtt() and getServer()', () => {
  it('are those of the client', async () => {
    await join()
    expect(await bus.rtt()).toBeGreaterThanOrEqual(0)
    expect(bus.getServer()).toBe(nc.getServer())
    expect(bus.getServer()).toContain(String(realm.server.port))
  })

  it('of a connection that is closed fail as those of the client do', async () => {
    await join()
    await nc.close()
    const theirs = await failure(() => nc.rtt())
    const ours = await failure(() => bus.rtt())
    expect(ours.constructor).toBe(theirs.constructor)
    expect(ours.message).toBe(theirs.message)
  })
})

describe('closed(), isClosed() and isDraining()', () => {
  it('tell close(), which leaves the connection open', async () => {
    await join()
    const closed = bus.closed()
    expect([bus.isClosed(), bus.isDraining()]).toEqual([false, false])
    await bus.close()
    expect(await closed).toBeUndefined()
    expect(await bus.closed()).toBeUndefined()
    expect([bus.isClosed(), bus.isDraining(), nc.isClosed()]).toEqual([true, false, false])
    await bus.close()
    await bus.drain()
    expect(nc.isClosed()).toBe(false)
  })

  it('tell drain(), which closes the connection', async () => {
    await join()
    const closed = bus.closed()
    const drained = bus.drain()
    expect([bus.isClosed(), bus.isDraining()]).toEqual([false, true])
    await drained
    expect(await closed).toBeUndefined()
    expect([bus.isClosed(), nc.isClosed()]).toEqual([true, true])
  })

  it('tell drain() also where the connection is closed meanwhile, or drained by its owner: it never rejects', async () => {
    for (const end of ['close', 'drain'] as const) {
      await join()
      const drained = bus.drain().then(
        () => 'drained',
        (error: Error) => error.name,
      )
      await nc[end]()
      expect(await drained).toBe('drained')
      expect([bus.isClosed(), nc.isClosed()]).toEqual([true, true])
    }
  })

  it('tell the first of several calls of drain() and close(), and the others wait for it', async () => {
    await join()
    const drained = bus.drain()
    expect([bus.drain() === drained, bus.close() === drained]).toEqual([true, true])
    await drained
    expect(nc.isClosed()).toBe(true)
    await join()
    const closed = bus.close()
    expect([bus.close() === closed, bus.drain() === closed]).toEqual([true, true])
    await closed
    expect([nc.isClosed(), nc.isDraining()]).toEqual([false, false])
  })

  it('tell that the owner drains the connection underneath', async () => {
    await join()
    bus.subscribe('talk', { callback: () => {} })
    const drained = nc.drain()
    expect(bus.isDraining()).toBe(true)
    await drained
    expect(await bus.closed()).toBeUndefined()
    expect(bus.isClosed()).toBe(true)
  })

  it('tell that the connection underneath was closed: everything ends, and nothing is sent', async () => {
    await join()
    const sub = bus.subscribe('talk')
    const events = collectStatus(bus)
    other.subscribe('held', { max: 1, callback: () => {} })
    await other.flush()
    const pending = failure(() => bus.request('held', 'x', { to: ['other'], timeout: 20_000 }))
    const waiting = failure(() => bus.waitForAudience('talk', { atLeast: 99, timeout: 20_000 }))
    await nc.close()
    expect(await bus.closed()).toBeUndefined()
    for await (const _ of sub) throw new Error('nothing was sent')
    expect((await pending).code).toBe('ERR_CLOSED')
    expect((await waiting).code).toBe('ERR_CLOSED')
    for (const task of [
      () => bus.publish('talk', 'x'),
      () => bus.request('talk', 'x'),
      () => bus.requestMany('talk', 'x'),
      () => bus.subscribe('talk'),
      () => bus.publishMessage({ subject: 'talk', data: new Uint8Array(1) }),
    ]) {
      const error = await failure(task)
      expect(error).toBeInstanceOf(SubrosaError)
      expect(error.code).toBe('ERR_CLOSED')
    }
    expect(events.filter(({ type }) => type === 'error')).toEqual([])
  })

  it('tell the error by which the connection was lost, as the client does', async () => {
    const away = await TestRealm.start()
    nc = await connectBriefly(away.server.url)
    const parts = { identity: away.identity('x'), trust: away.trust, state: 'memory' }
    bus = await secure(nc, parts)
    await away.server.kill()
    const theirs = await nc.closed()
    const ours = await bus.closed()
    expect(theirs).toBeInstanceOf(Error)
    expect(ours).toBe(theirs)
    expect(bus.isClosed()).toBe(true)
    await away.stop()
  })
})

describe('status()', () => {
  it('passes on what the client reports: a publish that the server refuses', async () => {
    await join()
    const events = collectStatus(bus)
    bus.publish('secret.plans', 'x', { to: ['other'] })
    await until('the error is reported', () => {
      return events.some((event) => event.type === 'nats' && event.status.type === 'error')
    })
    expect(bus.isClosed()).toBe(false)
  })

  it('passes on every event of a reconnect, as the client reports them', async () => {
    await join()
    const theirs: string[] = []
    void (async () => {
      for await (const { type } of nc.status()) theirs.push(type)
    })()
    const events = collectStatus(bus)
    const ours = () => events.flatMap((event) => (event.type === 'nats' ? [event.status.type] : []))
    await bus.reconnect()
    await until('it is back', () => ours().includes('reconnect') && theirs.includes('reconnect'))
    expect(ours()).toContain('disconnect')
    expect(ours()).toEqual(theirs)
  })

  it('ends with the connection, for those who read it already and for those who come later', async () => {
    await join()
    const reading = (async () => {
      for await (const _ of bus.status()) {
      }
    })()
    await bus.close()
    await reading
    for await (const event of bus.status()) throw new Error(`there is no ${event.type} any more`)
  })
})

describe('reconnect()', () => {
  it('of a connection that is closed does what the client does', async () => {
    await join()
    await nc.close()
    const outcome = (task: Promise<void>) => task.then(() => 'done').catch((error: Error) => error.message)
    expect(await outcome(bus.reconnect())).toBe(await outcome(nc.reconnect()))
  })
})
