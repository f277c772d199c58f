import type { Msg } from '@nats-io/transport-node'
import { afterEach, describe, expect, it } from 'vitest'
import { hex, writeUint } from '../../src/base/bytes.ts'
import {
  FAILED_LOOKUP_TTL_MS,
  HANDSHAKE_REPEAT_MS,
  LOOKUP_TIMEOUT_MS,
  MAX_HANDSHAKE_SUBJECTS,
  MAX_SESSION_REQUESTS_PER_SECOND,
  MAX_UNASKED_LINES,
  MAX_WAITING_BYTES,
  MAX_WAITING_MESSAGES,
  NOT_ADDRESSED_MS,
} from '../../src/base/limits.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { encodeSessionRequest } from '../../src/wire/handshake.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { ManualClock } from '../support/clock.ts'
import { announceCrowd, CROWD } from '../support/crowd.ts'
import { engine } from '../support/identities.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { type AgentOptions, type Tapped, TestRealm } from '../support/realm.ts'
import { MINUTE } from '../support/statements.ts'
import { Tampering } from '../support/tampering.ts'
import { until } from '../support/until.ts'

const PATIENT = { timeout: 120_000 }

let realm: TestRealm
let clock: ManualClock
afterEach(() => realm.stop())

const isHandshake = ({ data }: Msg | Tapped): boolean => wireType(data) === WireType.handshake
const isFrame = ({ data }: Msg | Tapped): boolean => wireType(data) === WireType.frame
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))

function agent(name: string, options: AgentOptions = {}): Promise<SecureConnection> {
  return passing(clock, realm.agent(name, {}, { ...PATIENT, ...options }))
}

/**
 * Alice, who publishes, and bob, in whose line somebody stands; what is asked for and answered is seen. In a crowd the
 * handshakes of what is for all go on the subjects.
 */
async function start({ others = [], crowd = 0 }: { others?: readonly string[]; crowd?: number } = {}) {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock })
  const line = new Tampering(await realm.connection())
  const alice = await agent('alice')
  const bob = await agent('bob', { over: line.connection })
  for (const name of others) await agent(name)
  if (crowd > 0) await announceCrowd(realm, crowd)
  const atLeast = 1 + others.length + crowd
  await passing(clock, alice.waitForAudience('orders.new', { atLeast, timeout: 60_000 }))
  const got: string[] = []
  bob.subscribe('orders.new', { callback: (_error, m) => got.push(m.string()) })
  await bob.flush()
  const asked = await realm.tap(`${realm.root}.session.*`)
  const answered = await realm.tap(`${realm.root}.handshake.*`)
  const count = (reason: string): number =>
    Object.entries(bob.rejections()).find(([name]) => name === reason)?.[1] ?? 0
  return { alice, bob, line, got, asked, answered, count }
}

/** Resolves when an agent has handled what had come to it, and the taps have what it said to that. */
async function answersAreOut(bus: SecureConnection): Promise<void> {
  await bus.flush()
  await bus.flush()
  await realm.settled()
}

