import { headers, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { PublishOptions, SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import type { SealMode } from '../../src/bus/messages/opened.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import {
  decodeSealed,
  encodeSealed,
  encodeSealedHeader,
  packWraps,
  splitWraps,
} from '../../src/wire/sealed.ts'
import { engine, may } from '../support/identities.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { Tampering } from '../support/tampering.ts'
import { failure, until } from '../support/until.ts'

const TYPES = { message: WireType.sealed, session: WireType.frame, channel: WireType.frame } as const
const modes: readonly SealMode[] = ['message', 'session', 'channel']

/** The broker of these tests publishes what it likes: a connection without keys, on a server without logins. */
describe.each(modes)('a hostile broker, over mode %s,', (mode) => {
  let realm: TestRealm
  let broker: NatsConnection
  let alice: SecureConnection
  let bob: SecureConnection
  let got: SecureMessage[]
  /** What comes to alice passes here. */
  let line: Tampering

  beforeAll(async () => {
    realm = await TestRealm.start()
    broker = await realm.connection()
    line = new Tampering(await realm.connection())
    alice = await realm.agent('alice', {}, { over: line.connection })
    bob = await realm.agent('bob')
    await alice.waitForAudience('orders.new')
    got = []
    bob.subscribe('orders.>', { callback: (_error, m) => got.push(m) })
    await bob.flush()
  })
  afterAll(() => realm.stop())
  beforeEach(() => {
    got.length = 0
  })

  const tell = (subject: string, text: string, options: PublishOptions = {}): void =>
    alice.publish(subject, text, { mode, to: ['bob'], ...options })

  async function captured(publish: () => void, subject = 'orders.new'): Promise<Uint8Array> {
    const seen = await realm.tapMessages(subject)
    publish()
    await until('the tap has it', () => seen.length === 1)
    const { data } = seen[0] ?? { data: new Uint8Array(0) }
    expect(data[2]).toBe(TYPES[mode])
    return data
  }

  const count = (bus: SecureConnection, reason: RejectReason): number => bus.rejections()[reason] ?? 0

  it('replays a message: it is delivered once', async () => {
    const wire = await captured(() => tell('orders.new', 'once'))
    await until('delivered', () => got.length === 1)
    const before = count(bob, 'replay')
    for (let i = 0; i < 3; i++) broker.publish('orders.new', wire)
    await until('judged', () => count(bob, 'replay') === before + 3 || got.length > 1)
    expect(got).toHaveLength(1)
  })

  it('replays a message to a later subscription with the same pattern: it is rejected', async () => {
    const early = bob.subscribe('orders.again')
    await bob.flush()
    const wire = await captured(() => tell('orders.again', 'once'), 'orders.again')
    for await (const m of early) {
      expect(m.string()).toBe('once')
      break
    }
    expect(early.isClosed()).toBe(true)
    const later: SecureMessage[] = []
    const before = count(bob, 'replay')
    bob.subscribe('orders.again', { callback: (_error, m) => later.push(m) })
    await bob.flush()
    broker.publish('orders.again', wire)
    // Rejected twice: by this subscription, and by the one to orders.>.
    await until('judged', () => count(bob, 'replay') === before + 2 || later.length > 0)
    expect(later).toHaveLength(0)
  })

  it('moves a message to another subject: it is rejected', async () => {
    // Held back: where it was not read yet, only the subject tells.
    const wire = await captured(() => tell('held.new', 'here'), 'held.new')
    const before = count(bob, 'subject')
    broker.publish('orders.other', wire)
    await until('judged', () => count(bob, 'subject') === before + 1 || got.length > 0)
    expect(got).toHaveLength(0)
  })

  it('alters a message anywhere: nothing is delivered, and the connection lives on', async () => {
    const wire = await captured(() => tell('orders.altered', 'truth'), 'orders.altered')
    await until('delivered', () => got.length === 1)
    for (let i = 0; i < wire.length; i += 7) {
      const altered = new Uint8Array(wire)
      altered[i] = (altered[i] ?? 0) ^ 0x01
      broker.publish('orders.altered', altered)
    }
    await broker.flush()
    await bob.flush()
    expect(got).toHaveLength(1)
    tell('orders.new', 'still here')
    await until('the next is delivered', () => got.length === 2)
    expect(got[1]?.string()).toBe('still here')
  })

  it('sends junk and plaintext: counted, reported, never delivered, and nothing throws', async () => {
    const events = collectStatus(bob)
    const before = count(bob, 'plaintext') + count(bob, 'malformed')
    const junk = [
      utf8('plain text'),
      new Uint8Array(0),
      Uint8Array.of(0xc1),
      Uint8Array.of(0xc1, 1, 0),
      Uint8Array.of(0xc1, 1, 0, 0x92, 0xc4),
      Uint8Array.of(0xc1, 1, 1, 0x92, 0xc4),
      Uint8Array.of(0xc1, 1, 2, 0, 0, 0),
      Uint8Array.of(0xc1, 1, 9, 0, 0, 0),
      engine.randomBytes(4096),
    ]
    for (const bytes of junk) broker.publish('orders.new', bytes)
    await until(
      'all are rejected',
      () => count(bob, 'plaintext') + count(bob, 'malformed') === before + junk.length,
    )
    expect(got).toHaveLength(0)
    expect(events.some((event) => event.type === 'rejected' && event.reason === 'plaintext')).toBe(true)
    tell('orders.new', 'still here')
    await until('the next is delivered', () => got.length === 1)
  })

  it('changes, adds or removes a clear header: the message is rejected', async () => {
    const h = headers()
    h.set('Nats-Msg-Id', 'one')
    // Held back: one that was read is rejected as a replay, whatever its headers are.
    const wire = await captured(() => tell('held.headers', 'x', { headers: h }), 'held.headers')
    const heard: SecureMessage[] = []
    bob.subscribe('held.headers', { callback: (_error, m) => heard.push(m) })
    await bob.flush()
    const before = count(bob, 'headers')
    const changed = headers()
    changed.set('Nats-Msg-Id', 'two')
    const added = headers()
    added.set('Nats-Msg-Id', 'one')
    added.set('Nats-Rollup', 'all')
    broker.publish('held.headers', wire, { headers: changed })
    broker.publish('held.headers', wire, { headers: added })
    broker.publish('held.headers', wire)
    await until('judged', () => count(bob, 'headers') === before + 3 || heard.length > 0)
    expect(heard).toHaveLength(0)
    broker.publish('held.headers', wire, { headers: h })
    await until('as it was, it is delivered', () => heard.length === 1)
  })

  it('tries every response to another request than its own: only the right one counts', async () => {
    bob.subscribe('tools.echo', { callback: (_error, m) => m.respond(m.string()) })
    await bob.flush()
    const seen = await realm.tapMessages('_INBOX.>')
    const first = await alice.request('tools.echo', 'first', { to: ['bob'], mode })
    expect(first.string()).toBe('first')
    await until('the tap has the response', () => seen.length === 1)
    expect(seen[0]?.data[2]).toBe(TYPES[mode])
    // The broker holds every response back, and hands them out crosswise.
    const questions: SecureMessage[] = []
    bob.subscribe('tools.crossed', { callback: (_error, m) => questions.push(m) })
    await bob.flush()
    const pending = ['second', 'third'].map((text) =>
      failure(() => alice.request('tools.crossed', text, { timeout: 1500, to: ['bob'], mode })),
    )
    await until('the requests arrived', () => questions.length === 2)
    const before = count(alice, 'subject') + count(alice, 'replay')
    for (const { reply = '' } of questions) broker.publish(reply, seen[0]?.data ?? new Uint8Array(0))
    await until(
      'the swapped responses are rejected',
      () => count(alice, 'subject') + count(alice, 'replay') === before + 2,
    )
    for (const { code } of await Promise.all(pending)) expect(code).toBe('ERR_TIMEOUT')
  })

  it('swaps the responses of two requests that wait: none is taken for the other one', async () => {
    bob.subscribe('tools.both', { callback: (_error, m) => m.respond(`answer to ${m.string()}`) })
    await bob.flush()
    const held: { subject: string; data: Uint8Array }[] = []
    line.decide = ({ subject, data }) => {
      if (!subject.startsWith('_INBOX.') || wireType(data) === WireType.handshake) return 'pass'
      held.push({ subject, data: new Uint8Array(data) })
      return 'drop'
    }
    const options = { to: ['bob'], mode, timeout: 10_000 }
    const replies = ['one', 'two'].map((text) => alice.request('tools.both', text, options))
    await until('both responses are held', () => held.length === 2)
    line.decide = () => 'pass'
    const before = count(alice, 'subject')
    const [first, second] = held
    broker.publish(second?.subject ?? '', first?.data)
    broker.publish(first?.subject ?? '', second?.data)
    await until('both are rejected', () => count(alice, 'subject') === before + 2)
    for (const { subject, data } of held) broker.publish(subject, data)
    expect((await Promise.all(replies)).map((m) => m.string())).toEqual(['answer to one', 'answer to two'])
  })

  it('swaps two responses that nobody has read: both are rejected', async () => {
    const questions: SecureMessage[] = []
    bob.subscribe('tools.swapped', { callback: (_error, m) => questions.push(m) })
    await bob.flush()
    // The two requests name a reply subject outside of alice's inbox, so that the responses do not reach her.
    const captive = await realm.tapMessages('held.answers.*')
    for (const i of [1, 2]) tell('tools.swapped', `question ${i}`, { reply: `held.answers.${i}` })
    await until('the requests arrived', () => questions.length === 2)
    for (const m of questions) m.respond(`answer to ${m.string()}`)
    await until('the responses are held', () => captive.length === 2)
    const read: SecureMessage[] = []
    alice.subscribe('held.answers.*', { callback: (_error, m) => read.push(m) })
    await alice.flush()
    const before = count(alice, 'subject')
    broker.publish('held.answers.2', captive[0]?.data)
    broker.publish('held.answers.1', captive[1]?.data)
    await until('they are judged', () => count(alice, 'subject') === before + 2 || read.length > 0)
    expect(read).toHaveLength(0)
    broker.publish('held.answers.1', captive[0]?.data)
    await until('where it belongs it is delivered', () => read.length === 1)
  })

  it('floods a request with junk: it resolves with the first valid response all the same', async () => {
    const spam = broker.subscribe('tools.spammed', {
      callback: (_error, m) => {
        if (m.reply === undefined) return
        for (let i = 0; i < 20; i++) broker.publish(m.reply, utf8(`junk ${i}`))
      },
    })
    const slow: SecureMessage[] = []
    bob.subscribe('tools.spammed', { callback: (_error, m) => slow.push(m) })
    await Promise.all([bob.flush(), broker.flush()])
    const before = count(alice, 'plaintext')
    const reply = alice.request('tools.spammed', 'q', { timeout: 5000, to: ['bob'], mode })
    let isOver = false
    void reply
      .catch(() => {})
      .then(() => {
        isOver = true
      })
    const hasJunk = (): boolean => count(alice, 'plaintext') >= before + 20
    await until('the junk came first', () => slow.length === 1 && (hasJunk() || isOver))
    slow[0]?.respond('valid')
    await expect(reply.then((m) => m.string())).resolves.toBe('valid')
    spam.unsubscribe()
  })

  it('lets a permitted agent answer a request that was not sealed to it: it is no response', async () => {
    const carol = await realm.agent('carol')
    await alice.waitForAudience('tools.private', { atLeast: 2 })
    const requests: SecureMessage[] = []
    bob.subscribe('tools.private', { callback: (_error, m) => requests.push(m) })
    await bob.flush()
    const reply = alice.request('tools.private', 'for bob', { timeout: 5000, to: ['bob'], mode })
    let isOver = false
    void reply
      .catch(() => {})
      .then(() => {
        isOver = true
      })
    await until('bob has it', () => requests.length === 1)
    const before = count(alice, 'not a response')
    // carol knows the reply subject from the broker, may publish everywhere, and answers first.
    carol.publish(requests[0]?.reply ?? '', 'from carol', { to: ['alice'], mode })
    await until('it is judged', () => count(alice, 'not a response') === before + 1 || isOver)
    expect(isOver).toBe(false)
    requests[0]?.respond('from bob')
    expect((await reply).string()).toBe('from bob')
    await carol.close()
  })

  it('rejects what an agent publishes beyond its permissions, although it holds valid keys', async () => {
    // Its own library would refuse: it is told that it may do everything, with a token that nobody else accepts.
    const limited = await realm.agent('limited', { permissions: may(['reports.>'], []) })
    expect((await failure(() => limited.publish('orders.new', 'x'))).code).toBe('ERR_PUBLISH_DENIED')
    await limited.waitForAudience('reports.daily', { atLeast: 1 })
    const daily = { to: ['bob'], mode }
    const wire = await captured(() => limited.publish('reports.daily', 'x', daily), 'reports.daily')
    const before = count(bob, 'subject')
    broker.publish('orders.new', wire)
    await until(
      'moved to a subject that it may not publish on, it is rejected',
      () => count(bob, 'subject') > before,
    )
    bob.subscribe('reports.>', { callback: (_error, m) => got.push(m) })
    await bob.flush()
    broker.publish('reports.daily', wire)
    await until('the permitted subject works', () => got.length === 1)
    await limited.close()
  })

  it('shows messages to nobody who records them: no name, no payload, no header', async () => {
    const canary = 'canary-7be2'
    const seen = await realm.tap('>')
    const h = headers()
    h.set('X-Secret', canary)
    tell('orders.canary', canary, { headers: h, reply: '_INBOX.alice.canary' })
    await until('delivered', () => got.length === 1)
    got[0]?.respond(canary)
    await until('answered', () => seen.some(({ subject }) => subject === '_INBOX.alice.canary'))
    const sealed = seen.filter(({ data }) => (data[2] ?? 9) <= WireType.frame && data[0] === 0xc1)
    expect(sealed.length).toBeGreaterThanOrEqual(2)
    for (const { data } of sealed)
      for (const secret of [canary, 'alice', 'bob', 'X-Secret'])
        expect(Buffer.from(data).includes(secret)).toBe(false)
  })
})

describe.each([WireType.sealed, WireType.handshake] as const)('a hostile broker, with type %s,', (type) => {
  let realm: TestRealm
  beforeAll(async () => {
    realm = await TestRealm.start()
  })
  afterAll(() => realm.stop())

  it('copies a live kid into junk: unwrapping is limited, drops are counted, and it recovers', async () => {
    const broker = await realm.connection()
    const alice = await realm.agent('alice')
    // Whatever the machine: a piece of work takes a millisecond, of which there are 50 in a second.
    let work = 0
    const bob = await realm.agent('bob', {}, { clock: { ...systemClock, work: () => ++work } })
    await alice.waitForAudience('orders.flood')
    const got: SecureMessage[] = []
    bob.subscribe('orders.flood', { callback: (_error, m) => got.push(m) })
    await bob.flush()
    const count = (reason: RejectReason): number => bob.rejections()[reason] ?? 0
    // A handshake goes to the inbox of each recipient, where it can be seen too.
    const isMessage = type === WireType.sealed
    const seen = await realm.tap(isMessage ? 'orders.flood' : realm.inboxOf(bob))
    alice.publish('orders.flood', 'real', { mode: isMessage ? 'message' : 'session' })
    await until('delivered', () => got.length === 1 && seen.length >= 1)
    const wire = seen[0]?.data ?? new Uint8Array(0)
    expect(wire[2]).toBe(type)
    const { header, ciphertext } = decodeSealed(wire)
    for (let i = 0; i < 500; i++) {
      // One that is known would not even be unwrapped.
      const commitment = engine.randomBytes(32)
      const wraps = splitWraps(header.packedWraps).map(({ kid }) => ({ kid, wrap: engine.randomBytes(48) }))
      const junkHeader = encodeSealedHeader({ ...header, packedWraps: packWraps(wraps) })
      broker.publish('orders.flood', encodeSealed(header.type, junkHeader, concat(commitment, ciphertext)))
    }
    await until('all were looked at', () => count('wrap') + count('flood') >= 500)
    expect(count('wrap')).toBeLessThan(250)
    expect(count('flood')).toBeGreaterThan(250)
    expect(got).toHaveLength(1)
    await until('a valid message passes again', () => {
      alice.publish('orders.flood', 'after', { mode: 'message' })
      return got.length > 1
    })
  })
})
