import { headers, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PublishOptions, SecureConnection } from '../../../src/bus/connection.ts'
import type { SecureMessage } from '../../../src/bus/messages/message.ts'
import type { SealMode } from '../../../src/bus/messages/opened.ts'
import { WireType, wireType } from '../../../src/wire/preamble.ts'
import { TestRealm } from '../../support/realm.ts'
import { until } from '../../support/until.ts'

const modes: readonly SealMode[] = ['message', 'session', 'channel']

/** The broker of these tests keeps a message back and delivers it with what it likes beside it. */
describe.each(modes)('what the application sees of a message of mode %s', (mode) => {
  let realm: TestRealm
  let broker: NatsConnection
  let alice: SecureConnection
  let bob: SecureConnection
  let tests = 0

  beforeAll(async () => {
    realm = await TestRealm.start({ serverConfig: 'mappings { "mapped.*": "moved.$1" }' })
    broker = await realm.connection()
    alice = await realm.agent('alice')
    bob = await realm.agent('bob', {}, { subjectMappings: { 'mapped.*': 'moved.$1' } })
    await alice.waitForAudience('held.1')
    await bob.waitForAudience('archive.1')
  })
  afterAll(() => realm.stop())

  /** Bytes that alice has published where nobody listens, and their subject. */
  async function held(options: PublishOptions = {}): Promise<{ subject: string; bytes: Uint8Array }> {
    const subject = `held.${++tests}`
    const seen = await realm.tapMessages(subject)
    alice.publish(subject, 'the payload', { mode, to: ['bob'], ...options })
    await until('the broker has it', () => seen.length === 1)
    return { subject, bytes: seen[0]?.data ?? new Uint8Array(0) }
  }

  /** The message as bob gets it when the broker delivers it like this. */
  async function delivered(
    { subject, bytes }: Awaited<ReturnType<typeof held>>,
    beside: Parameters<NatsConnection['publish']>[2],
  ): Promise<SecureMessage> {
    const got: SecureMessage[] = []
    bob.subscribe(subject, { max: 1, callback: (_error, m) => got.push(m) })
    await bob.flush()
    broker.publish(subject, bytes, beside)
    await until('bob has it', () => got.length === 1)
    const [message] = got
    if (message === undefined) throw new Error('nothing came')
    return message
  }

  it('is the sealed reply subject, where a broker rewrites it, and that is what is signed on', async () => {
    const m = await delivered(await held({ reply: 'answers.genuine' }), { reply: 'payments.approve' })
    expect(m.reply).toBe('answers.genuine')
    const copies: SecureMessage[] = []
    const subject = `archive.${tests}`
    alice.subscribe(subject, { max: 1, callback: (_error, copy) => copies.push(copy) })
    await alice.flush()
    bob.publishMessage({ ...m, subject }, { to: ['alice'] })
    await until('the copy has come', () => copies.length === 1)
    expect(copies[0]?.reply).toBe('answers.genuine')
    expect(copies[0]?.sender.name).toBe('bob')
  })

  it('is the sealed reply subject, where a broker takes it away: a response goes there', async () => {
    const m = await delivered(await held({ reply: `answers.${tests}` }), {})
    expect(m.reply).toBe(`answers.${tests - 1}`)
    const answers: SecureMessage[] = []
    alice.subscribe(m.reply ?? '', { max: 1, callback: (_error, answer) => answers.push(answer) })
    await alice.flush()
    expect(m.respond('an answer')).toBe(true)
    await until('it has come', () => answers.length === 1)
    expect(answers[0]?.string()).toBe('an answer')
  })

  it('is no reply subject, where a broker adds one: nothing is published there', async () => {
    const m = await delivered(await held(), { reply: 'payments.approve' })
    expect('reply' in m).toBe(false)
    const seen = await realm.tap('payments.>')
    expect(m.respond('an answer')).toBe(false)
    expect(bob.respondMessage(m)).toBe(false)
    await bob.flush()
    await realm.settled()
    expect(seen).toEqual([])
  })

  it('is no header that a broker adds', async () => {
    const forged = headers()
    forged.set('X-Trace', 'forged')
    const m = await delivered(await held(), { headers: forged })
    expect('headers' in m).toBe(false)
    const own = await held({ headers: new Map([['X-Trace', ['genuine']]]) })
    const both = await delivered(own, { headers: forged })
    expect(both.headers?.values('X-Trace')).toEqual(['genuine'])
    expect(both.headers?.keys()).toEqual(['X-Trace'])
  })

  it('is the sealed subject, where a server delivers it on another one', async () => {
    const got: SecureMessage[] = []
    const sub = bob.subscribe('moved.*', { callback: (_error, m) => got.push(m) })
    await bob.flush()
    const seen = await realm.tap('moved.*')
    alice.publish('mapped.order', 'the payload', { mode, to: ['bob'] })
    await until('it has come', () => got.length === 1)
    expect(got[0]?.subject).toBe('mapped.order')
    await until('the broker delivered it', () =>
      seen.some(({ data }) => wireType(data) !== WireType.handshake),
    )
    expect(new Set(seen.map(({ subject }) => subject))).toEqual(new Set(['moved.order']))
    sub.unsubscribe()
  })

  it('is the number of its own subscription, whichever of those that cover the subject a broker picks', async () => {
    const got: { readonly by: number; readonly m: SecureMessage }[] = []
    const subject = `picked.${++tests}`
    const subs = [subject, 'picked.*'].map((pattern) =>
      bob.subscribe(pattern, { callback: (_error, m) => got.push({ by: pattern === subject ? 0 : 1, m }) }),
    )
    await bob.flush()
    alice.publish(subject, 'the payload', { mode, to: ['bob'] })
    await until('both have it', () => got.length === 2)
    for (const { by, m } of got) expect(m.sid).toBe(subs[by]?.getID())
    for (const sub of subs) sub.unsubscribe()
  })
})