describe('a handshake that is lost', () => {
  it.each([
    ['in an inbox', 0],
    ['on a subject', CROWD],
  ])('%s is asked for, and what waits for it is delivered in order', async (_where, crowd) => {
    const { alice, bob, line, got, asked, answered } = await start({ crowd })
    const isOnItsWay = (m: Msg): boolean => isHandshake(m) && !m.subject.includes('.handshake.')
    line.decide = (m) => (isOnItsWay(m) ? 'drop' : 'pass')
    for (let i = 0; i < 20; i++) alice.publish('orders.new', String(i))
    await until('all have come', () => got.length === 20)
    for (let i = 20; i < 30; i++) alice.publish('orders.new', String(i))
    await until('all have come', () => got.length === 30)
    expect(got).toEqual(numbers(30))
    await realm.settled()
    // One question, one answer, and neither names a reply subject.
    expect([asked.length, answered.length]).toEqual([1, 1])
    expect([...asked, ...answered].map(({ reply }) => reply || undefined)).toEqual([undefined, undefined])
    expect(bob.rejections()).toEqual({})
  })

  it('to the inbox of one instance is asked for in the same way, in every mode', async () => {
    const { alice, line, got, asked } = await start()
    line.decide = (m) => (isHandshake(m) && m.subject.includes('.inbox.') ? 'drop' : 'pass')
    for (const mode of ['session', 'channel'] as const)
      for (let i = 0; i < 3; i++) alice.publish('orders.new', `${mode} ${i}`, { to: ['bob'], mode })
    await until('all have come', () => got.length === 6)
    const ofMode = (mode: string) => got.filter((text) => text.startsWith(mode))
    expect(ofMode('session')).toEqual(['session 0', 'session 1', 'session 2'])
    expect(ofMode('channel')).toEqual(['channel 0', 'channel 1', 'channel 2'])
    await realm.settled()
    expect(asked).toHaveLength(2)
  })

  it('is not missed by who subscribes late: it is asked for, and comes', async () => {
    const { alice, bob, asked } = await start({ crowd: CROWD })
    alice.publish('orders.new', 'before')
    const late: string[] = []
    bob.subscribe('talk.late', { callback: (_error, m) => late.push(m.string()) })
    await bob.flush()
    const carol = await agent('carol')
    const reading: string[] = []
    carol.subscribe('talk.late', { callback: (_error, m) => reading.push(m.string()) })
    await carol.flush()
    await passingUntil(clock, 'carol is known', () => alice.audience('talk.late').length === CROWD + 3)
    // Where there is no place left on which the handshake goes, neither of the two gets it.
    for (let i = 0; i < MAX_HANDSHAKE_SUBJECTS; i++) alice.publish(`talk.elsewhere.${i}`, 'x')
    for (let i = 0; i < 5; i++) alice.publish('talk.late', String(i))
    await passingUntil(clock, 'both have all', () => late.length === 5 && reading.length === 5, 1)
    expect([late, reading]).toEqual([numbers(5), numbers(5)])
    await realm.settled()
    expect(new Set(asked.map(({ subject }) => subject)).size).toBe(1)
  })

  it('is asked for by each worker of a queue group that did not get it: none of the jobs is lost', async () => {
    const { alice, asked } = await start({ crowd: CROWD })
    const done: string[] = []
    const workers = await Promise.all(['w1', 'w2', 'w3', 'w4'].map((name) => agent(name)))
    await passing(clock, alice.waitForAudience('jobs.new', { atLeast: CROWD + 5, timeout: 60_000 }))
    for (const worker of workers)
      worker.subscribe('jobs.new', {
        queue: 'q',
        callback: (_error, m) => done.push(`${worker.name} ${m.string()}`),
      })
    await pass(clock, 1000, 20)
    await Promise.all(workers.map((worker) => worker.flush()))
    const jobs = numbers(200)
    for (const job of jobs) alice.publish('jobs.new', job)
    await passingUntil(clock, 'all are done', () => done.length === 200)
    expect(done.map((text) => text.split(' ')[1]).sort()).toEqual([...jobs].sort())
    const byWorker = workers.map(({ name }) =>
      done.filter((text) => text.startsWith(name)).map((text) => Number(text.split(' ')[1])),
    )
    for (const list of byWorker) expect(list).toEqual([...list].sort((a, b) => a - b))
    // The three that did not get the handshake asked for it.
    expect(byWorker.filter(({ length }) => length > 0).length).toBeGreaterThan(1)
    await realm.settled()
    expect(asked.length).toBeGreaterThan(0)
    expect(workers.map((worker) => worker.rejections())).toEqual([{}, {}, {}, {}])
  })

  it('that comes late and late again is waited for, for two seconds', async () => {
    const { alice, bob, line, got, count } = await start()
    line.decide = (m) => (isHandshake(m) ? 'hold' : 'pass')
    alice.publish('orders.new', '0')
    alice.publish('orders.new', '1')
    await until('the handshake, and the answer to the question, are held', () => line.held === 2)
    await pass(clock, LOOKUP_TIMEOUT_MS - 10, 10)
    expect(got).toEqual([])
    line.release()
    await until('they have come', () => got.length === 2)
    expect(got).toEqual(['0', '1'])
    expect([count('unknown session'), bob.rejections()]).toEqual([0, {}])
  })

  it('is asked for once more after a second, and answered again', async () => {
    const { alice, line, got, asked, answered } = await start()
    let dropped = 0
    line.decide = (m) => {
      if (!isHandshake(m) || dropped === 2) return 'pass'
      dropped++
      return 'drop'
    }
    alice.publish('orders.new', '0')
    await passingUntil(clock, 'it has come', () => got.length === 1)
    await realm.settled()
    expect([asked.length, answered.length]).toEqual([2, 2])
  })

  it('and does not come is given up, counted, and not asked for again for a while', async () => {
    const { alice, line, got, asked, count } = await start()
    line.decide = (m) => (isHandshake(m) ? 'drop' : 'pass')
    alice.publish('orders.new', 'lost')
    await until('it was asked for', () => asked.length === 1)
    await passingUntil(clock, 'it is given up', () => count('unknown session') === 1)
    expect(asked).toHaveLength(2)
    line.decide = () => 'pass'
    for (let i = 2; i < 5; i++) {
      alice.publish('orders.new', 'lost too')
      await until('it is given up at once', () => count('unknown session') === i)
    }
    await realm.settled()
    expect(asked).toHaveLength(2)
    await pass(clock, FAILED_LOOKUP_TTL_MS, 1000)
    alice.publish('orders.new', 'found')
    await until('it has come', () => got.length === 1)
    expect(got).toEqual(['found'])
  })

  it('that is sent again makes what follows come in, also where it was given up', async () => {
    const { alice, line, got, answered, count } = await start()
    line.decide = (m) => (isHandshake(m) ? 'drop' : 'pass')
    alice.publish('orders.new', 'lost')
    await until('it was answered', () => answered.length === 1)
    await passingUntil(clock, 'it is given up', () => count('unknown session') === 1)
    line.decide = () => 'pass'
    const broker = await realm.connection()
    broker.publish('orders.new', answered[0]?.data)
    await broker.flush()
    alice.publish('orders.new', 'found')
    await until('it has come', () => got.length === 1)
  })

  it('keeps so many frames waiting, and drops what is more', async () => {
    const { alice, line, got, count } = await start()
    line.decide = (m) => (isHandshake(m) ? 'hold' : 'pass')
    for (let i = 0; i < MAX_WAITING_MESSAGES + 10; i++) alice.publish('orders.new', String(i))
    await until('the last ten are dropped', () => count('unknown session') === 10)
    line.release()
    await until('the others have come', () => got.length === MAX_WAITING_MESSAGES)
    expect(got).toEqual(numbers(MAX_WAITING_MESSAGES))
  })

  it('keeps so many bytes waiting, and drops what is more', async () => {
    const { alice, line, got, count } = await start()
    line.decide = (m) => (isHandshake(m) ? 'hold' : 'pass')
    const size = 100_000
    const fitting = Math.floor(MAX_WAITING_BYTES / (size * 1.12))
    for (let i = 0; i < 15; i++) alice.publish('orders.new', new Uint8Array(size))
    await until('some are dropped', () => count('unknown session') >= 15 - fitting - 2)
    line.release()
    await until('the others have come', () => got.length === 15 - count('unknown session'))
    expect(got.length).toBeGreaterThanOrEqual(fitting)
  })
})

