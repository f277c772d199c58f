import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jetstreamManager } from '@nats-io/jetstream'
import type { MsgHdrs, NatsConnection } from '@nats-io/transport-node'
import { afterEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import type { NatsLike, NatsMessage } from '../../../src/bus/nats-like.ts'
import { Streams } from '../../../src/bus/out/streams.ts'
import { WireType, wireType } from '../../../src/wire/preamble.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'
import { type AgentOptions, type Tapped, TestRealm } from '../../support/realm.ts'
import { until } from '../../support/until.ts'

const API = '$JS.API.STREAM.NAMES'
/** What secure() does where nothing is configured: the server is asked. */
const ASKING: AgentOptions = { capturedSubjects: undefined as never }

let realm: TestRealm
const folders: string[] = []
afterEach(async () => {
  await realm.stop()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
})

/** A realm on a server with JetStream and a stream of these subjects. */
async function withStream(subjects: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'subrosa-streams-'))
  folders.push(folder)
  realm = await TestRealm.start({ serverConfig: `jetstream { store_dir: "${folder}" }` })
  const manager = await jetstreamManager(await realm.connection({ client: '@nats-io' }))
  await manager.streams.add({ name: 'orders', subjects: [...subjects] })
}

async function pair(
  options: AgentOptions = ASKING,
): Promise<{ alice: SecureConnection; bob: SecureConnection; got: string[] }> {
  const [alice, bob] = [await realm.agent('alice', {}, options), await realm.agent('bob', {}, options)]
  await alice.waitForAudience('orders.new')
  const got: string[] = []
  bob.subscribe('*.new', { callback: (_error, m) => got.push(m.string()) })
  await bob.flush()
  return { alice, bob, got }
}

const typesOf = (seen: readonly Tapped[]): (number | undefined)[] => seen.map(({ data }) => wireType(data))

/** Publishes until a session is used, and says how many messages that took. */
async function publishedUntilLive(alice: SecureConnection, subject: string): Promise<Tapped[]> {
  const seen = await realm.tap(subject)
  await until('a frame was seen', () => {
    alice.publish(subject, 'x')
    return typesOf(seen).includes(WireType.frame)
  })
  return seen
}

/** A connection, and what is asked over it. A tap would be somebody who could answer. */
async function askedOver(): Promise<{ over: NatsConnection; asked: string[] }> {
  const asked: string[] = []
  const over = new Proxy(await realm.connection(), {
    get: (nc, name) => {
      if (name === 'publish') {
        return (subject: string, data: Uint8Array, options: object) => {
          if (subject === API) asked.push(`${subject} ${Buffer.from(data).toString()}`)
          nc.publish(subject, data, options)
        }
      }
      const value: unknown = Reflect.get(nc, name)
      return typeof value === 'function' ? value.bind(nc) : value
    },
  })
  return { over, asked }
}

