import { afterEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { observeRealm } from '../../src/bus/realm/observe-realm.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import { startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { decodeQuery, QueryKind } from '../../src/wire/queries.ts'
import { ManualClock } from '../support/clock.ts'
import { HostileLine } from '../support/hostile-line/hostile-line.ts'
import type { LineConnection } from '../support/hostile-line/line-connection.ts'
import { drop, pass as letPass } from '../support/hostile-line/verdicts.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { type AgentOptions, collectStatus, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

let realm: TestRealm
let line: HostileLine
const clock = new ManualClock()

async function start(): Promise<void> {
  realm = await TestRealm.start({ clock })
  line = await HostileLine.start(realm.server.port, { clock })
}

afterEach(async () => {
  line.rule = letPass
  await realm.stop()
  await line.close()
})

/** An agent whose broker is the line. */
async function onLine(name: string, options: AgentOptions = {}): Promise<SecureConnection> {
  const over = await realm.connection({ servers: line.url, name })
  return passing(clock, realm.agent(name, {}, { over, ...options }))
}

function refuse(connection: LineConnection, subject: string): void {
  const text = `'Permissions Violation for Subscription to "${subject}"'`
  line.inject(connection, 'to client', { kind: '-ERR', text })
}

/** What the client has subscribed to and not given up, as the line saw it. */
const isSubscribed = (name: string, subject: string): boolean =>
  [...line.connection(name).subscriptions.values()].some((sub) => sub.subject === subject)

const reconnectsIn = (events: readonly StatusEvent[]): number =>
  events.filter((event) => event.type === 'nats' && event.status.type === 'reconnect').length

const errorsIn = (events: readonly StatusEvent[]): readonly unknown[] =>
  events.flatMap((event) => (event.type === 'error' ? [event.error] : []))

describe('a broker that says that it takes one byte', () => {
  /** Every INFO of the server says so from now on. */
  function takeLittle(): void {
    line.rule = (crossing) => {
      const { op } = crossing
      if (op.kind !== 'INFO') return letPass(crossing)
      return [{ op: { ...op, json: op.json.replace(/"max_payload":\d+/, '"max_payload":1') } }]
    }
  }

  it('ends no process at a reconnect: the agent says so, and is back after the next one', async () => {
    await start()
    const alice = await onLine('alice')
    const events = collectStatus(alice)
    takeLittle()
    line.connection('alice').cut()
    await until('it is connected again', () => reconnectsIn(events) === 1)
    await pass(clock, 3000)
    // The question for the directory, the ping, the question whether what was announced is held, and what is asked again.
    const errors = errorsIn(events).map(String)
    expect(errors.length).toBeGreaterThanOrEqual(3)
    expect(errors).toEqual(errors.map(() => expect.stringMatching(/max_payload/i)))
    line.rule = letPass
    const asked = await realm.tap(`${realm.root}.query.*.alice.*`)
    line.connection('alice').cut()
    await passingUntil(clock, 'it asks again whether it is known', () =>
      asked.some(({ data }) => decodeQuery(data).kind === QueryKind.byHash),
    )
    expect(reconnectsIn(events)).toBe(2)
  })

  /** Says so now, of a connection that lasts. */
  async function takeLittleNow(): Promise<void> {
    const info = line.record.findLast(({ op }) => op.kind === 'INFO')?.op
    if (info?.kind !== 'INFO') throw new Error('the server has said no INFO')
    const json = info.json.replace(/"max_payload":\d+/, '"max_payload":1')
    line.inject(line.connection('alice'), 'to client', { kind: 'INFO', json })
    await line.quiet()
  }

  it('stops nothing halfway: fresh keys are made all the same, and the application is told', async () => {
    await start()
    const alice = await onLine('alice')
    const events = collectStatus(alice)
    await takeLittleNow()
    await realm.orderFreshKeys()
    await pass(clock, 40_000)
    expect(events.filter(({ type }) => type === 'rotated')).toEqual([{ type: 'rotated', epoch: 1 }])
    expect(errorsIn(events).map(String)).toContainEqual(expect.stringMatching(/max_payload/i))
  })

  it.each(['close', 'drain'] as const)('has the keys wiped all the same by %s()', async (end) => {
    await start()
    const alice = await onLine('alice')
    const events = collectStatus(alice)
    await takeLittleNow()
    await alice[end]()
    expect(alice).toMatchObject({ epoch: 0 })
    expect(alice.isClosed()).toBe(true)
    expect(errorsIn(events).length).toBeGreaterThan(0)
  })
})

describe('a broker that falls silent', () => {
  function fallSilent(): void {
    line.rule = (crossing) => (crossing.direction === 'to client' ? drop() : letPass(crossing))
  }

  it('keeps no keys alive: close() wipes them after ten seconds', async () => {
    await start()
    const alice = await onLine('alice')
    const events = collectStatus(alice)
    fallSilent()
    let isOver = false
    void alice.close().then(() => {
      isOver = true
    })
    await pass(clock, 9000)
    expect(alice.epoch).toBe(1)
    await pass(clock, 2000)
    expect(alice.epoch).toBe(0)
    expect(isOver).toBe(true)
    expect(errorsIn(events)).toMatchObject([{ code: 'ERR_TIMEOUT' }])
  })

  it('holds up nobody who drains for more than ten seconds', async () => {
    await start()
    const alice = await onLine('alice')
    fallSilent()
    let isOver = false
    void alice.drain().then(() => {
      isOver = true
    })
    await pass(clock, 12_000)
    expect([isOver, alice.epoch]).toEqual([true, 0])
  })

  it('ends no process when its owner drains the connection before a queue subscription has begun', async () => {
    await start()
    const over = await realm.connection({ servers: line.url, name: 'alice' })
    const alice = await passing(clock, realm.agent('alice', {}, { over }))
    const work = alice.subscribe('work', { queue: 'workers' })
    fallSilent()
    void over.drain()
    await pass(clock, 2000)
    expect(work.isClosed()).toBe(true)
    expect(await work.closed).toMatchObject({ code: 'ERR_CONNECTION' })
    await over.close()
  })
})

describe('a broker that refuses the subscriptions of the protocol', () => {
  it('makes an agent deaf for a second: it says so, subscribes again, and asks for what it has missed', async () => {
    await start()
    const alice = await onLine('alice')
    const events = collectStatus(alice)
    const news = ['announce.*.*', 'revoke', 'epoch', 'tick'].map((subject) => `${realm.root}.${subject}`)
    const subjects = [...news, realm.inboxOf(alice)]
    for (const subject of subjects) refuse(line.connection('alice'), subject)
    await line.quiet()
    expect(errorsIn(events)).toMatchObject(subjects.map(() => ({ code: 'ERR_SUBSCRIBE_DENIED' })))
    const names = (): readonly string[] => alice.agents().map(({ name }) => name)
    for (const subject of subjects) expect(isSubscribed('alice', subject)).toBe(false)
    await passing(clock, realm.agent('bob'))
    await pass(clock, 3000, 20)
    await line.quiet()
    expect(names()).toContain('bob')
  })

  it('is asked again at once after a reconnect', async () => {
    await start()
    const alice = await onLine('alice')
    const events = collectStatus(alice)
    refuse(line.connection('alice'), `${realm.root}.revoke`)
    await line.quiet()
    expect(isSubscribed('alice', `${realm.root}.revoke`)).toBe(false)
    line.connection('alice').cut()
    await until('it is connected again', () => reconnectsIn(events) === 1)
    await line.quiet()
    expect(isSubscribed('alice', `${realm.root}.revoke`)).toBe(true)
  })

  it('is asked again after pauses that grow, for as long as it refuses', async () => {
    await start()
    await onLine('alice')
    const subject = `${realm.root}.revoke`
    const attempts = (): number =>
      line.record.filter(({ op }) => op.kind === 'SUB' && op.subject === subject).length
    const before = attempts()
    line.rule = (crossing) => {
      const { op, connection } = crossing
      if (op.kind === 'SUB' && op.subject === subject) refuse(connection, subject)
      return letPass(crossing)
    }
    refuse(line.connection('alice'), subject)
    await line.quiet()
    await pass(clock, 10_000, 20)
    // After 1, 2 and 4 s.
    expect(attempts() - before).toBe(3)
  })

  it('keeps no session from answering for longer: requests for its handshake are heard again', async () => {
    await start()
    const alice = await onLine('alice', { capturedSubjects: [] })
    alice.publish('orders.new', 'a session is open', { to: ['alice'] })
    await line.quiet()
    const session = `${realm.root}.session.`
    const subject = [...line.connection('alice').subscriptions.values()].find((sub) =>
      sub.subject.startsWith(session),
    )?.subject
    if (subject === undefined) throw new Error('no session was opened')
    refuse(line.connection('alice'), subject)
    await line.quiet()
    expect(isSubscribed('alice', subject)).toBe(false)
    await passingUntil(clock, 'it is subscribed to again', () => isSubscribed('alice', subject))
  })

  it('is named as the reason where a question about the realm gets no answer', async () => {
    await start()
    const nc = await realm.connection({ servers: line.url, name: 'visitor' })
    line.rule = (crossing) => {
      const { op, connection } = crossing
      if (op.kind === 'SUB' && op.subject.startsWith(`${realm.root}.inbox.`)) refuse(connection, op.subject)
      return letPass(crossing)
    }
    const observed = failure(() => observeRealm(nc, { trust: realm.trust, timeout: 500, clock }))
    expect((await passing(clock, observed)).code).toBe('ERR_SUBSCRIBE_DENIED')
  })

  it('makes a rotation service deaf for a second', async () => {
    await start()
    await realm.service?.close()
    const service = await startRotationService(
      await realm.connection({ servers: line.url, name: 'rotator' }),
      { identity: realm.rotator, trust: realm.trust, plan: realm.kept, store: memoryRotationStore(), clock },
    )
    const subject = `${realm.root}.ping.*.*`
    refuse(line.connection('rotator'), subject)
    await line.quiet()
    expect(isSubscribed('rotator', subject)).toBe(false)
    await passingUntil(clock, 'it is subscribed to again', () => isSubscribed('rotator', subject))
    await service.close()
  })
})

describe('what strangers say in clear to whoever waits for responses', () => {
  const HINT = Buffer.from('NATS/1.0\r\nSubrosa-Status: unaddressed\r\n\r\n')
  const NO_HEADERS = Buffer.from('NATS/1.0\r\nbad name: x\r\n\r\n')

  /** A message without content, by the line, to the inbox of alice's requests. */
  function say(reply: string, headers: Buffer): void {
    const connection = line.connection('alice')
    const inbox = `${reply.slice(0, reply.lastIndexOf('.'))}.*`
    const sub = [...connection.subscriptions.values()].find(({ subject }) => subject === inbox)
    if (sub === undefined) throw new Error(`nobody has subscribed to ${inbox}`)
    const payload = Buffer.alloc(0)
    line.inject(connection, 'to client', {
      kind: 'MSG',
      subject: reply,
      sid: sub.sid,
      reply: undefined,
      headers,
      payload,
    })
  }

  /** Two agents, and so many requests for many responses that wait. */
  async function waitingFor(count: number) {
    await start()
    const alice = await onLine('alice')
    const bob = await passing(clock, realm.agent('bob'))
    bob.subscribe('tools.search', { callback: () => {} })
    await passing(clock, bob.flush())
    await passing(clock, alice.waitForAudience('tools.search'))
    const asked = await realm.tapMessages('tools.search')
    for (let i = 0; i < count; i++) {
      const responses = await alice.requestMany('tools.search', 'q', { maxWait: 60_000 })
      responses[Symbol.asyncIterator]()
        .next()
        .catch(() => {})
    }
    await until('all were asked', () => asked.length === count)
    await pass(clock, 2000)
    const queries = await realm.tap(`${realm.root}.query.*.alice.*`)
    /** How often alice has asked for the whole directory since. */
    const refreshed = (): number =>
      queries.filter(({ data }) => decodeQuery(data).kind === QueryKind.announcements).length
    return { alice, bob, refreshed, replies: asked.map(({ reply }) => reply ?? '') }
  }

  it('has an agent ask for everything once for each request, whatever comes later', async () => {
    const { refreshed, replies } = await waitingFor(1)
    const [reply = ''] = replies
    for (let i = 0; i < 3; i++) {
      for (let hint = 0; hint < 10; hint++) say(reply, HINT)
      await line.quiet()
      await realm.pass(2000, 250)
    }
    expect(refreshed()).toBe(1)
  })

  it('has an agent ask for everything once a second, for however many requests', async () => {
    const { refreshed, replies } = await waitingFor(8)
    for (const reply of replies) say(reply, HINT)
    await line.quiet()
    await realm.settled()
    expect(refreshed()).toBe(1)
    // What was called for meanwhile is done once.
    await realm.pass(5000, 250)
    expect(refreshed()).toBe(2)
  })

  it('is counted where its headers do not parse, as any other junk, and is no error', async () => {
    const { alice, replies } = await waitingFor(1)
    const events = collectStatus(alice)
    for (const reply of replies) say(reply, NO_HEADERS)
    await line.quiet()
    expect(errorsIn(events)).toEqual([])
    expect(alice.rejections()).toEqual({ plaintext: 1 })
  })
})
