import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import { LOOKUP_TIMEOUT_MS, QUEUE_SETTLE_MS } from '../../src/base/limits.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRealm } from '../support/hand-agents.ts'
import { EVERYTHING, engine } from '../support/identities.ts'
import { passing } from '../support/passing.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

let realm: TestRealm
afterEach(() => realm.stop())

describe('a member of a queue group', () => {
  it('takes nothing before the others have had a second to learn of it', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock })
    const broker = await realm.connection()
    const worker = await passing(clock, realm.agent('worker', {}, { timeout: 120_000 }))
    const events = collectStatus(worker)
    const heard = (subject: string): boolean =>
      events.some((event) => event.type === 'rejected' && event.subject === subject)
    worker.subscribe('tools.queue', { queue: 'q', callback: () => {} })
    worker.subscribe('tools.marker', { callback: () => {} })
    worker.subscribe('tools.plain', { callback: () => {} })
    await until('the worker listens', () => {
      broker.publish('tools.plain', 'x')
      return heard('tools.plain')
    })
    // What comes on one connection is taken in its order.
    broker.publish('tools.queue', 'too early')
    broker.publish('tools.marker', 'x')
    await until('what follows has come', () => heard('tools.marker'))
    expect(heard('tools.queue')).toBe(false)
    clock.advance(QUEUE_SETTLE_MS)
    await worker.flush()
    broker.publish('tools.queue', 'in time')
    await until('it has come', () => heard('tools.queue'))
  })
})

describe('an agent that a message was not sealed to', () => {
  it('says nothing where it is not in a queue group', async () => {
    realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    const bob = await realm.agent('bob')
    await realm.agent('other')
    await alice.waitForAudience('tools.x', { atLeast: 2 })
    const got: string[] = []
    bob.subscribe('tools.x', { callback: (_error, m) => got.push(m.string()) })
    await bob.flush()
    const seen = await realm.tapMessages('_INBOX.>')
    alice.publish('tools.x', 'not for bob', { to: ['other'], reply: '_INBOX.alice' })
    alice.publish('tools.x', 'for bob', { to: ['bob'] })
    await until('bob has both', () => got.length === 1)
    await bob.flush()
    const broker = await realm.connection()
    broker.publish('_INBOX.marker', 'x')
    await until('the marker has come', () => seen.length > 0)
    expect(seen.map(({ subject }) => subject)).toEqual(['_INBOX.marker'])
  })
})

describe('what is published', () => {
  it('is refused once the own token has expired, whatever others would believe', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock })
    await passing(clock, realm.agent('bob', {}, { timeout: 120_000 }))
    const options = { expiresAtMs: clock.now() + 3_000_000 }
    const alice = await passing(clock, realm.agent('alice', options, { timeout: 120_000 }))
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    alice.publish('orders.new', 'x')
    clock.jump(3_000_000)
    expect((await failure(() => alice.publish('orders.new', 'x'))).code).toBe('ERR_TOKEN_EXPIRED')
  })

  it('is refused where it is too large together with its clear headers', async () => {
    const payload = new Uint8Array(50_000)
    realm = await TestRealm.start()
    const first = await realm.agent('alice')
    const seen = await realm.tap('orders.new')
    first.publish('orders.new', payload)
    await until('it has been seen', () => seen.length === 1)
    await realm.stop()
    realm = await TestRealm.start({ serverConfig: `max_payload: ${(seen[0]?.data.length ?? 0) + 500}` })
    const alice = await realm.agent('alice')
    const headers = new Map([['Nats-Msg-Id', ['x'.repeat(900)]]])
    const error = await failure(() => alice.publish('orders.new', payload, { headers }))
    expect(error.code).toBe('ERR_MESSAGE_TOO_LARGE')
    alice.publish('orders.new', payload)
    await alice.flush()
    expect(alice.isClosed()).toBe(false)
  })

  it('is refused where the reply is no subject', async () => {
    realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    for (const reply of ['', 'a b', 'a.*', 'a\r\nPUB x 0']) {
      expect(await failure(() => alice.publish('orders.new', 'x', { reply }))).toBeInstanceOf(TypeError)
    }
  })
})