describe('what is published on a subject that a stream captures', () => {
  it('is sealed in messages that stand for themselves, for good', async () => {
    await withStream(['orders.>', 'reports.*'])
    const { alice, got } = await pair()
    const seen = await realm.tap('*.new')
    for (let i = 0; i < 20; i++) {
      for (const mode of ['session', 'channel'] as const)
        alice.publish('orders.new', String(i), { mode, to: ['bob'] })
      alice.publish('reports.new', String(i))
      alice.publishMany('reports.new', ['a', 'b'])
      await alice.flush()
    }
    await until('all have come', () => got.length === 100)
    await realm.settled()
    expect(new Set(typesOf(seen))).toEqual(new Set([WireType.sealed]))
  })

  it('does not keep other subjects from going over sessions', async () => {
    await withStream(['orders.>'])
    const { alice } = await pair()
    await publishedUntilLive(alice, 'talk.new')
  })

  it('is what responses to a captured reply subject are sealed in, too', async () => {
    await withStream(['answers.>'])
    const { alice, bob } = await pair()
    bob.subscribe('tools.ask', { callback: (_error, m) => void m.respond('x') })
    await bob.flush()
    const seen = await realm.tap('answers.*')
    // Requests go over a session by now, and so would their responses.
    const asked = await realm.tap('tools.ask')
    await until('requests go over a session', () => {
      alice.publish('tools.ask', 'x', { to: ['bob'], reply: 'answers.new' })
      return typesOf(asked).includes(WireType.frame)
    })
    for (let i = 0; i < 20; i++) {
      alice.publish('tools.ask', 'x', { to: ['bob'], reply: `answers.${i}` })
      await alice.flush()
    }
    await until('all are answered', () => seen.length === asked.length)
    expect(new Set(typesOf(seen))).toEqual(new Set([WireType.sealed]))
  })

  it('is known without asking where it is configured', async () => {
    realm = await TestRealm.start()
    const { over, asked } = await askedOver()
    const configured = { capturedSubjects: ['orders.*', 'answers.>'] }
    const { bob } = await pair(configured)
    const alice = await realm.agent('asker', {}, { ...configured, over })
    await alice.waitForAudience('orders.new', { atLeast: 2 })
    const seen = await realm.tap('*.new')
    bob.subscribe('talk.*', { callback: (_error, m) => void m.respond('x') })
    await bob.flush()
    alice.publish('orders.new', 'x')
    alice.publish('talk.new', 'x', { to: ['bob'], reply: 'answers.new' })
    alice.publish('talk.new', 'x', { to: ['bob'], reply: 'others.new' })
    await until('all were seen', () => seen.length === 5)
    const types = Object.fromEntries(seen.map(({ subject, data }) => [subject, wireType(data)]))
    expect(types).toEqual({
      'orders.new': WireType.sealed,
      'talk.new': WireType.frame,
      'answers.new': WireType.sealed,
      'others.new': WireType.frame,
    })
    expect(asked).toEqual([])
  })
})

describe('a server without JetStream', () => {
  it('is asked once for all subjects, and from then on sessions are used', async () => {
    realm = await TestRealm.start()
    const { over, asked } = await askedOver()
    const { alice, got } = await pair({ ...ASKING, over })
    const seen = await publishedUntilLive(alice, 'orders.new')
    const sent = seen.filter(({ data }) => wireType(data) !== WireType.handshake).length
    for (let i = 0; i < 20; i++) alice.publish('orders.new', 'x')
    await until('all have come', () => got.length >= sent + 20)
    const others = await realm.tapMessages('orders.*')
    for (let i = 0; i < 200; i++) alice.publish(`orders.${i}`, 'x')
    await until('all were seen', () => others.length === 200)
    expect(new Set(typesOf(others))).toEqual(new Set([WireType.frame]))
    expect(asked).toEqual([`${API} {"subject":">"}`])
  })

  it('is not asked about inboxes', async () => {
    realm = await TestRealm.start()
    const { alice } = await pair()
    const { over, asked } = await askedOver()
    const carol = await realm.agent('carol', {}, { ...ASKING, over })
    await alice.waitForAudience('tools.ask', { atLeast: 2 })
    carol.subscribe('tools.ask', { callback: (_error, m) => void m.respond('x') })
    await carol.flush()
    await publishedUntilLive(alice, 'tools.ask')
    const seen = await realm.tap('_INBOX.>')
    await alice.request('tools.ask', 'x', { to: ['carol'], timeout: 5000 })
    await realm.settled()
    expect(asked).toEqual([])
    expect(
      typesOf(seen)
        .filter((type) => type !== undefined)
        .at(-1),
    ).toBe(WireType.frame)
  })
})

