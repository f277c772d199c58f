import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { SecureSubscription } from '../../src/bus/messages/subscription.ts'
import { publishSafely, subscribeSafely } from '../../src/bus/safely.ts'
import { engine } from '../support/identities.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

describe('a subscription whose taker throws', () => {
  let server: TestServer
  let nc: NatsConnection
  beforeEach(async () => {
    server = await startTestServer()
    nc = await connect({ servers: server.url })
  })
  afterEach(async () => {
    await nc.close()
    await server.stop()
  })

  it('reports it and goes on, and so does every other one on the connection', async () => {
    const errors: unknown[] = []
    const taken: string[] = []
    const failing = new Error('in the taker')
    const take = (name: string) => (): void => {
      taken.push(name)
      if (name === 'bad') throw failing
    }
    const onError = (error: unknown): void => void errors.push(error)
    const reject = (): void => {}
    subscribeSafely(nc, 'bad', { take: take('bad'), onError, reject, onRefused: onError })
    subscribeSafely(nc, 'good', { take: take('good'), onError, reject, onRefused: onError })
    for (const subject of ['bad', 'good', 'bad', 'good']) nc.publish(subject, 'x')
    await until('all have come', () => taken.length === 4)
    expect(taken).toEqual(['bad', 'good', 'bad', 'good'])
    expect(errors).toEqual([failing, failing])
  })
})

describe('publishing outside of any call', () => {
  it('reports what the client throws, and says whether it was published', async () => {
    const server = await startTestServer()
    const nc = await connect({ servers: server.url })
    const errors: unknown[] = []
    const onError = (error: unknown): void => void errors.push(error)
    const bytes = new Uint8Array(1)
    expect(publishSafely(nc, 'a', { bytes, onError })).toBe(true)
    expect(publishSafely(nc, 'a', { bytes: new Uint8Array(8 * 1024 * 1024), onError })).toBe(false)
    await nc.close()
    expect(publishSafely(nc, 'a', { bytes, onError })).toBe(false)
    expect(errors).toHaveLength(2)
    await server.stop()
  })
})

describe('junk on the subjects of the protocol', () => {
  it('ends nothing: the agent still hears, and reports no error of its own', async () => {
    const realm = await TestRealm.start()
    const broker = await realm.connection()
    const alice = await realm.agent('alice')
    const bob = await realm.agent('bob')
    await alice.waitForAudience('orders.new')
    const events = collectStatus(bob)
    const got: string[] = []
    bob.subscribe('orders.new', { callback: (_error, m) => got.push(m.string()) })
    await bob.flush()
    const inbox = realm.inboxOf(bob).slice(realm.root.length + 1)
    const subjects = ['tick', 'epoch', 'revoke', 'announce.alice.0011223344556677', inbox]
    for (const subject of subjects) {
      for (let type = 0; type < 9; type++) {
        for (const size of [0, 1, 40, 4000]) {
          const junk = new Uint8Array([0xc1, 1, type, ...engine.randomBytes(size)])
          broker.publish(`${realm.root}.${subject}`, junk)
        }
      }
      broker.publish(`${realm.root}.${subject}`, new Uint8Array(0))
    }
    await broker.flush()
    alice.publish('orders.new', 'still here')
    await until('bob still hears', () => got.length === 1)
    // Junk on the own inbox, where handshakes come, is counted as elsewhere.
    expect(events.filter(({ type }) => type !== 'nats' && type !== 'rejected')).toEqual([])
    await realm.stop()
  })
})

describe('a subscription', () => {
  const hooks = {
    clock: systemClock,
    drain: async () => {},
    onCallbackError: () => {},
    onSlow: () => {},
    id: () => 1,
  }
  const message = {} as Parameters<SecureSubscription['push']>[0]

  it('takes nothing any more once it has ended, whatever was under way', () => {
    let ended = 0
    const unsubscribe = (): void => void ended++
    const got: unknown[] = []
    const callback = (_error: unknown, m: unknown): void => void got.push(m)
    const sub = new SecureSubscription('a', { max: 1, callback }, { ...hooks, unsubscribe })
    for (let i = 0; i < 3; i++) sub.push(message)
    expect(got).toHaveLength(1)
    expect(sub.getReceived()).toBe(1)
    expect(ended).toBe(1)
  })

  it('ends at max although its callback throws', async () => {
    const errors: unknown[] = []
    const onCallbackError = (error: unknown): void => void errors.push(error)
    const callback = (): never => {
      throw new Error('of the user')
    }
    const parts = { ...hooks, unsubscribe: () => {}, onCallbackError }
    const sub = new SecureSubscription('a', { max: 1, callback }, parts)
    sub.push(message)
    expect(sub.isClosed()).toBe(true)
    expect(errors).toHaveLength(1)
  })
})
