import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromHex, utf8 } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SealMode } from '../../src/bus/messages/opened.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { HandRealm } from '../support/hand-agents.ts'
import { passing } from '../support/passing.ts'
import { until } from '../support/until.ts'

const TTL = 1000
let all: HandRealm
let carol: SecureConnection

beforeEach(async () => {
  all = await HandRealm.start()
  carol = await passing(all.clock, all.realm.agent('carol', {}, { timeout: 120_000 }))
  await passing(all.clock, carol.waitForAudience('orders.new', { timeout: 120_000 }))
})
afterEach(() => all.realm.stop())

const timeRejections = (bus: SecureConnection): number => bus.rejections().time ?? 0

/** Lets so much time pass after sending and before anything can arrive. */
function sendAndWait(send: () => void, ms: number): void {
  send()
  all.clock.advance(ms)
}

describe.each<SealMode>(['session', 'channel', 'message'])('a message of mode %s with a ttl', (mode) => {
  const options = { mode, ttl: TTL, to: ['bob'] } as const

  it('is delivered up to its time, and refused after it', async () => {
    sendAndWait(() => carol.publish('orders.new', 'in time', options), TTL)
    await until('it is delivered', () => all.got.length === 1)
    sendAndWait(() => carol.publish('orders.new', 'too late', options), TTL + 1)
    await until('it is rejected', () => timeRejections(all.bob) === 1)
    sendAndWait(() => carol.publish('orders.new', 'no limit of its own', { mode, to: ['bob'] }), TTL + 1)
    await until('it is delivered', () => all.got.length === 2)
    expect(all.got.map((m) => m.string())).toEqual(['in time', 'no limit of its own'])
    expect(all.bob.rejections()).toEqual({ time: 1 })
  })

  it('is refused with all others of one publishMany', async () => {
    sendAndWait(() => carol.publishMany('orders.new', ['a', 'b', 'c'], options), TTL)
    await until('all are delivered', () => all.got.length === 3)
    sendAndWait(() => carol.publishMany('orders.new', ['d', 'e', 'f'], options), TTL + 1)
    // One frame holds all of them, and each message has one.
    await until('all are rejected', () => timeRejections(all.bob) === (mode === 'message' ? 3 : 1))
    expect(all.got.map((m) => m.string())).toEqual(['a', 'b', 'c'])
  })

  it('is a request that nobody answers after its time, and one that is answered in time', async () => {
    all.bob.subscribe('orders.question', { callback: (_error, m) => m.respond('answer') })
    await all.bob.flush()
    const ask = (ms: number) => {
      const answer = carol.request('orders.question', 'q', { ...options, timeout: 5000 })
      answer.catch(() => {})
      all.clock.advance(ms)
      return answer
    }
    expect((await ask(TTL)).string()).toBe('answer')
    const late = ask(TTL + 1)
    await until('the request is rejected', () => timeRejections(all.bob) === 1)
    all.clock.advance(5000)
    await expect(late).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
  })

  it('is a response that comes too late for the one who asked', async () => {
    let waitMs = TTL
    all.bob.subscribe('orders.question', {
      callback: (_error, m) => sendAndWait(() => m.respond('answer', { ttl: TTL }), waitMs),
    })
    await all.bob.flush()
    const ask = () => carol.request('orders.question', 'q', { mode, to: ['bob'], timeout: 20_000 })
    expect((await ask()).string()).toBe('answer')
    waitMs = TTL + 1
    const late = ask()
    late.catch(() => {})
    await until('the response is rejected', () => timeRejections(carol) === 1)
    all.clock.advance(20_000)
    await expect(late).rejects.toMatchObject({ code: 'ERR_TIMEOUT' })
  })

  it('has more or less time where the clocks differ, by as much as they do', async () => {
    const write = all.writer(await all.join('alice'), mode)
    const sent = (aheadMs: number, agoMs: number) =>
      write({ ttlMs: TTL, sentAtMs: all.clock.now() + aheadMs - agoMs })
    // The sender's clock is 700 ms ahead: as seen there its message has 1700 ms.
    await all.expectDelivered(sent(700, TTL + 700))
    await all.expectRejected(sent(700, TTL + 701), 'time')
    await all.expectDelivered(sent(-700, TTL - 700))
    await all.expectRejected(sent(-700, TTL - 699), 'time')
  })
})