describe('whoever answers in the place of JetStream', () => {
  const bytes = (text: string) => ({ encode: () => Buffer.from(text) }) as unknown as MsgHdrs

  /** An agent that asks, somebody who answers it so, and what the agent still takes afterwards. */
  async function answeredBy(data: string, headers: MsgHdrs) {
    realm = await TestRealm.start()
    const stranger = await realm.connection()
    let answered = 0
    stranger.subscribe(API, {
      callback: (_error, m) => {
        m.respond(data, { headers })
        answered++
      },
    })
    await stranger.flush()
    const { alice, bob, got } = await pair({ capturedSubjects: [] })
    const carol = await realm.agent('carol', {}, ASKING)
    await alice.waitForAudience('talk.new', { atLeast: 2 })
    const read: string[] = []
    carol.subscribe('talk.new', { callback: (_error, m) => read.push(m.string()) })
    await carol.waitForAudience('orders.new', { atLeast: 2 })
    await carol.flush()
    carol.publish('orders.new', 'x')
    await until('it was answered, and bob has the message', () => answered === 1 && got.length === 1)
    await stranger.flush()
    bob.publish('talk.new', 'x')
    return { carol, read }
  }

  it('makes no agent deaf by headers that do not parse', async () => {
    const { carol, read } = await answeredBy('', bytes('NATS/1.0\r\nbad name\u0001: x\r\n\r\n'))
    const heard = until('the agent still hears', () => read.length === 1)
    expect(await heard.then(() => 'heard').catch(() => 'deaf')).toBe('heard')
    expect(carol.isClosed()).toBe(false)
  })

  it('has no long headers read', async () => {
    const { carol } = await answeredBy('{"total":0}', bytes(`NATS/1.0\r\n${'x:\r\n'.repeat(15_000)}\r\n`))
    await until('it was judged', () => carol.rejections().headers !== undefined)
    expect(carol.rejections()).toEqual({ headers: 1 })
  })
})

describe('a server that refuses the question', () => {
  it('makes every message one that stands for itself, and nothing is lost', async () => {
    realm = await TestRealm.start({
      serverConfig: `
        authorization {
          users: [
            { user: all, password: all }
            { user: asker, password: asker, permissions: { publish: { deny: ["$JS.>"] } } }
          ]
        }
        no_auth_user: all`,
    })
    const over = await realm.connection({ user: 'asker', pass: 'asker' })
    const { bob, got } = await pair()
    const carol = await realm.agent('carol', {}, { ...ASKING, over })
    await carol.waitForAudience('orders.new', { atLeast: 2 })
    const seen = await realm.tap('orders.new')
    for (let i = 0; i < 10; i++) {
      carol.publish('orders.new', String(i))
      await carol.flush()
    }
    await until('all have come', () => got.length === 10)
    expect(new Set(typesOf(seen))).toEqual(new Set([WireType.sealed]))
    expect([carol.isClosed(), bob.rejections()]).toEqual([false, {}])
  })
})

type Answer = Pick<NatsMessage, 'data' | 'headers'>

/** Streams over a connection on which the questions come here, and are answered in the next turn, or not at all. */
function asking(answer: (pattern: string) => Answer | undefined) {
  const clock = new ManualClock()
  const questions: string[] = []
  const open = new Map<string, (message: NatsMessage) => void>()
  const nc = {
    isClosed: () => false,
    subscribe: (inbox: string, options: { callback: (error: null, message: NatsMessage) => void }) => {
      open.set(inbox, (message) => options.callback(null, message))
      return { unsubscribe: () => open.delete(inbox) }
    },
    publish: (api: string, bytes: Uint8Array, { reply }: { reply: string }) => {
      const { subject } = JSON.parse(Buffer.from(bytes).toString()) as { subject: string }
      expect([api, open.has(reply)]).toEqual([API, true])
      questions.push(subject)
      const found = answer(subject)
      if (found !== undefined) setImmediate(() => open.get(reply)?.({ subject: reply, sid: 1, ...found }))
    },
  } as unknown as NatsLike
  const context = testContext({ clock })
  const streams = new Streams(nc, { ...context, inboxPrefix: '_INBOX', captured: undefined })
  return { clock, questions, open, streams, rejections: () => context.feed.rejections() }
}

const json = (answer: unknown): Answer => ({ data: utf8(JSON.stringify(answer)) })
/** Resolves when what was asked is answered. */
const answers = () => new Promise((resolve) => setImmediate(resolve))
const NOTHING = new Uint8Array(0)
const status = (code: number) => Object.assign(new Map<string, string[]>(), { code })

