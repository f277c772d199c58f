import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { QUEUE_SETTLE_MS } from '../../../src/base/limits.ts'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import type { SecureMessage } from '../../../src/bus/messages/message.ts'
import type { SubscribeOptions } from '../../../src/bus/messages/subscription.ts'
import { ManualClock } from '../../support/clock.ts'
import { passing } from '../../support/passing.ts'
import { collectStatus, TestRealm } from '../../support/realm.ts'
import { failure, until } from '../../support/until.ts'

const clock = new ManualClock()
let realm: TestRealm
let broker: NatsConnection
let alice: SecureConnection
let bob: SecureConnection

beforeAll(async () => {
  realm = await TestRealm.start({ clock })
  broker = await realm.connection()
  alice = await passing(clock, realm.agent('alice'))
  bob = await passing(clock, realm.agent('bob'))
  await passing(clock, alice.waitForAudience('orders.new'))
})
afterAll(() => realm.stop())

const rejected = (): number => Object.values(bob.rejections()).reduce((sum, count) => sum + count, 0)

describe('unsubscribe(max)', () => {
  it('counts what was opened since the beginning: junk does not use it up', async () => {
    const got: string[] = []
    const sub = bob.subscribe('un.junk', { callback: (_error, m) => got.push(m.string()) })
    await bob.flush()
    alice.publish('un.junk', '1')
    await until('one has come', () => got.length === 1)
    sub.unsubscribe(3)
    expect(sub.getMax()).toBe(3)
    const before = rejected()
    for (let i = 0; i < 5; i++) broker.publish('un.junk', 'junk')
    await until('the junk is rejected', () => rejected() === before + 5)
    expect(sub.isClosed()).toBe(false)
    for (const text of ['2', '3', '4']) alice.publish('un.junk', text)
    expect(await sub.closed).toBeUndefined()
    await alice.flush()
    await bob.flush()
    expect(got).toEqual(['1', '2', '3'])
    expect(sub.getReceived()).toBe(3)
  })

  it('ends at once where so many have come already, and what is unread can still be read', async () => {
    for (const max of [undefined, 0, 1, 2]) {
      const sub = bob.subscribe('un.late')
      await bob.flush()
      alice.publish('un.late', '1')
      alice.publish('un.late', '2')
      await until('both have come', () => sub.getPending() === 2)
      sub.unsubscribe(max)
      expect(sub.isClosed()).toBe(true)
      alice.publish('un.late', '3')
      await alice.flush()
      await bob.flush()
      const read: string[] = []
      for await (const m of sub) read.push(m.string())
      expect(read).toEqual(['1', '2'])
      expect(sub.getProcessed()).toBe(2)
    }
  })

  it('works from inside the callback, and from inside the loop', async () => {
    const got: string[] = []
    const sub = bob.subscribe('un.inside', {
      callback: (_error, m) => {
        got.push(m.string())
        sub.unsubscribe()
      },
    })
    const looped = bob.subscribe('un.inside')
    await bob.flush()
    for (const text of ['1', '2', '3']) alice.publish('un.inside', text)
    const read: string[] = []
    for await (const m of looped) {
      read.push(m.string())
      looped.unsubscribe(2)
      if (read.length === 3) break
    }
    expect(got).toEqual(['1'])
    expect(read.slice(0, 2)).toEqual(['1', '2'])
  })

  it('of a queue member that has not begun leaves nothing behind', async () => {
    const settling = await passing(clock, realm.agent('settling'))
    const sub = settling.subscribe('un.queue', { queue: 'q', callback: () => {} })
    expect(sub.getID()).toBe(0)
    sub.unsubscribe()
    expect(await sub.closed).toBeUndefined()
    clock.advance(QUEUE_SETTLE_MS)
    await settling.flush()
    const error = await failure(() => alice.request('un.queue', 'x', { to: ['bob'] }))
    expect(error.code).toBe('ERR_NO_RESPONDERS')
    await settling.close()
  })
})

describe('getID', () => {
  it('is the number by which messages come, and 0 while a queue member waits', async () => {
    const late = await passing(clock, realm.agent('late'))
    const got: SecureMessage[] = []
    const options: SubscribeOptions = { callback: (_error, m) => got.push(m) }
    const plain = late.subscribe('id.plain', options)
    const member = late.subscribe('id.queue', { ...options, queue: 'q' })
    expect(plain.getID()).toBeGreaterThan(0)
    expect(member.getID()).toBe(0)
    clock.advance(QUEUE_SETTLE_MS)
    await late.flush()
    expect(member.getID()).toBeGreaterThan(plain.getID())
    await passing(clock, alice.waitForAudience('id.plain', { atLeast: 2 }))
    alice.publish('id.plain', 'x')
    alice.publish('id.queue', 'x')
    await until('both have come', () => got.length === 2)
    expect(got.map(({ sid }) => sid)).toEqual([plain.getID(), member.getID()])
    await late.close()
  })
})