describe('a frame with a ttl', () => {
  it('is refused when it has waited for its handshake until after its time', async () => {
    const alice = await all.join('alice')
    const requests = await all.realm.tap(`${all.realm.root}.session.>`)
    const waits = async (ms: number, want: () => boolean) => {
      const before = requests.length
      const session = all.session(alice)
      all.broker.publish('orders.new', session.frame({ meta: { ttlMs: TTL }, payload: utf8('waited') }))
      await until('it waits, and its handshake was asked for', () => requests.length > before)
      all.clock.advance(ms)
      all.broker.publish(all.inboxOfBob, session.handshake)
      await until('it is judged', want)
    }
    await waits(TTL, () => all.got.length === 1)
    await waits(TTL + 1, () => timeRejections(all.bob) === 1)
    expect(all.got).toHaveLength(1)
  })

  it('joins no other with another ttl in one frame', async () => {
    const seen = await all.realm.tap('orders.new')
    const send = (text: string, ttl?: number) =>
      carol.publish('orders.new', text, { mode: 'channel', to: ['bob'], ...(ttl !== undefined && { ttl }) })
    sendAndWait(() => {
      for (const text of ['a', 'b']) send(text, TTL)
      for (const text of ['c', 'd']) send(text, 2 * TTL)
      for (const text of ['e', 'f']) send(text)
      send('g', TTL)
    }, TTL + 1)
    await until('all are judged', () => all.got.length === 4 && timeRejections(all.bob) === 2)
    expect(all.got.map((m) => m.string())).toEqual(['c', 'd', 'e', 'f'])
    expect(seen.filter(({ data }) => wireType(data) === WireType.frame)).toHaveLength(4)
  })
})

describe('the option ttl', () => {
  const wrong = [0, -1, 0.5, 2 ** 32, Number.NaN, Number.POSITIVE_INFINITY, '5' as never, null as never]

  it('is a whole number from 1 to 2^32 - 1, wherever it is given, and named where it is not', async () => {
    const named = expect.objectContaining({
      name: 'RangeError',
      message: expect.stringMatching(/^ttl must be/),
    })
    const responses: unknown[] = []
    all.bob.subscribe('orders.question', {
      callback: (_error, m) => {
        for (const ttl of wrong) {
          try {
            m.respond('answer', { ttl })
          } catch (error) {
            responses.push(error)
          }
        }
        m.respond('answer', { ttl: 2 ** 32 - 1 })
      },
    })
    await all.bob.flush()
    for (const ttl of wrong) {
      expect(() => carol.publish('orders.new', 'x', { ttl })).toThrow(named)
      expect(() => carol.publishMany('orders.new', ['x'], { ttl })).toThrow(named)
      await expect(carol.request('orders.new', 'x', { ttl })).rejects.toEqual(named)
      await expect(carol.requestMany('orders.new', 'x', { ttl })).rejects.toEqual(named)
    }
    const answer = await carol.request('orders.question', 'x', { ttl: 1, to: ['bob'] })
    expect(answer.string()).toBe('answer')
    expect(responses).toEqual(wrong.map(() => named))
    for (const ttl of [1, 2 ** 32 - 1]) carol.publish('orders.new', 'x', { ttl })
    await until('both are delivered', () => all.got.length === 2)
  })

  it('is in a message what makes it malformed above 2^32 - 1', async () => {
    const alice = await all.join('alice')
    await all.expectRejected(all.writer(alice, 'message')({ ttlMs: 2 ** 32 }), 'content')
    await all.expectRejected(all.writer(alice, 'session')({ ttlMs: 2 ** 32 }), 'content')
    await all.expectDelivered(all.writer(alice, 'message')({ ttlMs: 2 ** 32 - 1, payload: fromHex('01') }))
  })
})
