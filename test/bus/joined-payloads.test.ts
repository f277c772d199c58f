import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { PublishOptions, SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { encodeFrameMeta, payloadBytes } from '../../src/wire/frame.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { announceCrowd } from '../support/crowd.ts'
import { type Tapped, TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

/** Payloads that are published one by one and go in one frame. */
const MAX_JOINED = 64
const MAX_JOINED_PAYLOAD = 4096
const MAX_JOINED_BYTES = 32 * 1024

let realm: TestRealm

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))
const framesIn = (seen: readonly Tapped[]): number =>
  seen.filter(({ data }) => wireType(data) === WireType.frame).length
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const META = {
  ttlMs: 0,
  subject: 'talk.x',
  reply: undefined,
  inReplyTo: undefined,
  headers: [],
  clearHeaders: [],
}

const TO_BOB: PublishOptions = { to: ['bob'] }
const BY_CHANNEL: PublishOptions = { to: ['bob'], mode: 'channel' }

interface Talk {
  readonly alice: SecureConnection
  readonly bob: SecureConnection
  readonly got: string[]
  readonly seen: Tapped[]
}

async function start(serverConfig = ''): Promise<Talk> {
  realm = await TestRealm.start({ serverConfig })
  const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
  await alice.waitForAudience('talk.x')
  const got: string[] = []
  bob.subscribe('talk.>', { callback: (_error, m) => got.push(m.string()) })
  await bob.flush()
  return { alice, bob, got, seen: await realm.tap('talk.>') }
}

