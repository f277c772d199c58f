import { headers, type MsgHdrs, type NatsConnection } from '@nats-io/transport-node'
import { RequestStrategy } from 'nats'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { RequestManyOptions, SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { secure } from '../../src/bus/secure.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import { clientLine } from '../support/client.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, may } from '../support/identities.ts'
import { passing } from '../support/passing.ts'
import { type Tapped, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

/** What a reader of responses has seen so far. */
interface Reading {
  readonly got: string[]
  error: unknown
  isOver: boolean
}

/** What a server says where nobody subscribes. */
const NO_RESPONDERS = { encode: () => Buffer.from('NATS/1.0 503\r\n\r\n') } as unknown as MsgHdrs

function read(responses: AsyncIterable<{ string(): string }>): Reading {
  const reading: Reading = { got: [], error: undefined, isOver: false }
  void (async () => {
    try {
      for await (const m of responses) reading.got.push(m.string())
    } catch (error) {
      reading.error = error
    } finally {
      reading.isOver = true
    }
  })()
  return reading
}

/** Time stands still here unless a test moves it: what ends, ends for its own reason. */
describe('a request for many responses', () => {
  const names = ['bob', 'carol', 'dave']
  const clock = new ManualClock()
  const asked = new Map<string, SecureMessage>()
  let realm: TestRealm
  let broker: NatsConnection
  let alice: SecureConnection
  let workers: readonly SecureConnection[]
  let inbox: Tapped[]

  beforeAll(async () => {
    realm = await TestRealm.start({ clock })
    broker = await realm.connection()
    alice = await passing(clock, realm.agent('alice'))
    const permissions = may(['>'], ['tools.>'])
    workers = await Promise.all(
      names.map((name) => passing(clock, realm.agent(name, { permissions: permissions }))),
    )
    for (const bus of workers) {
      bus.subscribe('tools.many', { callback: (_error, m) => asked.set(bus.name, m) })
      await bus.flush()
    }
    await passing(clock, alice.waitForAudience('tools.many', { atLeast: 3 }))
    inbox = await realm.tap('_INBOX.>')
  })
  afterAll(() => realm.stop())
  beforeEach(() => {
    inbox.length = 0
  })

  /** Asks, and resolves when all who were asked have the request. */
  async function ask(options: RequestManyOptions): Promise<Reading> {
    asked.clear()
    const reading = read(await alice.requestMany('tools.many', 'q', options))
    await until('the request has come', () => asked.size === (options.to ?? names).length)
    return reading
  }

  const respond = (name: string, payload = name): boolean | undefined => asked.get(name)?.respond(payload)
  const replySubject = (): string => asked.values().next().value?.reply ?? ''
  const count = (reason: RejectReason): number => alice.rejections()[reason] ?? 0

  /** Publishes on the reply subject, and resolves when alice has judged it. */
  async function forge(reason: RejectReason, data: Uint8Array | string): Promise<void> {
    const before = count(reason)
    broker.publish(replySubject(), data)
    await until(`it is rejected: ${reason}`, () => count(reason) === before + 1)
  }

  /** Resolves when whatever was settled has run on. */
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  it.each(['timer', RequestStrategy.Timer, undefined] as const)(
    'by %s is over at maxWait',
    async (strategy) => {
      const reading = await ask({ maxWait: 700, ...(strategy === undefined ? {} : { strategy }) })
      for (const name of names) respond(name)
      respond('bob', 'bob again')
      await until('all have answered', () => reading.got.length === 4)
      clock.advance(699)
      await settled()
      expect(reading.isOver).toBe(false)
      clock.advance(1)
      await until('it is over', () => reading.isOver)
      expect(reading.got.sort()).toEqual(['bob', 'bob again', 'carol', 'dave'])
      expect(reading.error).toBeUndefined()
    },
  )

  it.each(['count', RequestStrategy.Count] as const)(
    'by %s is over after so many responses',
    async (strategy) => {
      const reading = await ask({ strategy, maxMessages: 2 })
      respond('bob')
      await until('one has come', () => reading.got.length === 1)
      await settled()
      expect(reading.isOver).toBe(false)
      respond('carol')
      await until('it is over', () => reading.isOver)
      expect(reading.got).toEqual(['bob', 'carol'])
      expect(reading.error).toBeUndefined()
    },
  )

  it.each([undefined, 0, -1, 4])('by count with maxMessages %s waits until maxWait', async (maxMessages) => {
    const options = { strategy: 'count', maxWait: 500 } as const
    const reading = await ask(maxMessages === undefined ? options : { ...options, maxMessages })
    for (const name of names) respond(name)
    await until('all have answered', () => reading.got.length === 3)
    clock.advance(499)
    await settled()
    expect(reading.isOver).toBe(false)
    clock.advance(1)
    await until('it is over', () => reading.isOver)
  })

  it.each([
    [{ strategy: 'stall', stall: 200 }, 200],
    [{ strategy: RequestStrategy.JitterTimer, jitter: 200 }, 200],
    [{ strategy: 'jitterTimer' }, 300],
    [{ strategy: 'stall' }, 300],
  ] as const)('by %j is over when none has come for %i ms, however long it took', async (options, stall) => {
    const reading = await ask({ ...options, maxWait: 400 })
    for (let i = 1; i <= 4; i++) {
      clock.advance(i === 1 ? 399 : stall - 1)
      respond('bob', String(i))
      await until('it has come', () => reading.got.length === i)
      expect(reading.isOver).toBe(false)
    }
    clock.advance(stall - 1)
    await settled()
    expect(reading.isOver).toBe(false)
    clock.advance(1)
    await until('it is over', () => reading.isOver)
    expect(reading.got).toEqual(['1', '2', '3', '4'])
  })

  it('by stall is over at maxWait where none has come at all', async () => {
    const reading = await ask({ strategy: 'stall', stall: 10, maxWait: 400 })
    clock.advance(399)
    await settled()
    expect(reading.isOver).toBe(false)
    clock.advance(1)
    await until('it is over', () => reading.isOver)
    expect(reading.got).toEqual([])
    expect(reading.error).toBeUndefined()
  })

  it.each(['sentinel', RequestStrategy.SentinelMsg] as const)(
    'by %s is over with an empty response, which is delivered too',
    async (strategy) => {
      const reading = await ask({ strategy })
      respond('bob')
      await until('it has come', () => reading.got.length === 1)
      respond('carol', '')
      await until('it is over', () => reading.isOver)
      expect(reading.got).toEqual(['bob', ''])
    },
  )

  it('by count and by sentinel yields what the plain client yields', async () => {
    const plain = await realm.connection()
    const answers = ['1', '2', '', '3']
    const sub = broker.subscribe('plain.many', {
      callback: (_error, m) => {
        for (const answer of answers) m.respond(answer)
      },
    })
    await broker.flush()
    const sentinel = clientLine === 'nats' ? 'sentinelMsg' : 'sentinel'
    for (const options of [{ strategy: 'count', maxMessages: 2 }, { strategy: sentinel }] as const) {
      const theirs = read(
        await plain.requestMany('plain.many', 'q', { ...options, maxWait: 10_000 } as never),
      )
      const ours = await ask({ ...options, to: ['bob'] })
      for (const answer of answers) respond('bob', answer)
      await until('both are over', () => ours.isOver && theirs.isOver)
      expect(ours.got).toEqual(theirs.got)
    }
    sub.unsubscribe()
  })

  it('neither counts nor ends with junk, and an empty message in clear is no sentinel', async () => {
    const h = headers()
    h.set('X-Not', 'a status')
    const status = headers()
    status.set('Subrosa-Status', 'something else')
    for (const options of [{ strategy: 'sentinel' }, { strategy: 'count', maxMessages: 1 }] as const) {
      const reading = await ask(options)
      await forge('plaintext', '')
      await forge('plaintext', 'junk')
      await forge('malformed', Uint8Array.of(0xc1, 1, 0))
      await forge('malformed', Uint8Array.of(0xc1, 1, 0, ...engine.randomBytes(300)))
      for (const clear of [h, status]) {
        const before = count('plaintext')
        broker.publish(replySubject(), '', { headers: clear })
        await until('it is rejected', () => count('plaintext') === before + 1)
      }
      expect(reading).toEqual({ got: [], error: undefined, isOver: false })
      respond('bob', '')
      await until('it is over', () => reading.isOver)
      expect(reading.got).toEqual([''])
    }
  })

  it('neither counts nor ends with a response that is played again, here or from another request', async () => {
    const first = await ask({ strategy: 'count', maxMessages: 1 })
    respond('bob', 'of the first')
    await until('it is over, and tapped', () => first.isOver && inbox.length === 1)
    const old = inbox[0]?.data ?? new Uint8Array(0)
    const reading = await ask({ strategy: 'count', maxMessages: 2 })
    // A frame is known again by its number, a message by its subject first.
    const before = count('subject') + count('replay')
    broker.publish(replySubject(), old)
    await until('it is rejected', () => count('subject') + count('replay') === before + 1)
    respond('bob')
    await until('one has come', () => reading.got.length === 1 && inbox.length === 3)
    const own = inbox[2]?.data ?? new Uint8Array(0)
    await forge('replay', own)
    await forge('replay', own)
    expect(reading).toEqual({ got: ['bob'], error: undefined, isOver: false })
    respond('carol')
    await until('it is over', () => reading.isOver)
    expect(reading.got).toEqual(['bob', 'carol'])
  })

  it('neither counts nor ends with a response of an agent that was not asked', async () => {
    const reading = await ask({ strategy: 'count', maxMessages: 1, to: ['bob'] })
    const before = count('not a response')
    // carol knows the reply subject from the broker, and may publish everywhere.
    workers[1]?.publish(replySubject(), '', { to: ['alice'] })
    await until('it is rejected', () => count('not a response') === before + 1)
    expect(reading.isOver).toBe(false)
    respond('bob')
    await until('it is over', () => reading.isOver)
    expect(reading.got).toEqual(['bob'])
  })

  it('goes on where a queue worker says that it was not addressed: others may answer', async () => {
    const reading = await ask({ strategy: 'count', maxMessages: 1 })
    const h = headers()
    h.set('Subrosa-Status', 'unaddressed')
    const refreshed = await realm.tap(`${realm.root}.query.>`)
    broker.publish(replySubject(), '', { headers: h })
    await until('alice asks for what she may have missed', () => refreshed.length > 0)
    expect(reading.isOver).toBe(false)
    respond('bob')
    await until('it is over', () => reading.isOver)
    expect(reading.got).toEqual(['bob'])
  })

  it('fails with ERR_NO_RESPONDERS where the server knows of no subscriber', async () => {
    const reading = read(await alice.requestMany('tools.nobody', 'q'))
    await until('it is over', () => reading.isOver)
    expect(reading.error).toMatchObject({ code: 'ERR_NO_RESPONDERS' })
    expect(reading.got).toEqual([])
  })

  it('goes on where a stranger says that nobody subscribes, once a response has come', async () => {
    const reading = await ask({ strategy: 'count', maxMessages: 2 })
    respond('bob')
    await until('one has come', () => reading.got.length === 1)
    const before = count('plaintext')
    broker.publish(replySubject(), '', { headers: NO_RESPONDERS })
    await until('it is judged', () => count('plaintext') > before || reading.isOver)
    respond('carol')
    await until('it is over', () => reading.isOver)
    expect(reading).toEqual({ got: ['bob', 'carol'], error: undefined, isOver: true })
  })

  it('without a response is over at maxWait, and no error', async () => {
    const reading = await ask({})
    clock.advance(999)
    await settled()
    expect(reading.isOver).toBe(false)
    clock.advance(1)
    await until('it is over', () => reading.isOver)
    expect(reading).toEqual({ got: [], error: undefined, isOver: true })
  })

  it('takes nothing any more once its reader has stopped', async () => {
    asked.clear()
    const responses = await alice.requestMany('tools.many', 'q', { maxWait: 60_000 })
    await until('the request has come', () => asked.size === 3)
    respond('bob')
    for await (const m of responses) {
      expect(m.string()).toBe('bob')
      break
    }
    const abandoned = replySubject()
    const before = { rejections: alice.rejections(), opened: alice.stats().opened }
    respond('carol')
    broker.publish(abandoned, 'junk')
    await broker.flush()
    // What comes on one connection is taken in its order: a later request shows that the junk has passed.
    const later = await ask({ strategy: 'count', maxMessages: 1 })
    respond('dave')
    await until('the later one is over', () => later.isOver)
    expect(alice.rejections()).toEqual(before.rejections)
    expect(alice.stats().opened).toBe(before.opened + 1)
    for await (const _ of responses) throw new Error('it was over')
  })

  it('yields what came before the connection was closed, and fails then', async () => {
    const ends: [string, (bus: SecureConnection, nc: NatsConnection) => Promise<unknown>][] = [
      ['closer', (bus) => bus.close()],
      ['drainer', (bus) => bus.drain()],
      ['dropper', (_bus, nc) => nc.close()],
    ]
    for (const [name, end] of ends) {
      const nc = await realm.connection()
      const parts = { identity: realm.identity(name), trust: realm.trust, state: 'memory', clock }
      const bus = await passing(clock, secure(nc, parts))
      await passing(clock, bus.waitForAudience('tools.many', { atLeast: 3 }))
      asked.clear()
      const responses = await bus.requestMany('tools.many', 'q', { to: names })
      await until('the request has come', () => asked.size === 3)
      const before = nc.stats().inMsgs
      respond('bob')
      await until('the response has come', () => nc.stats().inMsgs === before + 1)
      await end(bus, nc)
      const reading = read(responses)
      await until('it is over', () => reading.isOver)
      expect(reading.got).toEqual(['bob'])
      expect(reading.error).toMatchObject({ code: 'ERR_CLOSED' })
    }
  })

  it('is refused before anything is sent where it cannot be made', async () => {
    const seen = await realm.tap('tools.>')
    const wrong = ['first', '', 'constructor', 7, null, {}]
    for (const strategy of wrong) {
      const error = await failure(() => alice.requestMany('tools.many', 'q', { strategy } as never))
      expect(error).toBeInstanceOf(TypeError)
      expect(error.message).toContain('strategy must be one of timer, count,')
    }
    for (const subject of ['', 'tools.*', 'a b'])
      expect(await failure(() => alice.requestMany(subject, 'q'))).toBeInstanceOf(TypeError)
    expect(await failure(() => alice.requestMany('tools.many', 7 as never))).toBeInstanceOf(TypeError)
    const unknown = await failure(() => alice.requestMany('tools.many', 'q', { to: ['nobody'] }))
    expect(unknown.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
    await alice.flush()
    expect(seen).toEqual([])
  })
})