describe('a subscription that is drained', () => {
  it('waits for what came by it, and not for what strangers send by another one', async () => {
    const all = await HandRealm.start()
    realm = all.realm
    const zed = await all.join('zed')
    const stranger = (): Uint8Array => all.seal({ ...zed, hash: engine.randomBytes(32) })
    const other = all.bob.subscribe('other.thing')
    await all.bob.flush()
    all.broker.publish('other.thing', stranger())
    all.broker.publish('orders.new', stranger())
    await all.broker.flush()
    await all.bob.flush()
    let isDrained = false
    const drained = other.drain().then(() => {
      isDrained = true
    })
    const { broker, bob, clock } = all
    for (let ms = 0; ms < LOOKUP_TIMEOUT_MS; ms += 500) {
      broker.publish('orders.new', stranger())
      await broker.flush()
      await bob.flush()
      expect(isDrained).toBe(false)
      clock.advance(500)
    }
    // What came by the other subscription still waits.
    await bob.flush()
    expect([isDrained, bob.rejections()]).toEqual([true, { 'unknown sender': 3 }])
    await drained
  })

  describe.each(['subscription', 'connection'] as const)(
    'hands on what waits, and is ended with the %s:',
    (which) => {
      let all: HandRealm
      const got: string[] = []
      beforeEach(async () => {
        all = await HandRealm.start()
        realm = all.realm
        got.length = 0
      })

      /** Has it drained while something waits, lets that go on, and expects that it is handed on. */
      async function expectHandedOn(send: () => void, goOn: () => Promise<void>): Promise<void> {
        const subscription = all.bob.subscribe('other.thing', {
          callback: (_error, m) => got.push(m.string()),
        })
        await all.bob.flush()
        send()
        await all.broker.flush()
        await all.bob.flush()
        expect(got).toEqual([])
        const drained = which === 'subscription' ? subscription.drain() : all.bob.drain()
        // For the client it has ended when the server has answered.
        for (let i = 0; i < 2; i++) await all.bob.flush()
        await goOn()
        await passing(all.clock, drained)
        expect([got, subscription.isClosed()]).toEqual([['it waited'], true])
      }

      const payload = utf8('it waited')

      it('a message whose sender is not known yet', async () => {
        const keys = engine.ed25519KeyPair()
        const instance = engine.randomBytes(8)
        const identity = all.realm.identity('late', { permissions: EVERYTHING })
        const changes = { instance, messageKey: keys.publicKey }
        const parsed = all.hand.world.announcement(identity, all.epoch, changes, {
          messageKey: keys.secretKey,
        })
        const agent = { identity, keys, hash: parsed.hash, instance }
        await expectHandedOn(
          () =>
            all.broker.publish(
              'other.thing',
              all.seal(agent, { content: { subject: 'other.thing', payload } }),
            ),
          async () => {
            all.hand.publish(`announce.late.${hex(instance)}`, parsed.bytes)
            await all.broker.flush()
          },
        )
      })

      it('a frame whose handshake has not come yet', async () => {
        const session = all.session(await all.join('alice'))
        await expectHandedOn(
          () =>
            all.broker.publish('other.thing', session.frame({ meta: { subject: 'other.thing' }, payload })),
          async () => {
            all.broker.publish(all.inboxOfBob, session.handshake)
            await all.broker.flush()
          },
        )
      })

      it('a message that waits for budget', async () => {
        const alice = await all.join('alice')
        const mary = await all.join('mary')
        all.clock.workMs = 1
        const forged = Array.from({ length: 50 }, () => all.seal(alice, { messageKey: mary.keys.secretKey }))
        const before = all.rejected
        for (const bytes of forged) all.broker.publish('orders.new', bytes)
        await until('there is no budget left', () => all.rejected >= before + 25)
        all.clock.workMs = 0
        await expectHandedOn(
          () =>
            all.broker.publish(
              'other.thing',
              all.seal(alice, { content: { subject: 'other.thing', payload } }),
            ),
          async () => all.clock.advance(1000),
        )
      })
    },
  )
})
