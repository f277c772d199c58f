import { headers as currentHeaders, type NatsConnection } from '@nats-io/transport-node'
import { headers as earlierHeaders, type MsgHdrs } from 'nats'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import { type MessageLike, SecureMessage } from '../../../src/bus/messages/message.ts'
import { clientLine } from '../../support/client.ts'
import { may } from '../../support/identities.ts'
import { type Tapped, TestRealm } from '../../support/realm.ts'
import { failure, until } from '../../support/until.ts'

const headers = clientLine === 'nats' ? earlierHeaders : (currentHeaders as () => unknown as () => MsgHdrs)

let realm: TestRealm
let plain: NatsConnection
let alice: SecureConnection
let bob: SecureConnection
let got: SecureMessage[]

beforeAll(async () => {
  realm = await TestRealm.start()
  plain = await realm.connection()
  alice = await realm.agent('alice')
  bob = await realm.agent('bob', { permissions: may(['archive.>', 'tools.>'], ['>']) })
  await alice.waitForAudience('orders.new')
  await bob.waitForAudience('archive.new')
  got = []
})
afterAll(() => realm.stop())
beforeEach(() => {
  got.length = 0
})

/** Subscribes for the time of one test, and notes what comes. */
async function listen(bus: SecureConnection, subject: string): Promise<void> {
  bus.subscribe(subject, { callback: (_error, m) => got.push(m) })
  await bus.flush()
}

/** One message as it came to bob. */
async function received(subject: string, options: Parameters<SecureConnection['publish']>[2] = {}) {
  const sub = bob.subscribe(subject, { max: 1 })
  await bob.flush()
  alice.publish(subject, '{"id":7}', { to: ['bob'], ...options })
  for await (const m of sub) return m
  throw new Error('nothing came')
}

function someHeaders(): MsgHdrs {
  const h = headers()
  h.append('X-Trace', 'a')
  h.append('X-Trace', 'b')
  h.set('Nats-Msg-Id', 'id-1')
  return h
}