describe('drain', () => {
  it('says that it is under way, delivers what came before, and takes nothing more', async () => {
    const sub = bob.subscribe('drain.one')
    await bob.flush()
    expect(sub.isDraining()).toBe(false)
    for (const text of ['1', '2']) alice.publish('drain.one', text)
    await until('both have come', () => sub.getPending() === 2)
    const drained = sub.drain()
    expect(sub.isDraining()).toBe(true)
    await drained
    expect(sub.isClosed()).toBe(true)
    alice.publish('drain.one', '3')
    await alice.flush()
    await bob.flush()
    const read: string[] = []
    for await (const m of sub) read.push(m.string())
    expect(read).toEqual(['1', '2'])
    await sub.drain()
  })
})

describe('a slow consumer', () => {
  const events = async () => {
    const all = collectStatus(bob)
    return () => all.filter((event) => event.type === 'slowConsumer')
  }

  it('is reported once when more than `slow` are unread, and again only after they were fewer', async () => {
    const reported = await events()
    const sub = bob.subscribe('slow.one', { slow: 2 })
    await bob.flush()
    const send = async (count: number): Promise<void> => {
      const before = sub.getReceived()
      for (let i = 0; i < count; i++) alice.publish('slow.one', 'x')
      await until('they have come', () => sub.getReceived() === before + count)
    }
    const messages = sub[Symbol.asyncIterator]()
    await send(2)
    expect(reported()).toEqual([])
    await send(3)
    await until('it is reported', () => reported().length === 1)
    expect(reported()).toEqual([{ type: 'slowConsumer', subject: 'slow.one', pending: 3 }])
    await messages.next()
    await messages.next()
    await send(1)
    expect(sub.getPending()).toBe(4)
    for (let i = 0; i < 2; i++) await messages.next()
    expect(sub.getPending()).toBe(2)
    await send(1)
    await until('it is reported again', () => reported().length === 2)
    expect(reported()[1]).toEqual({ type: 'slowConsumer', subject: 'slow.one', pending: 3 })
    sub.unsubscribe()
  })

  it('does not count junk', async () => {
    const reported = await events()
    const sub = bob.subscribe('slow.junk', { slow: 0 })
    await bob.flush()
    const before = rejected()
    for (let i = 0; i < 5; i++) broker.publish('slow.junk', 'junk')
    await until('the junk is rejected', () => rejected() === before + 5)
    expect(sub.getPending()).toBe(0)
    alice.publish('slow.junk', 'x')
    await until('it is reported', () => reported().length > 0)
    expect(reported()).toEqual([{ type: 'slowConsumer', subject: 'slow.junk', pending: 1 }])
    sub.unsubscribe()
  })
})

describe('options of a subscription that do not fit', () => {
  it('are refused with an error that names them, and nothing is subscribed', async () => {
    const callback = (): void => {}
    const wrong: [SubscribeOptions, new (message: string) => Error, string][] = [
      [{ slow: 1, callback }, TypeError, 'slow'],
      [{ slow: -1 }, RangeError, 'slow'],
      [{ slow: Number.NaN }, RangeError, 'slow'],
      [{ max: 0 }, RangeError, 'max'],
      [{ max: -1 }, RangeError, 'max'],
      [{ max: 1.5 }, RangeError, 'max'],
      [{ max: Number.NaN }, RangeError, 'max'],
      [{ max: Number.POSITIVE_INFINITY }, RangeError, 'max'],
      [{ timeout: 0 }, RangeError, 'timeout'],
      [{ timeout: -1 }, RangeError, 'timeout'],
      [{ timeout: Number.NaN }, RangeError, 'timeout'],
      [{ timeout: Number.POSITIVE_INFINITY }, RangeError, 'timeout'],
      [{ timeout: 2 ** 31 }, RangeError, 'timeout'],
      [{ max: '3' as never }, RangeError, 'max'],
    ]
    for (const [options, kind, name] of wrong) {
      const error = await failure(() => bob.subscribe('options.wrong', options))
      expect(error).toBeInstanceOf(kind)
      expect(error.message).toContain(name)
    }
    const refused = await failure(() => alice.request('options.wrong', 'x', { to: ['bob'] }))
    expect(refused.code).toBe('ERR_NO_RESPONDERS')
  })

  it('are refused in requests too: no time is a time that cannot be waited for', async () => {
    for (const time of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '5' as never]) {
      const errors = [
        await failure(() => alice.request('orders.new', 'x', { timeout: time })),
        await failure(() => alice.requestMany('orders.new', 'x', { maxWait: time })),
        await failure(() => alice.requestMany('orders.new', 'x', { strategy: 'stall', stall: time })),
        await failure(() => alice.requestMany('orders.new', 'x', { strategy: 'jitterTimer', jitter: time })),
        await failure(() => alice.waitForAudience('orders.new', { timeout: time })),
      ]
      for (const error of errors) expect(error).toBeInstanceOf(RangeError)
    }
  })
})
