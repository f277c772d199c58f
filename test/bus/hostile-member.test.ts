import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import type { PublishOptions, SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import type { SealMode } from '../../src/bus/messages/opened.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import { signRetirement } from '../../src/keys/announcements.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { engines } from '../crypto/vectors.ts'
import { epochOf } from '../support/crowd.ts'
import { engine, may } from '../support/identities.ts'
import { LOW_ORDER } from '../support/low-order.ts'
import { CAPTURED, collectStatus, TestRealm } from '../support/realm.ts'
import { announceSubject, type World } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

const modes: readonly SealMode[] = ['session', 'message', 'channel']

/** A member that may read `orders.>` and publish nothing, and announces keys to which nothing can be sealed. */
describe.each(engines)(
  'a member that announces keys of low order, where others run on $name,',
  ({ name }) => {
    let realm: TestRealm
    let alice: SecureConnection
    let bob: SecureConnection
    let carol: SecureConnection
    let events: StatusEvent[]
    const got: SecureMessage[] = []
    const mallory: string[] = []

    beforeAll(async () => {
      realm = await TestRealm.start()
      const agent = (who: string, permissions: ReturnType<typeof may>) =>
        realm.agent(who, { permissions }, { engine: name })
      alice = await agent('alice', may(['>'], ['answers.>']))
      bob = await agent('bob', may(['>'], ['orders.all', 'orders.bob', 'orders.ask']))
      carol = await agent('carol', may(['>'], ['orders.all']))
      events = collectStatus(alice)
      await alice.waitForAudience('orders.all', { atLeast: 2 })
      await bob.waitForAudience('answers.all')
      for (const bus of [bob, carol]) bus.subscribe('orders.all', { callback: (_error, m) => got.push(m) })
      bob.subscribe('orders.bob', { callback: (_error, m) => got.push(m) })
      bob.subscribe('orders.ask', { callback: (_error, m) => m.respond(`${m.string()}!`) })
      await Promise.all([bob.flush(), carol.flush()])
      await announce()
    })
    afterAll(() => realm.stop())

    /** Announces an instance for each of the keys of low order, and waits until alice has them. */
    async function announce(): Promise<void> {
      const { world, epoch } = epochOf(realm)
      const identity = realm.identity('mallory', { permissions: may([], ['orders.>']) })
      const nc = await realm.connection()
      for (const text of LOW_ORDER) {
        const instance = engine.randomBytes(8)
        const keys = [{ suite: 1, use: 0, publicKey: fromHex(text) }]
        const { bytes } = world.announcement(identity, epoch, { instance, keys })
        mallory.push(hex(instance))
        nc.publish(`${realm.root}.announce.mallory.${hex(instance)}`, bytes)
      }
      await nc.flush()
      await alice.flush()
    }

    async function publish(
      subject: string,
      texts: readonly string[],
      options: PublishOptions,
    ): Promise<void> {
      for (const text of texts) alice.publish(subject, text, options)
      await alice.flush()
    }

    it.each(modes)('fails no message of mode %s to others: everything arrives', async (mode) => {
      got.length = 0
      const texts = Array.from({ length: 20 }, (_, i) => `${mode} ${i}`)
      const readers = mode === 'channel' ? ['bob'] : ['bob', 'carol']
      // A channel has one recipient, and she is not counted.
      await publish(mode === 'channel' ? 'orders.bob' : 'orders.all', texts, { mode })
      await until('everything has arrived', () => got.length === readers.length * texts.length)
      const expected = CAPTURED.length > 0 ? 'message' : mode
      expect(new Set(got.map((m) => m.mode))).toEqual(new Set([expected]))
      expect(got.map((m) => m.string()).sort()).toEqual(readers.flatMap(() => texts).sort())
      for (const bus of [bob, carol]) expect(bus.rejections()).toEqual({})
    })

    it('has no session opened again with each message: the audience is the same without her', async () => {
      const wire = await realm.tap(realm.inboxOf(bob))
      got.length = 0
      for (const text of ['one', 'two', 'three']) await publish('orders.all', [text], { mode: 'session' })
      await until('everything has arrived', () => got.length === 6)
      await realm.settled()
      expect(wire.filter(({ data }) => wireType(data) === WireType.handshake).length).toBeLessThanOrEqual(1)
    })

    it('fails no request to others, and no response', async () => {
      const response = await alice.request('orders.ask', 'a question', { timeout: 10_000 })
      expect([response.sender.name, response.string()]).toEqual(['bob', 'a question!'])
    })

    it('is named in status(), once for all of her instances, and is in no audience', async () => {
      alice.publish('orders.all', 'x')
      const leftOut = () => events.filter(({ type }) => type === 'leftOut')
      await alice.flush()
      expect(leftOut()).toHaveLength(1)
      const [event] = leftOut()
      expect(event).toMatchObject({ name: 'mallory', why: 'unusable key' })
      expect(event?.type === 'leftOut' && mallory.includes(event.instance)).toBe(true)
      expect(
        alice
          .audience('orders.all')
          .map((member) => member.name)
          .sort(),
      ).toEqual(['bob', 'carol'])
    })

    it('is why nobody gets a message that only she may read: the hint says so', async () => {
      const { code, hint } = await failure(() => alice.publish('orders.nobody', 'x'))
      expect(code).toBe('ERR_EMPTY_AUDIENCE')
      expect(hint).toContain('mallory: nothing can be sealed to the key that it announced')
      const named = await failure(() => alice.publish('orders.all', 'x', { to: ['bob', 'mallory'] }))
      expect(named.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
      expect(named.hint).toBe('nothing can be sealed to the key that it announced')
    })
  },
)

/** What a member can write into an announcement that holds, or does not: the others are bob and carol, alice sends. */
describe('a member that announces', () => {
  let realm: TestRealm
  let world: ReturnType<typeof epochOf>['world']
  let epoch: ReturnType<typeof epochOf>['epoch']
  let alice: SecureConnection
  let bob: SecureConnection
  let carol: SecureConnection
  const got: SecureMessage[] = []

  beforeAll(async () => {
    realm = await TestRealm.start()
    alice = await realm.agent('alice')
    bob = await realm.agent('bob')
    carol = await realm.agent('carol')
    ;({ world, epoch } = epochOf(realm))
    await alice.waitForAudience('orders.all', { atLeast: 2 })
    for (const bus of [bob, carol]) bus.subscribe('orders.all', { callback: (_error, m) => got.push(m) })
    bob.subscribe('orders.ask', { callback: (_error, m) => m.respond(`${m.string()}!`) })
    await Promise.all([bob.flush(), carol.flush()])
  })
  afterAll(() => realm.stop())

  type Changes = Parameters<World['announcement']>[2]

  const LONG = new Uint8Array(1216)
  const live = () => ({ suite: 1, use: 0, publicKey: engine.x25519KeyPair().publicKey })
  const most = Number.MAX_SAFE_INTEGER
  const variants: readonly (readonly [string, () => Changes])[] = [
    ['the instance id of a recipient', () => ({ instance: fromHex(bob.instance) })],
    ['the instance id of the sender', () => ({ instance: fromHex(alice.instance) })],
    ['the largest numbers', () => ({ seq: most, storedMs: most })],
    ['the last millisecond of its epoch', () => ({ notBefore: epoch.notAfter - 1 })],
    [
      'eight keys, seven of them long and of no use',
      () => ({
        keys: [live(), ...[1, 2, 3, 4, 5, 6, 255].map((use) => ({ suite: 1, use, publicKey: LONG }))],
      }),
    ],
    ['two live keys', () => ({ keys: [live(), live()] })],
    ['a key of no length', () => ({ keys: [{ suite: 1, use: 0, publicKey: new Uint8Array(0) }] })],
    ['a suite that nobody has', () => ({ keys: [live(), { suite: 2, use: 0, publicKey: LONG }] })],
    ['the message key of zeros', () => ({ messageKey: new Uint8Array(32) })],
    ['the name of a recipient', () => ({ agent: 'bob' })],
  ]

  it.each(variants)('%s fails nothing to others, in any mode', async (_, changes) => {
    const identity = realm.identity('mallory', { permissions: may([], ['orders.>']) })
    const { bytes } = world.announcement(identity, epoch, changes())
    const nc = await realm.connection()
    for (const subject of [announceSubject(bytes), `announce.bob.${bob.instance}`])
      nc.publish(`${realm.root}.${subject}`, bytes)
    await nc.flush()
    await alice.flush()
    await expectUndisturbed()
  })

  it('is heard on the subject of its own name and instance alone', async () => {
    const identity = realm.identity('victim', { permissions: may([], ['elsewhere']) })
    const names = (): readonly string[] => alice.agents().map(({ name }) => name)
    const { bytes, announcement } = world.announcement(identity, epoch)
    const nc = await realm.connection()
    for (const subject of [`mallory.${hex(announcement.instance)}`, `victim.${'0'.repeat(16)}`])
      nc.publish(`${realm.root}.announce.${subject}`, bytes)
    await nc.flush()
    await alice.flush()
    expect(names()).not.toContain('victim')
    nc.publish(`${realm.root}.${announceSubject(bytes)}`, bytes)
    await nc.flush()
    await alice.flush()
    expect(names()).toContain('victim')
  })

  it('the retirement of another’s instance retires nobody', async () => {
    const identity = realm.identity('mallory', { permissions: may([], ['orders.>']) })
    const instance = fromHex(bob.instance)
    const { notBefore, notAfter } = epoch
    const seq = realm.clock.now()
    const bytes = signRetirement(identity, epoch, { instance, seq, notBefore, notAfter })
    const nc = await realm.connection()
    nc.publish(`${realm.root}.announce.bob.${bob.instance}`, bytes)
    await nc.flush()
    await alice.flush()
    await expectUndisturbed()
  })

  async function expectUndisturbed(): Promise<void> {
    for (const mode of modes) {
      got.length = 0
      const to = mode === 'channel' ? [`bob/${bob.instance}`] : undefined
      alice.publish('orders.all', mode, { mode, ...(to && { to }) })
      await until(`mode ${mode} has arrived`, () => got.length === (to === undefined ? 2 : 1))
      expect(got.map((m) => m.string())).toEqual(got.map(() => mode))
    }
    const response = await alice.request('orders.ask', 'q', { timeout: 10_000, to: ['bob'] })
    expect(response.sender).toEqual({ name: 'bob', instance: bob.instance })
    for (const bus of [alice, bob, carol]) expect(bus.rejections()).toEqual({})
  }
})