describe('what JetStream answers', () => {
  it.each([
    ['no stream', json({ total: 0, streams: null }), true],
    ['no stream and no total', json({ streams: [] }), true],
    ['a stream', json({ total: 1, streams: ['orders'] }), false],
    ['a total alone', json({ total: 3 }), false],
    ['that it is not enabled', json({ error: { code: 503, err_code: 10_076 } }), true],
    ['that it is not enabled for the account', json({ error: { code: 503, err_code: 10_039 } }), true],
    ['that it does not work now', json({ error: { code: 503, err_code: 10_008 } }), false],
    ['an error with no more than a code', json({ error: { code: 503 } }), false],
    ['none of the fields of an answer', json({}), false],
    ['a field without a value', json({ streams: null }), false],
    ['fields of other types', json({ streams: 'none', total: '0' }), false],
    ['another error', json({ error: { code: 500 } }), false],
    ['an error without a code', json({ error: {} }), false],
    ['what is no answer', { data: utf8('nonsense') }, false],
    ['bytes that are no text', { data: Uint8Array.of(0xff) }, false],
    ['nothing at all', { data: NOTHING }, false],
    ['null', json(null), false],
    ['that nobody is there', { data: NOTHING, headers: status(503) }, true],
    ['another status', { data: NOTHING, headers: status(408) }, false],
    ['that nobody is there, and something else', { data: utf8('x'), headers: status(503) }, false],
    ['too late', undefined, false],
  ] as const)('%s', async (_what, answer, isLive) => {
    const { streams, questions, open } = asking(() => answer)
    expect(streams.isLive('a.b')).toBe(false)
    await answers()
    expect(streams.isLive('a.b')).toBe(isLive)
    // It is asked once: what is not known for certain is asked again, but not now.
    expect(questions.filter((subject) => subject === '>')).toHaveLength(1)
    expect(open.size).toBe(questions.length - (answer === undefined ? 0 : 1))
  })

  it('is waited for for two seconds, and no longer than the connection is open', async () => {
    const { clock, streams, open } = asking(() => undefined)
    streams.isLive('a.b')
    clock.advance(1999)
    expect(open.size).toBe(1)
    clock.advance(1)
    expect(open.size).toBe(0)
    streams.askAgain()
    streams.isLive('a.b')
    expect(open.size).toBe(1)
    streams.close()
    expect(open.size).toBe(0)
  })

  it('is asked for again after a minute where it told nothing', async () => {
    let answer: Answer | undefined
    const { clock, questions, streams } = asking(() => answer)
    streams.isLive('a.b')
    answer = json({ total: 0 })
    clock.advance(59_999)
    expect([streams.isLive('a.b'), questions.length]).toEqual([false, 1])
    clock.advance(1)
    expect([streams.isLive('a.b'), questions.length]).toEqual([false, 2])
    await answers()
    expect(streams.isLive('a.b')).toBe(true)
  })

  /** JetStream with these answers: a stream for each pattern that `isCaptured` says so of. */
  function jetStream(isCaptured: (pattern: string) => boolean) {
    const server = { isCaptured, isSilent: false }
    const all = asking((pattern) =>
      server.isSilent ? undefined : json({ total: server.isCaptured(pattern) ? 1 : 0, streams: null }),
    )
    const { streams } = all
    /** Asks as often as it takes until an answer is final. */
    const settled = async (subject: string): Promise<boolean> => {
      for (let i = 0; i < 4; i++) {
        streams.isLive(subject)
        await answers()
      }
      return streams.isLive(subject)
    }
    return { ...all, server, settled }
  }
  const ORDERS = ['>', 'orders.>', 'orders.new']

  it('for all subjects is enough where there is no stream, however many there are', async () => {
    const { questions, streams, settled } = jetStream(() => false)
    expect(await settled('orders.new')).toBe(true)
    for (let i = 0; i < 1000; i++) expect(streams.isLive(`orders.${i}`)).toBe(true)
    expect(questions).toEqual(['>'])
  })

  it('for all subjects with one first token is enough where no stream captures one of them', async () => {
    const { questions, streams, settled } = jetStream((pattern) => pattern === '>')
    expect(await settled('orders.new')).toBe(true)
    for (let i = 0; i < 1000; i++) expect(streams.isLive(`orders.${i}`)).toBe(true)
    expect(streams.isLiveReply('orders.reply.7')).toBe(true)
    expect(questions).toEqual(['>', 'orders.>'])
    // A subject of one token has none below it.
    expect(await settled('orders')).toBe(true)
    expect(questions).toEqual(['>', 'orders.>', 'orders'])
  })

  it('is asked for each subject only where a stream captures others like it', async () => {
    const { questions, settled } = jetStream((pattern) => ORDERS.includes(pattern))
    expect([await settled('orders.new'), await settled('orders.old')]).toEqual([false, true])
    expect(questions).toEqual([...ORDERS, 'orders.old'])
  })

  it('is asked for 32 times a second at most, and what there was no question for is not live', async () => {
    const { clock, questions, streams, settled } = jetStream((pattern) => pattern.endsWith('>'))
    await settled('orders.new')
    for (let i = 0; i < 1000; i++) expect(streams.isLive(`orders.${i}`)).toBe(false)
    expect(questions).toHaveLength(32)
    clock.advance(1000)
    for (let i = 0; i < 1000; i++) streams.isLive(`orders.${i}`)
    expect(questions).toHaveLength(64)
  })

  it('is asked for again after a minute, and holds until the next one comes', async () => {
    const { clock, questions, server, streams, settled } = jetStream(() => false)
    await settled('orders.new')
    clock.advance(59_999)
    expect([streams.isLive('orders.new'), questions.length]).toEqual([true, 1])
    clock.advance(1)
    // A stream was made meanwhile.
    server.isCaptured = (pattern) => ORDERS.includes(pattern)
    expect([streams.isLive('orders.new'), questions.length]).toEqual([true, 2])
    await answers()
    expect(await settled('orders.new')).toBe(false)
    expect(questions).toEqual(['>', ...ORDERS])
    // And it is gone again.
    server.isCaptured = () => false
    clock.advance(60_000)
    expect(await settled('orders.new')).toBe(true)
    expect(questions.slice(4)).toEqual(ORDERS)
  })

  it('holds where the next one does not come, and is asked for once more', async () => {
    const { clock, questions, server, settled } = jetStream(() => false)
    await settled('orders.new')
    server.isSilent = true
    clock.advance(60_000)
    expect(await settled('orders.new')).toBe(true)
    expect(questions).toHaveLength(2)
    server.isSilent = false
    server.isCaptured = () => true
    clock.advance(60_000)
    expect(await settled('orders.new')).toBe(false)
  })

  it('is asked for again when somebody says so', async () => {
    const { questions, streams, settled } = jetStream((pattern) => ORDERS.includes(pattern))
    await settled('orders.new')
    streams.askAgain()
    expect(await settled('orders.new')).toBe(false)
    expect(questions).toEqual([...ORDERS, ...ORDERS])
  })

  it('is remembered of no more patterns than 4096', async () => {
    const { clock, streams, settled } = jetStream((pattern) => pattern.endsWith('>'))
    expect(await settled('a.0')).toBe(true)
    for (let i = 1; i <= 4096; i++) {
      if (i === 4094) expect(streams.isLive('a.0')).toBe(true)
      streams.isLive(`a.${i}`)
      await answers()
      clock.advance(32)
    }
    // All of them were forgotten, and it is asked for again.
    expect(streams.isLive('a.0')).toBe(false)
    expect(await settled('a.0')).toBe(true)
  })
})

describe('a stream that is made later', () => {
  it('is noticed after a reconnect, and until then what is known holds', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'subrosa-streams-'))
    folders.push(folder)
    realm = await TestRealm.start({ serverConfig: `jetstream { store_dir: "${folder}" }` })
    const { over, asked } = await askedOver()
    const { alice } = await pair({ ...ASKING, over })
    const seen = await publishedUntilLive(alice, 'orders.new')
    const manager = await jetstreamManager(await realm.connection({ client: '@nats-io' }))
    await manager.streams.add({ name: 'orders', subjects: ['orders.>'] })
    const before = seen.length
    alice.publish('orders.new', 'x')
    await until('it was seen', () => seen.length > before)
    expect(typesOf(seen).at(-1)).toBe(WireType.frame)
    expect(asked).toHaveLength(1)
    await alice.reconnect()
    await until('what is published stands for itself', () => {
      alice.publish('orders.new', 'x')
      return typesOf(seen).at(-1) === WireType.sealed
    })
    expect(asked.map((question) => question.slice(API.length + 1))).toEqual(
      ['>', '>', 'orders.>', 'orders.new'].map((subject) => JSON.stringify({ subject })),
    )
  })
})