describe('whoever asks for handshakes', () => {
  it('is answered twice a second for each session, however often it asks', async () => {
    const { alice, got, answered } = await start()
    const seen = await realm.tap('orders.new')
    alice.publish('orders.new', 'x')
    await until('it has come', () => got.length === 1)
    await realm.settled()
    const sid = (seen.find(isFrame) ?? { data: new Uint8Array(0) }).data.slice(3, 19)
    const broker = await realm.connection()
    const ask = async (): Promise<void> => {
      // On a reply subject too: nothing is ever sent there.
      for (let i = 0; i < 50; i++)
        broker.publish(`${realm.root}.session.${hex(sid)}`, encodeSessionRequest(sid), {
          reply: 'victim.inbox',
        })
      await broker.flush()
      await answersAreOut(alice)
    }
    const victim = await realm.tap('victim.>')
    await ask()
    expect(answered).toHaveLength(1)
    clock.advance(HANDSHAKE_REPEAT_MS - 1)
    await ask()
    expect(answered).toHaveLength(1)
    clock.advance(60)
    await answersAreOut(alice)
    expect(answered).toHaveLength(2)
    expect(victim).toEqual([])
    expect(new Set(answered.map(({ data }) => hex(data))).size).toBe(1)
  })

  it('is answered for a session that is over for as long as a frame waits, and not any more', async () => {
    const { alice, got, answered } = await start()
    const seen = await realm.tap('orders.new')
    alice.publish('orders.new', 'x')
    await until('it has come', () => got.length === 1)
    await realm.settled()
    const sid = (seen.find(isFrame) ?? { data: new Uint8Array(0) }).data.slice(3, 19)
    const broker = await realm.connection()
    const ask = async (request = encodeSessionRequest(sid)): Promise<number> => {
      broker.publish(`${realm.root}.session.${hex(sid)}`, request)
      await broker.flush()
      await answersAreOut(alice)
      return answered.length
    }
    await pass(clock, 15 * MINUTE, 20_000)
    // Another session is there by now, and the first one has ended.
    alice.publish('orders.new', 'y')
    await until('it has come', () => got.length === 2)
    expect(await ask()).toBe(1)
    await pass(clock, LOOKUP_TIMEOUT_MS - 100, 100)
    expect(await ask()).toBe(2)
    await pass(clock, 100, 100)
    expect(await ask()).toBe(2)
  })

  it('is not answered where it asks for another session, or for nothing that is one', async () => {
    const { alice, got, answered } = await start()
    const seen = await realm.tap('orders.new')
    alice.publish('orders.new', 'x')
    await until('it has come', () => got.length === 1)
    await realm.settled()
    const sid = (seen.find(isFrame) ?? { data: new Uint8Array(0) }).data.slice(3, 19)
    const right = encodeSessionRequest(sid)
    const other = encodeSessionRequest(sid.with(0, (sid[0] ?? 0) ^ 1))
    const broker = await realm.connection()
    const wrong = [new Uint8Array(0), sid, right.subarray(0, 19), other, new Uint8Array([...right, 0])]
    for (const request of wrong) broker.publish(`${realm.root}.session.${hex(sid)}`, request)
    await broker.flush()
    await answersAreOut(alice)
    expect(answered).toEqual([])
    broker.publish(`${realm.root}.session.${hex(sid)}`, right)
    await until('the right one is answered', () => answered.length === 1)
  })

  it('for made-up sessions asks so often and no more, and what it keeps has bounds', async () => {
    const { alice, bob, got, asked, count } = await start()
    const broker = await realm.connection()
    const junk = (): Uint8Array => {
      const frame = engine.randomBytes(200)
      frame.set([0xc1, 1, 2])
      // Its time is right: else it costs no question.
      writeUint(frame, clock.now(), { start: 19, size: 6 })
      frame.fill(0, 35, 43)
      return frame
    }
    for (let i = 0; i < 2000; i++) broker.publish('orders.new', junk())
    await broker.flush()
    await answersAreOut(bob)
    expect(asked).toHaveLength(MAX_SESSION_REQUESTS_PER_SECOND)
    // Most are dropped at once.
    expect(count('unknown session')).toBe(2000 - MAX_SESSION_REQUESTS_PER_SECOND - MAX_UNASKED_LINES)
    await passingUntil(clock, 'the others are given up', () => count('unknown session') === 2000)
    // What waited for its turn had it.
    await realm.settled()
    expect(asked.length).toBeLessThanOrEqual(5 * MAX_SESSION_REQUESTS_PER_SECOND + 1)
    const sessions = new Set(asked.map(({ subject }) => subject)).size
    expect(sessions).toBeGreaterThan(MAX_SESSION_REQUESTS_PER_SECOND + MAX_UNASKED_LINES / 2)
    clock.advance(1000)
    alice.publish('orders.new', 'real')
    await until('it has come', () => got.length === 1)
    expect(Object.keys(bob.rejections())).toEqual(['unknown session'])
  })
})

