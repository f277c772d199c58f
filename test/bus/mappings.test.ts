import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SubjectMappings } from '../../src/bus/in/subject-policy.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { secure } from '../../src/bus/secure.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import { may } from '../support/identities.ts'
import { TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

/** The server moves what is published, and agents are told the same. */
const MAPPINGS: SubjectMappings = {
  'orders.*': 'orders.v2.$1',
  'swap.*.*': 'swapped.$2.$1',
  'logs.>': 'archive.logs.>',
  'tools.*': 'v2.tools.{{wildcard(1)}}',
  'answers.*': 'v2.answers.$1',
}

describe('agents on a server that maps subjects', () => {
  let realm: TestRealm
  let broker: NatsConnection
  let alice: SecureConnection
  let bob: SecureConnection
  let strict: SecureConnection
  let got: SecureMessage[]

  beforeAll(async () => {
    realm = await TestRealm.start({ serverConfig: `mappings ${JSON.stringify(MAPPINGS)}` })
    broker = await realm.connection()
    const subjectMappings = MAPPINGS
    const published = ['orders.*', 'swap.*.*', 'logs.>', 'tools.*', 'answers.*']
    alice = await realm.agent('alice', { permissions: may(published, ['answers.*']) }, { subjectMappings })
    bob = await realm.agent('bob', { permissions: may(published, published) }, { subjectMappings })
    strict = await realm.agent('strict', { permissions: may([], ['>']) })
    await alice.waitForAudience('orders.new', { atLeast: 2 })
  })
  afterAll(() => realm.stop())
  beforeEach(() => {
    got = []
  })

  const count = (bus: SecureConnection, reason: RejectReason): number => bus.rejections()[reason] ?? 0

  async function listen(bus: SecureConnection, pattern: string): Promise<() => void> {
    const sub = bus.subscribe(pattern, { callback: (_error, m) => got.push(m) })
    await bus.flush()
    return () => sub.unsubscribe()
  }

  it.each([
    ['orders.v2.>', 'orders.new'],
    ['orders.v2.new', 'orders.new'],
    ['swapped.b.*', 'swap.a.b'],
    ['archive.>', 'logs.one.two.three'],
    ['v2.tools.*', 'tools.search'],
  ])('receive on "%s" what was sealed for "%s", under its sealed name', async (pattern, subject) => {
    const stop = await listen(bob, pattern)
    const before = bob.rejections()
    alice.publish(subject, 'hello', { to: ['bob'] })
    await until('it has come', () => got.length === 1)
    expect(got[0]?.subject).toBe(subject)
    expect(got[0]?.string()).toBe('hello')
    expect(bob.rejections()).toEqual(before)
    stop()
  })

  it('reject it for its subject where nobody has told them of the mapping', async () => {
    const stop = await listen(strict, 'orders.v2.>')
    const before = count(strict, 'subject')
    alice.publish('orders.new', 'hello', { to: ['strict'] })
    await until('it is rejected', () => count(strict, 'subject') === before + 1)
    expect(got).toEqual([])
    stop()
  })

  it('reject what a broker moves to a subject that no mapping makes of it, and what it plays again', async () => {
    const wire = await realm.tap('orders.v2.new')
    const stop = await listen(bob, '>')
    alice.publish('orders.new', 'hello', { to: ['bob'] })
    await until('it has come', () => got.length === 1 && wire.length === 1)
    const bytes = wire[0]?.data ?? new Uint8Array(0)
    const moved = ['orders.v2.old', 'orders.v3.new', 'v2.answers.new', 'elsewhere', 'swapped.new.x']
    // A frame is known again by its number, a message by its subject first.
    const refused = (): number => count(bob, 'subject') + count(bob, 'replay')
    const before = refused()
    for (const subject of moved) broker.publish(subject, bytes)
    // These are mapped on their way: what arrives is what another subject would have become.
    broker.publish('tools.new', bytes)
    broker.publish('orders.old', bytes)
    await until('all are rejected', () => refused() === before + moved.length + 2)
    const replayed = count(bob, 'replay')
    broker.publish('orders.new', bytes)
    broker.publish('orders.v2.new', bytes)
    await until('it is known', () => count(bob, 'replay') === replayed + 2)
    expect(got).toHaveLength(1)
    stop()
  })

  it('need permissions for the sealed subject, whatever name it goes by underneath', async () => {
    // The token of alice and bob names none of the new subjects: see above that it works all the same.
    for (const pattern of ['orders.v3.*', 'payroll.>', 'v2.other.*'])
      expect((await failure(() => bob.subscribe(pattern))).code).toBe('ERR_SUBSCRIBE_DENIED')
    expect((await failure(() => alice.publish('orders.v2.new', 'x'))).code).toBe('ERR_PUBLISH_DENIED')
    const options = { subjectMappings: { 'payroll.*': 'orders.v2.$1' } }
    const mole = await realm.agent('mole', { permissions: may([], ['other.*']) }, options)
    expect((await failure(() => mole.subscribe('orders.v2.*'))).code).toBe('ERR_SUBSCRIBE_DENIED')
    await alice.waitForAudience('orders.new', { atLeast: 2 })
    expect(alice.audience('orders.new').map(({ name }) => name)).not.toContain('mole')
    await mole.close()
  })

  it('answer requests, one and many, over subjects that are mapped', async () => {
    bob.subscribe('v2.tools.ask', { callback: (_error, m) => m.respond(`${m.subject}: ${m.string()}`) })
    await bob.flush()
    const one = await alice.request('tools.ask', 'q', { to: ['bob'] })
    expect(one.string()).toBe('tools.ask: q')
    const many: string[] = []
    const options = { strategy: 'count', maxMessages: 1, to: ['bob'] } as const
    for await (const m of await alice.requestMany('tools.ask', 'all', options)) many.push(m.string())
    expect(many).toEqual(['tools.ask: all'])
  })

  it('answer on reply subjects that are mapped', async () => {
    const stop = await listen(alice, 'v2.answers.*')
    bob.subscribe('orders.v2.question', { max: 1, callback: (_error, m) => m.respond('answer') })
    await bob.flush()
    alice.publish('orders.question', 'q', { to: ['bob'], reply: 'answers.mine' })
    await until('it has come', () => got.length === 1)
    expect(got[0]?.subject).toBe('answers.mine')
    expect(got[0]?.string()).toBe('answer')
    stop()
  })

  it('share the work of a queue group on a mapped subject', async () => {
    const permissions = may([], ['tools.*'])
    const worker = await realm.agent('worker', { permissions }, { subjectMappings: MAPPINGS })
    worker.subscribe('v2.tools.jobs', { queue: 'q', callback: (_error, m) => m.respond('done') })
    await worker.flush()
    expect((await alice.request('tools.jobs', 'job', { to: ['worker'] })).string()).toBe('done')
    const error = await failure(() => alice.request('tools.jobs', 'job', { to: ['bob'], timeout: 20_000 }))
    expect(error.code).toBe('ERR_UNADDRESSED')
    await worker.close()
  })

  it('must be given mappings that are some: nothing is sent before', async () => {
    const seen = await realm.tap()
    const nc = await realm.connection()
    for (const wrong of [null, [], 'orders.>', new Map([['a', 'b']]), { 'a.*': 'b.$2' }, { 'a.>': 'b' }]) {
      const parts = { identity: realm.identity('x'), trust: realm.trust, state: 'memory' }
      const error = await failure(() => secure(nc, { ...parts, subjectMappings: wrong as never }))
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain('subjectMappings')
    }
    await nc.flush()
    expect(seen).toEqual([])
  })
})