describe('what is published to one instance one by one in one turn', () => {
  afterEach(() => realm.stop())

  /** Publishes in one turn, and tells how many frames that made once everything has come. */
  async function framesOf({ alice, got, seen }: Talk, texts: readonly string[], task: () => void) {
    const [frames, before] = [framesIn(seen), got.length]
    task()
    await alice.flush()
    await until('all have come', () => got.length >= before + texts.length)
    await realm.settled()
    expect(got.slice(before)).toEqual(texts)
    return framesIn(seen) - frames
  }

  it.each([
    ['session', TO_BOB],
    ['channel', BY_CHANNEL],
  ])('goes in one frame of mode %s, 64 payloads at most, and each is delivered by itself', async (_, way) => {
    const talk = await start()
    const { alice, bob } = talk
    const counts = [1, 2, MAX_JOINED - 1, MAX_JOINED, MAX_JOINED + 1, 2 * MAX_JOINED, 2 * MAX_JOINED + 1]
    const frames: number[] = []
    for (const count of counts)
      frames.push(
        await framesOf(talk, numbers(count), () => {
          for (const text of numbers(count)) alice.publish('talk.x', text, way)
        }),
      )
    expect(frames).toEqual([1, 1, 1, 1, 2, 2, 3])
    const all = counts.reduce((sum, count) => sum + count, 0)
    expect([alice.stats().sealed, bob.stats().opened, bob.rejections()]).toEqual([all, all, {}])
  })

  it('goes in one frame with no more than 32 KiB, and with no payload above 4096 bytes', async () => {
    const talk = await start()
    const ofSizes = (sizes: readonly number[]) => {
      const texts = sizes.map((size, i) => String.fromCharCode(0x61 + i).repeat(size))
      return framesOf(talk, texts, () => {
        for (const text of texts) talk.alice.publish('talk.x', text, TO_BOB)
      })
    }
    // A frame also holds its subject and other fields, and the length of each payload.
    const room = MAX_JOINED_BYTES - encodeFrameMeta(META).length
    const each = payloadBytes(MAX_JOINED_PAYLOAD)
    const full = Array<number>(Math.floor(room / each)).fill(MAX_JOINED_PAYLOAD)
    const rest = (room % each) - payloadBytes(1000) + 1000
    expect(await ofSizes([...full, rest])).toBe(1)
    expect(await ofSizes([...full, rest + 1])).toBe(2)
    const less = rest - payloadBytes(0)
    expect(await ofSizes([...full, less, 0])).toBe(1)
    expect(await ofSizes([...full, less, 1])).toBe(2)
    expect(await ofSizes([0, 0, 0])).toBe(1)
    expect(await ofSizes([1, MAX_JOINED_PAYLOAD, 1])).toBe(1)
    expect(await ofSizes([1, MAX_JOINED_PAYLOAD + 1, 1])).toBe(3)
  })

  it('never makes a frame that the server does not take', async () => {
    const limit = 4096
    const talk = await start(`max_payload: ${limit}`)
    const texts = Array.from({ length: 300 }, (_, i) => String(i).padEnd((i * 37) % 1500))
    const frames = await framesOf(talk, texts, () => {
      for (const text of texts) talk.alice.publish('talk.x', text, TO_BOB)
    })
    expect(frames).toBeLessThan(150)
    expect(Math.max(...talk.seen.map(({ data }) => data.length))).toBeLessThanOrEqual(limit)
    expect(talk.alice.isClosed()).toBe(false)
  })

  it('goes in frames of their own where something comes between, and in the order of publishing', async () => {
    const talk = await start()
    const { alice, bob } = talk
    await announceCrowd(realm, 2)
    await alice.waitForAudience('talk.x', { atLeast: 3 })
    bob.subscribe('tools.ask', { callback: (_error, m) => void m.respond('x') })
    await bob.flush()
    const publish = (text: string, options: PublishOptions = TO_BOB, subject = 'talk.x'): void =>
      alice.publish(subject, text, options)
    const headers = new Map([['X-A', ['b']]])
    const between: readonly [what: string, frames: number, texts: number, task: () => void][] = [
      ['another subject', 3, 1, () => publish('between', TO_BOB, 'talk.y')],
      ['another mode', 3, 1, () => publish('between', BY_CHANNEL)],
      ['a message', 2, 1, () => publish('between', { ...TO_BOB, mode: 'message' })],
      ['several recipients', 3, 1, () => publish('between', { to: ['bob', 'crowd0'] })],
      ['another instance', 3, 0, () => publish('unread', { to: ['crowd1'] })],
      ['headers', 3, 1, () => publish('between', { ...TO_BOB, headers })],
      [
        'clear headers',
        3,
        1,
        () => publish('between', { ...TO_BOB, headers: new Map([['Nats-Msg-Id', ['1']]]) }),
      ],
      ['a reply subject', 3, 1, () => publish('between', { ...TO_BOB, reply: 'talk.reply' })],
      ['many payloads', 3, 1, () => alice.publishMany('talk.x', ['between'], TO_BOB)],
      ['a larger one', 3, 1, () => publish('between'.padEnd(MAX_JOINED_PAYLOAD + 1))],
      ['a request', 2, 0, () => void alice.request('tools.ask', 'x', TO_BOB).catch(() => {})],
      ['nothing', 1, 0, () => {}],
    ]
    for (const [what, frames, count, task] of between) {
      const [before, seen] = [talk.got.length, framesIn(talk.seen)]
      for (const text of ['1', '2']) publish(text)
      task()
      for (const text of ['3', '4']) publish(text)
      await alice.flush()
      await until('all have come', () => talk.got.length >= before + 4 + count)
      await realm.settled()
      const got = talk.got.slice(before).map((text) => text.trim())
      const expected = ['1', '2', ...Array<string>(count).fill('between'), '3', '4']
      expect([what, got, framesIn(talk.seen) - seen]).toEqual([what, expected, frames])
    }
    expect(bob.rejections()).toEqual({})
  })

  it('goes in a frame for each turn', async () => {
    const talk = await start()
    const seen = framesIn(talk.seen)
    for (const text of numbers(5)) {
      talk.alice.publish('talk.x', text, TO_BOB)
      await turn()
    }
    await until('all have come', () => talk.got.length === 5)
    await realm.settled()
    expect([talk.got, framesIn(talk.seen) - seen]).toEqual([numbers(5), 5])
  })

  it('is counted one by one by a subscription that ends after so many, and by one that unsubscribes', async () => {
    const { alice, bob, got } = await start()
    const limited: string[] = []
    const stopped: string[] = []
    const later: string[] = []
    const limit = bob.subscribe('talk.x', { max: 3, callback: (_error, m) => limited.push(m.string()) })
    const stop = bob.subscribe('talk.x', {
      callback: (_error, m) => {
        stopped.push(m.string())
        if (stopped.length === 4) stop.unsubscribe()
      },
    })
    const end = bob.subscribe('talk.*', {
      callback: (_error, m) => {
        later.push(m.string())
        if (later.length === 2) end.unsubscribe(5)
      },
    })
    const read: string[] = []
    const iterated = bob.subscribe('talk.x')
    const reading = (async () => {
      for await (const m of iterated) {
        read.push(m.string())
        if (read.length === 6) break
      }
    })()
    await bob.flush()
    for (const text of numbers(20)) alice.publish('talk.x', text, TO_BOB)
    await until('all have come', () => got.length === 20)
    await reading
    expect([limited, stopped, later, read, got]).toEqual([3, 4, 5, 6, 20].map(numbers))
    expect([limit, stop, end, iterated].map((subscription) => subscription.isClosed())).toEqual(
      Array(4).fill(true),
    )
    expect([limit.getReceived(), stop.getReceived(), end.getReceived()]).toEqual([3, 4, 5])
  })

  it('is delivered once and in order by a queue group within that instance', async () => {
    const { alice, bob } = await start()
    const done: string[][] = [[], [], []]
    for (const list of done)
      bob.subscribe('jobs.x', { queue: 'q', callback: (_error, m) => list.push(m.string()) })
    await bob.flush()
    const count = 20 * MAX_JOINED
    for (const text of numbers(count)) alice.publish('jobs.x', text, TO_BOB)
    const sum = (): number => done.reduce((all, list) => all + list.length, 0)
    await until('all are done', () => sum() >= count)
    expect(
      done
        .flat()
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(numbers(count).map(Number))
    for (const list of done) expect(list.map(Number)).toEqual(list.map(Number).sort((a, b) => a - b))
    expect(bob.rejections()).toEqual({})
  })

  it('to one of two instances of an agent is not in the way of the other, nor of their queue group', async () => {
    realm = await TestRealm.start()
    const identity = realm.identity('bob')
    const [alice, one, two] = [
      await realm.agent('alice'),
      await realm.agent(identity),
      await realm.agent(identity),
    ]
    await alice.waitForAudience('jobs.x', { atLeast: 2 })
    const done: string[] = []
    for (const bob of [one, two])
      bob.subscribe('jobs.x', { queue: 'q', callback: (_error, m) => done.push(m.string()) })
    await Promise.all([one.flush(), two.flush()])
    const seen = await realm.tap('jobs.x')
    // Any of the two may get each of them: none is joined with another.
    for (const text of numbers(100)) alice.publish('jobs.x', text, { to: ['bob'] })
    await until('all are done', () => done.length >= 100)
    expect(done.map(Number).sort((a, b) => a - b)).toEqual(numbers(100).map(Number))
    await realm.settled()
    expect(framesIn(seen)).toBe(100)
  })

  it('comes once where the frame comes twice', async () => {
    const { alice, bob, got, seen } = await start()
    for (const text of numbers(10)) alice.publish('talk.x', text, TO_BOB)
    await until('all have come', () => got.length === 10)
    await realm.settled()
    const broker = await realm.connection()
    for (const { subject, data } of seen.slice()) broker.publish(subject, data)
    await until('it is rejected', () => bob.rejections().replay === 1)
    expect(got).toEqual(numbers(10))
  })

  it.each(['drain', 'close', 'flush'] as const)('is all published before a %s is over', async (how) => {
    const { alice, got, seen } = await start()
    for (const text of numbers(150)) alice.publish('talk.x', text, BY_CHANNEL)
    await alice[how]()
    await realm.settled()
    expect(framesIn(seen)).toBe(3)
    await until('all have come', () => got.length === 150)
    expect(got).toEqual(numbers(150))
  })

  it('says of each payload what it says of one alone', async () => {
    const { alice, bob } = await start()
    const messages: SecureMessage[] = []
    bob.subscribe('talk.x', { callback: (_error, m) => messages.push(m) })
    await bob.flush()
    for (const text of ['one', 'two']) alice.publish('talk.x', text, BY_CHANNEL)
    await turn()
    alice.publish('talk.x', 'alone', BY_CHANNEL)
    await until('all have come', () => messages.length === 3)
    const said = messages.map((m) => ({
      subject: m.subject,
      reply: m.reply,
      headers: m.headers,
      sender: m.sender,
      epoch: m.epoch,
      mode: m.mode,
    }))
    expect(said[0]).toEqual(said[2])
    expect(said[1]).toEqual(said[2])
    expect(messages.map((m) => m.respond('x'))).toEqual([false, false, false])
  })
})

describe('whatever is published in whatever turns', () => {
  let talk: Talk
  beforeAll(async () => {
    talk = await start()
    await announceCrowd(realm, 1)
    await talk.alice.waitForAudience('talk.x', { atLeast: 2 })
  })
  afterAll(() => realm.stop())

  const ways: readonly PublishOptions[] = [
    TO_BOB,
    BY_CHANNEL,
    {},
    { ...TO_BOB, mode: 'message' },
    { ...TO_BOB, headers: new Map([['X-A', ['b']]]) },
    { ...BY_CHANNEL, reply: 'talk.reply' },
  ]
  const step = fc.record({
    way: fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...ways.slice(0, 2)) },
      { weight: 1, arbitrary: fc.constantFrom(...ways) },
    ),
    subject: fc.constantFrom('talk.x', 'talk.x', 'talk.y'),
    sizes: fc.array(
      fc.oneof(
        fc.integer({ min: 0, max: 300 }),
        fc.constantFrom(0, MAX_JOINED_PAYLOAD - 1, MAX_JOINED_PAYLOAD, MAX_JOINED_PAYLOAD + 1, 40_000),
      ),
      { minLength: 1, maxLength: 90 },
    ),
    isMany: fc.boolean(),
    rests: fc.constantFrom(false, false, true),
  })

  it('comes whole and in order, once, and each payload as it was', async () => {
    const { alice, bob, got } = talk
    const buffer = new Uint8Array(50_000)
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        got.length = 0
        const sent: string[] = []
        for (const { way, subject, sizes, isMany, rests } of steps) {
          const payloads = sizes.map((size, i) => `${sent.length + i}`.padEnd(size, '.'))
          sent.push(...payloads)
          if (isMany && way.reply === undefined) alice.publishMany(subject, payloads, way)
          else
            for (const payload of payloads) {
              const bytes = buffer.subarray(0, payload.length)
              bytes.set(utf8(payload))
              alice.publish(subject, bytes, way)
              buffer.fill(0)
            }
          if (rests) await turn()
        }
        await until('all have come', () => got.length >= sent.length || bob.stats().rejected > 0)
        expect(bob.rejections()).toEqual({})
        expect(got.map((text) => text.slice(0, 40))).toEqual(sent.map((text) => text.slice(0, 40)))
        expect(got.map((text) => text.length)).toEqual(sent.map((text) => text.length))
      }),
      { numRuns: 100, endOnFailure: true },
    )
  }, 60_000)
})
