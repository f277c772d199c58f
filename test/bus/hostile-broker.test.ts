import { headers, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/message.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import { concat, utf8 } from '../../src/bytes.ts'
import { decodeSealed, encodeSealed, encodeSealedHeader } from '../../src/wire/sealed.ts'
import { engine, may } from '../support/identities.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

/** The broker of these tests publishes what it likes: a connection without keys, on a server without logins. */
describe('a hostile broker', () => {
  let realm: TestRealm
  let broker: NatsConnection
  let alice: SecureConnection
  let bob: SecureConnection
  let got: SecureMessage[]

  beforeAll(async () => {
    realm = await TestRealm.start()
    broker = await realm.connection()
    alice = await realm.agent('alice')
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

  async function captured(publish: () => void, subject = 'orders.new'): Promise<Uint8Array> {
    const seen = await realm.tap(subject)
    publish()
    await until('the tap has it', () => seen.length === 1)
    return seen[0]?.data ?? new Uint8Array(0)
  }

  const count = (bus: SecureConnection, reason: RejectReason): number => bus.rejections()[reason] ?? 0

  it('replays a message: it is delivered once', async () => {
    const wire = await captured(() => alice.publish('orders.new', 'once'))
    await until('delivered', () => got.length === 1)
    const before = count(bob, 'replay')
    for (let i = 0; i < 3; i++) broker.publish('orders.new', wire)
    await until('rejected', () => count(bob, 'replay') === before + 3)
    expect(got).toHaveLength(1)
  })

  it('replays a message to a later subscription with the same pattern: it is rejected', async () => {
    const early = bob.subscribe('orders.again')
    await bob.flush()
    const wire = await captured(() => alice.publish('orders.again', 'once'), 'orders.again')
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
    await until('rejected', () => count(bob, 'replay') === before + 2)
    expect(later).toHaveLength(0)
  })

  it('moves a message to another subject: it is rejected', async () => {
    const wire = await captured(() => alice.publish('orders.new', 'here', { to: ['bob'] }))
    await until('delivered', () => got.length === 1)
    const before = count(bob, 'subject')
    broker.publish('orders.other', wire)
    await until('rejected', () => count(bob, 'subject') === before + 1)
    expect(got).toHaveLength(1)
  })

  it('alters a message anywhere: nothing is delivered, and the connection lives on', async () => {
    const wire = await captured(() => alice.publish('orders.altered', 'truth'), 'orders.altered')
    await until('delivered', () => got.length === 1)
    for (let i = 0; i < wire.length; i += 7) {
      const altered = new Uint8Array(wire)
      altered[i] = (altered[i] ?? 0) ^ 0x01
      broker.publish('orders.altered', altered)
    }
    await broker.flush()
    await bob.flush()
    expect(got).toHaveLength(1)
    alice.publish('orders.new', 'still here')
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
      Uint8Array.of(0xc1, 1, 2, 0, 0, 0),
      engine.randomBytes(4096),
    ]
    for (const bytes of junk) broker.publish('orders.new', bytes)
    await until(
      'all are rejected',
      () => count(bob, 'plaintext') + count(bob, 'malformed') === before + junk.length,
    )
    expect(got).toHaveLength(0)
    expect(events.some((event) => event.type === 'rejected' && event.reason === 'plaintext')).toBe(true)
    alice.publish('orders.new', 'still here')
    await until('the next is delivered', () => got.length === 1)
  })

  it('changes, adds or removes a clear header: the message is rejected', async () => {
    const h = headers()
    h.set('Nats-Msg-Id', 'one')
    const wire = await captured(() => alice.publish('orders.headers', 'x', { headers: h }), 'orders.headers')
    await until('delivered', () => got.length === 1)
    const before = count(bob, 'headers')
    const changed = headers()
    changed.set('Nats-Msg-Id', 'two')
    const added = headers()
    added.set('Nats-Msg-Id', 'one')
    added.set('Nats-Rollup', 'all')
    broker.publish('orders.headers', wire, { headers: changed })
    broker.publish('orders.headers', wire, { headers: added })
    broker.publish('orders.headers', wire)
    await until('rejected', () => count(bob, 'headers') === before + 3)
    expect(got).toHaveLength(1)
  })

  it('tries every response to another request than its own: only the right one counts', async () => {
    bob.subscribe('tools.echo', { callback: (_error, m) => m.respond(m.string()) })
    await bob.flush()
    const seen = await realm.tap('_INBOX.>')
    const first = await alice.request('tools.echo', 'first', { to: ['bob'] })
    expect(first.string()).toBe('first')
    await until('the tap has the response', () => seen.length === 1)
    const firstResponse = seen[0]
    // The broker holds the second response back and hands out the first one again, on the second reply subject.
    const requests: { reply: string | undefined }[] = []
    const mute = await realm.agent('mute')
    await alice.waitForAudience('tools.silent', { atLeast: 2 })
    mute.subscribe('tools.silent', { callback: (_error, m) => requests.push({ reply: m.reply }) })
    await mute.flush()
    const pending = failure(() => alice.request('tools.silent', 'second', { timeout: 1500 }))
    await until('the request arrived', () => requests.length === 1)
    const rejectedBefore = count(alice, 'subject')
    broker.publish(requests[0]?.reply ?? '', firstResponse?.data ?? new Uint8Array(0))
    await until('the swapped response is rejected', () => count(alice, 'subject') === rejectedBefore + 1)
    expect((await pending).code).toBe('ERR_TIMEOUT')
    await mute.close()
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
    const reply = alice.request('tools.spammed', 'q', { timeout: 5000 })
    await until('the junk came first', () => count(alice, 'plaintext') >= before + 20 && slow.length === 1)
    slow[0]?.respond('valid')
    expect((await reply).string()).toBe('valid')
    spam.unsubscribe()
  })

  it('lets a permitted agent answer a request that was not sealed to it: it is no response', async () => {
    const carol = await realm.agent('carol')
    await alice.waitForAudience('tools.private', { atLeast: 2 })
    const requests: SecureMessage[] = []
    bob.subscribe('tools.private', { callback: (_error, m) => requests.push(m) })
    await bob.flush()
    const reply = alice.request('tools.private', 'for bob', { timeout: 5000, to: ['bob'] })
    await until('bob has it', () => requests.length === 1)
    const before = count(alice, 'not a response')
    // carol knows the reply subject from the broker, may publish everywhere, and answers first.
    carol.publish(requests[0]?.reply ?? '', 'from carol', { to: ['alice'] })
    await until('it is rejected', () => count(alice, 'not a response') === before + 1)
    requests[0]?.respond('from bob')
    expect((await reply).string()).toBe('from bob')
    await carol.close()
  })

  it('rejects what an agent publishes beyond its permissions, although it holds valid keys', async () => {
    // Its own library would refuse: it is told that it may do everything, with a token that nobody else accepts.
    const limited = await realm.agent('limited', { permissions: may(['reports.>'], []) })
    expect((await failure(() => limited.publish('orders.new', 'x'))).code).toBe('ERR_PUBLISH_DENIED')
    const before = count(bob, 'subject')
    bob.subscribe('reports.>', { callback: (_error, m) => got.push(m) })
    await bob.flush()
    await limited.waitForAudience('reports.daily', { atLeast: 1 })
    const wire = await captured(() => limited.publish('reports.daily', 'x'), 'reports.daily')
    await until('the permitted subject works', () => got.length === 1)
    broker.publish('orders.new', wire)
    await until(
      'moved to a subject that it may not publish on, it is rejected',
      () => count(bob, 'subject') > before,
    )
    await limited.close()
  })

  it('copies a live kid into junk: unwrapping is limited, drops are counted, and it recovers', async () => {
    const wire = await captured(() => alice.publish('orders.flood', 'real'), 'orders.flood')
    await until('delivered', () => got.length === 1)
    const before = { wrap: count(bob, 'wrap'), flood: count(bob, 'flood') }
    const { header, commitment, ciphertext } = decodeSealed(wire)
    for (let i = 0; i < 500; i++) {
      const wraps = header.wraps.map(({ kid }) => ({ kid, wrap: engine.randomBytes(48) }))
      const junkHeader = encodeSealedHeader({ ...header, wraps })
      broker.publish('orders.flood', encodeSealed(header.type, junkHeader, concat(commitment, ciphertext)))
    }
    await until('all were looked at', () => {
      return count(bob, 'wrap') - before.wrap + (count(bob, 'flood') - before.flood) >= 500
    })
    expect(count(bob, 'wrap') - before.wrap).toBeLessThan(200)
    expect(count(bob, 'flood')).toBeGreaterThan(before.flood)
    expect(got).toHaveLength(1)
    await until('a valid message passes again', () => {
      alice.publish('orders.flood', 'after')
      return got.length > 1
    })
  })
})
