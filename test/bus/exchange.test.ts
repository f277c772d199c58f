import { headers } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { paddedLength } from '../../src/crypto/padding.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { may } from '../support/identities.ts'
import { TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

describe('agents on a real server', () => {
  let realm: TestRealm
  let alice: SecureConnection
  let billing: SecureConnection
  let audit: SecureConnection

  beforeAll(async () => {
    realm = await TestRealm.start()
    alice = await realm.agent('alice')
    billing = await realm.agent('billing', { permissions: may(['>'], ['orders.>', 'tools.>']) })
    audit = await realm.agent('audit', { permissions: may([], ['orders.*']) })
    await alice.waitForAudience('orders.new', { atLeast: 2 })
  })
  afterAll(() => realm.stop())

  it('delivers a publish to every agent that may read the subject, with a proved sender', async () => {
    const got: [string, SecureMessage][] = []
    for (const bus of [billing, audit]) {
      bus.subscribe('orders.>', { max: 1, callback: (_error, m) => got.push([bus.name, m]) })
      await bus.flush()
    }
    const before = Date.now()
    alice.publish('orders.new', JSON.stringify({ id: 7 }))
    await until('both have read it', () => got.length === 2)
    expect(got.map(([name]) => name).sort()).toEqual(['audit', 'billing'])
    for (const [, m] of got) {
      expect(m.json()).toEqual({ id: 7 })
      expect(m.string()).toBe('{"id":7}')
      expect(m.subject).toBe('orders.new')
      expect(m.sender).toEqual({ name: 'alice', instance: alice.instance })
      expect(m.epoch).toBe(1)
      expect(m.sentAt.getTime()).toBeGreaterThanOrEqual(before)
      expect(m.respond('no request')).toBe(false)
    }
  })

  it('delivers to an async iterator in the order of publishing, and ends it at max', async () => {
    const sub = billing.subscribe('orders.sequence', { max: 50 })
    await billing.flush()
    for (let i = 0; i < 50; i++) alice.publish('orders.sequence', String(i))
    const seen: string[] = []
    for await (const m of sub) seen.push(m.string())
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => String(i)))
    expect(sub.isClosed()).toBe(true)
  })

  it('seals to the agents named in `to`, and to nobody else', async () => {
    const got: string[] = []
    for (const bus of [billing, audit]) {
      bus.subscribe('orders.private', { callback: (_error, m) => got.push(`${bus.name} ${m.string()}`) })
      await bus.flush()
    }
    alice.publish('orders.private', 'for one', { to: ['billing'] })
    alice.publish('orders.private', 'for all')
    await until('three deliveries', () => got.length === 3)
    expect(got.sort()).toEqual(['audit for all', 'billing for all', 'billing for one'])
    expect(audit.rejections()).toEqual({})
  })

  it('seals to one instance that is named as name/instance', async () => {
    const twin = await realm.agent('twin')
    await alice.waitForAudience('orders.twin', { atLeast: 3 })
    const got: string[] = []
    twin.subscribe('orders.twin', { callback: (_error, m) => got.push(m.string()) })
    await twin.flush()
    alice.publish('orders.twin', 'you', { to: [`twin/${twin.instance}`] })
    await until('delivered', () => got.length === 1)
    const error = await failure(() => alice.publish('orders.twin', 'x', { to: ['twin/0000000000000000'] }))
    expect(error.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
    await twin.close()
  })

  it('shows the broker neither payload nor sender nor header', async () => {
    const canary = 'canary-5f1d'
    const seen = await realm.tapMessages('orders.>')
    const h = headers()
    h.set('X-Secret', canary)
    alice.publish('orders.canary', canary, { headers: h })
    await alice.flush()
    await until('the tap has it', () => seen.length === 1)
    const wire = seen[0]?.data ?? new Uint8Array(0)
    for (const secret of [canary, 'alice', 'billing', 'X-Secret']) {
      expect(Buffer.from(wire).includes(secret)).toBe(false)
    }
    expect([WireType.sealed, WireType.frame]).toContain(wireType(wire))
  })

  it('shows no announcement hash in a sealed message', async () => {
    const engine = (await import('../support/identities.ts')).engine
    const announcements: Uint8Array[] = []
    const watch = await realm.connection()
    watch.subscribe(`${realm.root}.announce.>`, {
      callback: (_e, m) => {
        announcements.push(new Uint8Array(m.data))
      },
    })
    await watch.flush()
    const late = await realm.agent('late')
    await until('its announcement was seen', () => announcements.length > 0)
    const { parseAnnouncement } = await import('../../src/keys/announcements.ts')
    const hashes = announcements.map((bytes) => parseAnnouncement(engine, bytes).hash)
    const seen = await realm.tapMessages('orders.hash')
    await alice.waitForAudience('orders.hash', { atLeast: 2 })
    late.publish('orders.hash', 'x')
    alice.publish('orders.hash', 'y')
    await until('the tap has both', () => seen.length === 2)
    for (const { data } of seen) for (const hash of hashes) expect(hex(data)).not.toContain(hex(hash))
    await late.close()
  })

  it('hides the length of the payload in PADMÉ buckets', async () => {
    const seen = await realm.tapMessages('orders.size')
    const sizes = [0, 1, 500, 501, 510, 5000, 5001, 5100]
    for (const size of sizes) {
      alice.publish('orders.size', new Uint8Array(size), { to: ['billing'] })
      // In one turn they would share frames.
      await alice.flush()
    }
    await until('the tap has all', () => seen.length === sizes.length)
    const lengths = seen.map(({ data }) => data.length)
    expect(lengths[0]).toBe(lengths[1])
    expect(lengths[2]).toBe(lengths[3])
    expect(lengths[5]).toBe(lengths[6])
    // Everything around the plaintext has one length for one recipient, so differences are those of the buckets.
    const buckets = new Set(Array.from({ length: 9000 }, (_, i) => paddedLength(i, 'padme')))
    const overhead = (lengths[0] ?? 0) - 256
    const rest = lengths.map((length) => length - overhead)
    expect(new Set(rest).size).toBeLessThan(sizes.length)
    expect(buckets.has(256)).toBe(true)
  })

  it('seals user headers, and leaves those that the server acts on in clear and authenticated', async () => {
    const got: SecureMessage[] = []
    billing.subscribe('orders.headers', { callback: (_error, m) => got.push(m) })
    await billing.flush()
    const wire: { names: string[] }[] = []
    const watch = await realm.connection()
    watch.subscribe('orders.headers', {
      callback: (_e, m) => {
        wire.push({ names: m.headers?.keys() ?? [] })
      },
    })
    await watch.flush()
    const h = headers()
    h.append('X-Trace', 'a')
    h.append('X-Trace', 'b')
    h.set('Nats-Msg-Id', 'id-1')
    alice.publish('orders.headers', 'x', { headers: h })
    await until('delivered', () => got.length === 1 && wire.length === 1)
    expect(got[0]?.headers?.values('X-Trace')).toEqual(['a', 'b'])
    expect(got[0]?.headers?.get('Nats-Msg-Id')).toBe('id-1')
    expect(wire[0]?.names).toEqual(['Nats-Msg-Id'])
  })

  it('answers a request with a response sealed to the requester alone', async () => {
    const seen = await realm.tapMessages('_INBOX.>')
    billing.subscribe('tools.search', {
      callback: (_error, m) => m.respond(`${m.sender.name}: ${m.string()}`),
    })
    await billing.flush()
    const reply = await alice.request('tools.search', 'query', { timeout: 2000, to: ['billing'] })
    expect(reply.string()).toBe('alice: query')
    expect(reply.sender.name).toBe('billing')
    await until('the tap has the response', () => seen.length === 1)
    expect(Buffer.from(seen[0]?.data ?? []).includes('alice: query')).toBe(false)
  })

  it('spreads a queue group over workers that each open with their own key', async () => {
    const workers = await Promise.all([
      realm.agent('worker-1'),
      realm.agent('worker-2'),
      realm.agent('worker-3'),
    ])
    await alice.waitForAudience('tools.jobs', { atLeast: 4 })
    const handled = new Map<string, number>()
    for (const worker of workers) {
      worker.subscribe('tools.jobs', {
        queue: 'workers',
        callback: (_error, m) => {
          handled.set(worker.name, (handled.get(worker.name) ?? 0) + 1)
          m.respond('done')
        },
      })
    }
    await Promise.all(workers.map((worker) => worker.flush()))
    const requests = Array.from({ length: 60 }, () => alice.request('tools.jobs', 'job', { timeout: 5000 }))
    const replies = await Promise.all(requests)
    expect(replies.every((reply) => reply.string() === 'done')).toBe(true)
    const total = [...handled.values()].reduce((sum, count) => sum + count, 0)
    expect(total).toBe(60)
    expect(handled.size).toBeGreaterThan(1)
    await Promise.all(workers.map((worker) => worker.close()))
  })

  it('carries one agent to another by reply subjects of their own', async () => {
    const got: SecureMessage[] = []
    alice.subscribe('orders.answers', { callback: (_error, m) => got.push(m) })
    billing.subscribe('orders.ask', { max: 1, callback: (_error, m) => m.respond('answer') })
    await Promise.all([alice.flush(), billing.flush()])
    alice.publish('orders.ask', 'question', { reply: 'orders.answers', to: ['billing'] })
    await until('answered', () => got.length === 1)
    expect(got[0]?.string()).toBe('answer')
  })

  it('talks across engines: the bytes are the same', async () => {
    const agents = [
      await realm.agent('on-noble', {}, { engine: 'noble' }),
      await realm.agent('on-libsodium', {}, { engine: 'libsodium' }),
    ]
    const got: string[] = []
    for (const bus of agents) {
      bus.subscribe('orders.engines', {
        callback: (_error, m) => got.push(`${m.sender.name} to ${bus.name}`),
      })
      await bus.flush()
    }
    for (const bus of agents) {
      await bus.waitForAudience('orders.engines', { atLeast: 2 })
      bus.publish('orders.engines', 'x', { to: ['on-noble', 'on-libsodium'] })
    }
    await until('each has heard both', () => got.length === 4)
    await Promise.all(agents.map((bus) => bus.close()))
  })

  it('accepts bytes and strings of every size up to the limit of the server', async () => {
    const got: number[] = []
    billing.subscribe('orders.large', { callback: (_error, m) => got.push(m.data.length) })
    await billing.flush()
    for (const size of [0, 1, 1000, 100_000, 900_000]) {
      alice.publish('orders.large', utf8('x'.repeat(size)), { to: ['billing'] })
    }
    await until('all came', () => got.length === 5)
    expect(got).toEqual([0, 1, 1000, 100_000, 900_000])
  })
})