describe('a message that is published as it is', () => {
  it('keeps payload, headers and reply subject, and is sealed anew by whoever publishes it', async () => {
    const m = await received('orders.new', { headers: someHeaders(), reply: 'orders.answers' })
    await listen(alice, 'archive.>')
    const wire = await realm.tapMessages('archive.>')
    bob.publishMessage({ ...m, subject: `archive.${m.subject}` })
    await until('it has come', () => got.length === 1)
    const [copy] = got
    expect(copy?.subject).toBe('archive.orders.new')
    expect(copy?.json()).toEqual({ id: 7 })
    expect(copy?.headers?.values('X-Trace')).toEqual(['a', 'b'])
    expect(copy?.headers?.get('Nats-Msg-Id')).toBe('id-1')
    expect(copy?.reply).toBe('orders.answers')
    expect(copy?.sender.name).toBe('bob')
    await realm.settled()
    expect(wire).toHaveLength(1)
    expect(Buffer.from(wire[0]?.data ?? []).includes('"id"')).toBe(false)
  })

  it('may be one of the plain client: with or without headers and reply, of either line', async () => {
    await listen(bob, 'plain.>')
    const arrived: MessageLike[] = []
    const sub = plain.subscribe('source.>', { callback: (_error, m) => void arrived.push(m) })
    await plain.flush()
    const current = currentHeaders()
    current.append('X-Trace', 'c')
    plain.publish('source.bare', 'bare')
    plain.publish('source.full', 'full', { headers: someHeaders() as never, reply: 'plain.answers' })
    await until('they have come', () => arrived.length === 2)
    for (const m of arrived) {
      const { data, headers: given, reply } = m
      alice.publishMessage({ subject: `plain.${m.subject}`, data, headers: given, reply })
    }
    alice.publishMessage({ subject: 'plain.made', data: new Uint8Array(1), headers: current })
    await until('bob has them', () => got.length === 3)
    expect(got.map((m) => [m.subject, m.reply, m.headers?.keys()])).toEqual([
      ['plain.source.bare', undefined, undefined],
      ['plain.source.full', 'plain.answers', ['X-Trace', 'Nats-Msg-Id']],
      ['plain.made', undefined, ['X-Trace']],
    ])
    sub.unsubscribe()
  })

  it('may be the very object that the plain client gave', async () => {
    await listen(bob, 'again.>')
    const arrived: MessageLike[] = []
    const sub = plain.subscribe('again.plain', { callback: (_error, m) => void arrived.push(m) })
    await plain.flush()
    plain.publish('again.plain', 'in clear')
    await until('it has come', () => arrived.length === 1)
    sub.unsubscribe()
    const [message] = arrived
    if (message !== undefined) alice.publishMessage(message)
    await until('bob has it', () => got.length === 1)
    expect(got[0]?.string()).toBe('in clear')
    expect(got[0]?.reply).toBeUndefined()
    expect(bob.rejections()).toMatchObject({ plaintext: 1 })
  })

  it('goes to those in `to` alone', async () => {
    const carol = await realm.agent('carol')
    await alice.waitForAudience('orders.to', { atLeast: 2 })
    await listen(bob, 'orders.to')
    await listen(carol, 'orders.to')
    alice.publishMessage({ subject: 'orders.to', data: new Uint8Array(1) }, { to: ['carol'] })
    alice.publishMessage({ subject: 'orders.to', data: new Uint8Array(2) })
    await until('all have it', () => got.length === 3)
    expect(got.filter((m) => m.data.length === 1)).toHaveLength(1)
    const error = await failure(() =>
      alice.publishMessage({ subject: 'orders.to', data: new Uint8Array(1) }, { to: ['nobody'] }),
    )
    expect(error.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
    await carol.close()
  })

  it('is refused where publish refuses it: by permission, subject, reply, payload and header', async () => {
    const data = new Uint8Array(1)
    const denied = await failure(() => bob.publishMessage({ subject: 'orders.new', data }))
    expect(denied.code).toBe('ERR_PUBLISH_DENIED')
    const wrong: MessageLike[] = [
      { subject: '', data },
      { subject: 'a.*', data },
      { subject: 'a b', data },
      { subject: 'orders.new', data, reply: 'a.*' },
      { subject: 'orders.new', data, reply: 'a\r\nPUB x 0' },
      { subject: 'orders.new', data: 7 as never },
      { subject: 'orders.new', data: [1] as never },
      {} as never,
    ]
    for (const message of wrong) {
      expect(await failure(() => alice.publishMessage(message))).toBeInstanceOf(TypeError)
    }
    const evil = new Map([['X', ['a\r\nY: b']]])
    const error = await failure(() => alice.publishMessage({ subject: 'orders.new', data, headers: evil }))
    expect(error.code).toBe('ERR_HEADER')
  })
})

describe('a response', () => {
  it('by respondMessage has payload and headers of the request itself', async () => {
    bob.subscribe('tools.echo', { callback: (_error, m) => bob.respondMessage(m) })
    await bob.flush()
    const responses = await realm.tap('_INBOX.>')
    const bare = await alice.request('tools.echo', 'bare', { to: ['bob'] })
    expect(bare.string()).toBe('bare')
    expect(bare.headers).toBeUndefined()
    const full = await alice.request('tools.echo', 'full', { to: ['bob'], headers: someHeaders() })
    expect(full.string()).toBe('full')
    expect(full.headers?.values('X-Trace')).toEqual(['a', 'b'])
    expect(full.headers?.get('Nats-Msg-Id')).toBe('id-1')
    await until('the broker has both', () => responses.length === 2)
    for (const { data } of responses) {
      expect(Buffer.from(data).includes('bare') || Buffer.from(data).includes('full')).toBe(false)
    }
  })

  it('by respondMessage to what is no request is `false`, and sends nothing', async () => {
    const m = await received('orders.new')
    const seen = await realm.tap()
    expect(bob.respondMessage(m)).toBe(false)
    expect(m.respond('x')).toBe(false)
    await bob.flush()
    expect(seen).toEqual([])
  })

  it('can ask back: who answers it reaches the responder on the subject that it named', async () => {
    await listen(bob, 'tools.more')
    bob.subscribe('tools.first', { callback: (_error, m) => m.respond('which?', { reply: 'tools.more' }) })
    await bob.flush()
    const first = await alice.request('tools.first', 'q', { to: ['bob'] })
    expect(first.string()).toBe('which?')
    expect(first.reply).toBe('tools.more')
    const wire: Tapped[] = await realm.tap('tools.more')
    expect(first.respond('this one')).toBe(true)
    await until('bob has it', () => got.length === 1)
    expect(got[0]?.string()).toBe('this one')
    expect(got[0]?.sender.name).toBe('alice')
    expect(got[0]?.reply).toBeUndefined()
    expect(Buffer.from(wire[0]?.data ?? []).includes('this one')).toBe(false)
  })

  it('can ask back in requestMany too', async () => {
    await listen(bob, 'tools.each')
    bob.subscribe('tools.many', { callback: (_error, m) => m.respond('go on?', { reply: 'tools.each' }) })
    await bob.flush()
    const options = { strategy: 'count', maxMessages: 1, to: ['bob'] } as const
    for await (const m of await alice.requestMany('tools.many', 'q', options)) m.respond('yes')
    await until('bob has it', () => got.length === 1)
    expect(got[0]?.string()).toBe('yes')
  })

  it('is refused with a reply that is no subject, a payload that is none, and a header that NATS cannot carry', async () => {
    const m = await received('orders.new', { reply: '_INBOX.of.alice' })
    for (const reply of ['', 'a b', 'a.*', '>', 'a\r\nPUB x 0'])
      expect(await failure(() => m.respond('x', { reply }))).toBeInstanceOf(TypeError)
    expect(await failure(() => m.respond(7 as never))).toBeInstanceOf(TypeError)
    const evil = new Map([['X', ['a\r\nY: b']]])
    expect((await failure(() => m.respond('x', { headers: evil }))).code).toBe('ERR_HEADER')
    expect(m.respond('x')).toBe(true)
  })
})

describe('a message', () => {
  it('is what a NATS message is, and its parts can be spread', async () => {
    const m = await received('orders.new', { headers: someHeaders(), reply: 'orders.answers' })
    expect(m).toBeInstanceOf(SecureMessage)
    expect(m.sid).toBeGreaterThan(0)
    expect(Object.keys({ ...m }).sort()).toEqual(
      ['subject', 'sid', 'reply', 'data', 'headers', 'sender', 'epoch', 'mode'].sort(),
    )
    const bare = await received('orders.new')
    expect('reply' in bare).toBe(false)
    expect('headers' in bare).toBe(false)
    expect(m.json((key, value) => (key === 'id' ? Number(value) + 1 : value))).toEqual({ id: 8 })
  })

  it('says clearly that its payload is no text, or no JSON', async () => {
    const sub = bob.subscribe('orders.bytes', { max: 2 })
    await bob.flush()
    alice.publish('orders.bytes', Uint8Array.of(0xff, 0xfe))
    alice.publish('orders.bytes', '{')
    const messages: SecureMessage[] = []
    for await (const m of sub) messages.push(m)
    expect(() => messages[0]?.string()).toThrow(TypeError)
    expect(() => messages[0]?.json()).toThrow(TypeError)
    expect(() => messages[1]?.json()).toThrow(SyntaxError)
  })
})