describe('a frame for others', () => {
  it('is found to be for others once, and from then on costs no question', async () => {
    const { alice, bob, asked, got } = await start({ others: ['carol'] })
    for (let i = 0; i < 10; i++) alice.publish('orders.new', 'for carol', { to: ['carol'] })
    await until('bob asks', () => asked.length === 1)
    for (let i = 0; i < 10; i++) {
      alice.publish('orders.new', 'for carol', { to: ['carol'] })
      await alice.flush()
    }
    alice.publish('orders.new', 'for bob', { to: ['bob'] })
    await until('what follows has come', () => got.length === 1)
    await realm.settled()
    expect(asked).toHaveLength(1)
    expect([got, bob.rejections()]).toEqual([['for bob'], {}])
  })

  it('is asked about again when much time has passed', async () => {
    const { alice, bob, asked, got } = await start({ others: ['carol'] })
    const seen = await realm.tap('orders.new')
    alice.publish('orders.new', 'for carol', { to: ['carol'] })
    await until('bob asks', () => asked.length === 1)
    alice.publish('orders.new', 'for bob', { to: ['bob'] })
    await until('what follows has come', () => got.length === 1)
    const broker = await realm.connection()
    const first = new Uint8Array(seen.find(isFrame)?.data ?? [])
    const play = async (): Promise<void> => {
      // One that is not recent is worth no question.
      writeUint(first, clock.now(), { start: 19, size: 6 })
      broker.publish('orders.new', first)
      await broker.flush()
      await bob.flush()
      await realm.settled()
    }
    await pass(clock, NOT_ADDRESSED_MS - 1000, 20_000)
    await play()
    expect(asked).toHaveLength(1)
    await pass(clock, 1000)
    await play()
    await until('bob asks again', () => asked.length >= 2)
    await realm.settled()
    expect(asked).toHaveLength(2)
  })

  it('is what a worker of a queue group tells the requester, at once', async () => {
    const { alice, bob, asked } = await start({ others: ['carol'] })
    bob.subscribe('tools.ask', { queue: 'q', callback: (_error, m) => m.respond('x') })
    await pass(clock, 1000, 20)
    await bob.flush()
    for (let i = 0; i < 3; i++) {
      const error = await alice
        .request('tools.ask', 'for carol', { to: ['carol'], timeout: 60_000 })
        .catch((cause) => cause)
      expect(error.code).toBe('ERR_UNADDRESSED')
    }
    await realm.settled()
    expect(asked).toHaveLength(1)
    expect((await alice.request('tools.ask', 'for bob', { to: ['bob'], timeout: 60_000 })).string()).toBe('x')
  })

  it('is not believed to be for others because a stranger publishes some other handshake in the place of its own', async () => {
    const { alice, bob, got, asked, line, count } = await start({ others: ['carol'] })
    const seen = await realm.tap('>')
    alice.publish('orders.new', 'for carol', { to: ['carol'] })
    await until('bob asks', () => asked.length === 1)
    // Until a stranger was heard, bob hears no handshake of alice.
    let isStrange = false
    line.decide = (m) => (isHandshake(m) && !isStrange ? 'hold' : 'pass')
    alice.publish('orders.new', 'for bob', { to: ['bob'] })
    await until('bob asks again', () => asked.length === 2)
    const mine = asked.at(-1)?.subject.split('.').at(-1) ?? ''
    const other = seen.find((m) => isHandshake(m) && !m.subject.includes(bob.instance))
    const broker = await realm.connection()
    isStrange = true
    for (const junk of [other?.data, engine.randomBytes(100), engine.randomBytes(100_000)])
      broker.publish(`${realm.root}.handshake.${mine}`, junk)
    await broker.flush()
    await bob.flush()
    expect([count('malformed'), got]).toEqual([3, []])
    line.release()
    await until('it has come', () => got.length === 1)
    expect(got).toEqual(['for bob'])
  })
})
