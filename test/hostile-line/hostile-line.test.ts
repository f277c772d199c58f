import type { Msg, NatsConnection } from '@nats-io/transport-node'
import { headers } from '@nats-io/transport-node'
import { headers as headers2 } from 'nats'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ClientLine, connectClient } from '../support/client.ts'
import { ManualClock } from '../support/clock.ts'
import { forMessages, HostileLine } from '../support/hostile-line/hostile-line.ts'
import { isMessage } from '../support/hostile-line/nats-op.ts'
import {
  alter,
  delay,
  drop,
  flipByte,
  type MessageCrossing,
  moveToSid,
  pass,
  repeat,
} from '../support/hostile-line/verdicts.ts'
import { startTestServer, type TestServer } from '../support/server.ts'

const lines: readonly ClientLine[] = ['nats', '@nats-io']

describe.each(lines)('the hostile line under clients of the line %s', (client) => {
  let server: TestServer
  let line: HostileLine
  let clock: ManualClock
  let alice: NatsConnection
  let bob: NatsConnection

  beforeAll(async () => {
    server = await startTestServer()
  })
  afterAll(() => server.stop())

  beforeEach(async () => {
    clock = new ManualClock()
    line = await HostileLine.start(server.port, { clock })
    alice = await connectClient({ servers: line.url, name: 'alice', client })
    bob = await connectClient({ servers: line.url, name: 'bob', client })
  })
  afterEach(async () => {
    await Promise.all([alice.close(), bob.close()])
    await line.close()
    expect(line.errors).toEqual([])
  })

  /** What a client gets on a pattern from now on. */
  async function reads(nc: NatsConnection, pattern: string, queue?: string): Promise<Msg[]> {
    const got: Msg[] = []
    nc.subscribe(pattern, {
      ...(queue === undefined ? {} : { queue }),
      callback: (_error, m) => {
        got.push(m)
      },
    })
    await nc.flush()
    return got
  }

  /** A rule for what is delivered to bob. */
  function toBob(rule: (crossing: MessageCrossing) => ReturnType<typeof pass>): void {
    line.rule = forMessages((crossing) =>
      crossing.connection.name === 'bob' && crossing.direction === 'to client'
        ? rule(crossing)
        : pass(crossing),
    )
  }

  const texts = (got: readonly Msg[]): string[] => got.map((m) => m.string())

  it('changes nothing where no rule is given: requests, headers, queue groups and large payloads go through', async () => {
    const workers = [await reads(bob, 'work', 'q'), await reads(bob, 'work', 'q')]
    const h = client === 'nats' ? headers2() : headers()
    h.set('A', 'b')
    alice.publish('work', 'with headers', { headers: h as never })
    alice.publish('work', new Uint8Array(500_000))
    bob.subscribe('echo', {
      callback: (_error, m) => {
        m.respond(m.data)
      },
    })
    await bob.flush()
    expect((await alice.request('echo', 'there and back')).string()).toBe('there and back')
    await line.quiet()
    const all = workers.flat().sort((a, b) => a.data.length - b.data.length)
    expect(all.map(({ data }) => data.length)).toEqual([12, 500_000])
    expect(all[0]?.headers?.get('A')).toBe('b')
  })

  it('knows clients by their names, and what they have subscribed to by sid', async () => {
    await reads(bob, 'a.*')
    await reads(bob, 'b', 'q')
    const subscriptions = [...line.connection('bob').subscriptions.values()]
    expect(subscriptions.map(({ subject, queue }) => [subject, queue])).toEqual([
      ['a.*', undefined],
      ['b', 'q'],
    ])
    expect(() => line.connection('carol')).toThrow('no client called carol')
  })

  it('drops', async () => {
    const got = await reads(bob, 'a')
    toBob(drop)
    alice.publish('a', 'lost')
    await line.quiet()
    toBob(pass)
    alice.publish('a', 'kept')
    await line.quiet()
    expect(texts(got)).toEqual(['kept'])
  })

  it('delays until its clock says so, and reorders that way', async () => {
    const got = await reads(bob, 'a')
    const delays = [3000, 0, 1000]
    toBob((crossing) => delay(crossing, delays.shift() ?? 0))
    for (const text of ['first', 'second', 'third']) alice.publish('a', text)
    await line.quiet()
    expect([texts(got), line.delayed]).toEqual([['second'], 2])
    clock.advance(1000)
    await line.quiet()
    expect([texts(got), line.delayed]).toEqual([['second', 'third'], 1])
    line.releaseDelayed()
    await line.quiet()
    expect([texts(got), line.delayed]).toEqual([['second', 'third', 'first'], 0])
  })

  it('duplicates', async () => {
    const got = await reads(bob, 'a')
    toBob((crossing) => repeat(crossing, 3))
    alice.publish('a', 'again')
    await line.quiet()
    expect(texts(got)).toEqual(['again', 'again', 'again'])
  })

  it('replays what it has recorded, later, to the server or straight to a client', async () => {
    const got = await reads(bob, 'a')
    alice.publish('a', 'once')
    await line.quiet()
    const recorded = line.record.filter(({ op }) => isMessage(op))
    for (const { connection, direction, op } of recorded) line.inject(connection, direction, op)
    await line.quiet()
    expect(recorded.map(({ direction }) => direction)).toEqual(['to server', 'to client'])
    expect(texts(got)).toEqual(['once', 'once', 'once'])
  })

  it('injects what nobody has sent', async () => {
    const got = await reads(bob, 'a')
    const [sid = ''] = [...line.connection('bob').subscriptions.keys()]
    line.inject(line.connection('bob'), 'to client', {
      kind: 'MSG',
      subject: 'a',
      sid,
      reply: 'elsewhere',
      headers: Buffer.from('NATS/1.0\r\nA: b\r\n\r\n'),
      payload: Buffer.from('forged'),
    })
    await line.quiet()
    expect(got.map((m) => [m.string(), m.reply, m.headers?.get('A')])).toEqual([['forged', 'elsewhere', 'b']])
  })

  it('alters payloads and header blocks', async () => {
    const got = await reads(bob, 'a')
    toBob((crossing) =>
      alter(crossing, {
        payload: flipByte(crossing.op.payload, 0),
        headers: Buffer.from('NATS/1.0\r\nAdded: 1\r\n\r\n'),
      }),
    )
    alice.publish('a', 'abc')
    await line.quiet()
    expect(got.map((m) => [m.string(), m.headers?.get('Added')])).toEqual([['`bc', '1']])
  })

  it('moves a message to another subject, before the server routes it', async () => {
    const got = await reads(bob, 'b')
    line.rule = forMessages((crossing) =>
      crossing.direction === 'to server' ? alter(crossing, { subject: 'b' }) : pass(crossing),
    )
    alice.publish('a', 'meant for a')
    await line.quiet()
    expect(got.map((m) => [m.string(), m.subject])).toEqual([['meant for a', 'b']])
  })

  it('moves a message to another sid: the handler of another subscription runs, and the subject stays', async () => {
    const onA = await reads(bob, 'a')
    const onB = await reads(bob, 'b')
    const { subscriptions } = line.connection('bob')
    const [sidOfB = ''] = [...subscriptions.values()]
      .filter(({ subject }) => subject === 'b')
      .map(({ sid }) => sid)
    toBob((crossing) => moveToSid(crossing, sidOfB))
    alice.publish('a', 'meant for a')
    await line.quiet()
    expect(texts(onA)).toEqual([])
    expect(onB.map((m) => [m.string(), m.subject])).toEqual([['meant for a', 'a']])
  })

  it('delivers what was meant for one client to another one', async () => {
    const carol = await connectClient({ servers: line.url, name: 'carol', client })
    const toCarol = await reads(carol, 'c')
    const got = await reads(bob, 'a')
    const [sid = ''] = [...line.connection('carol').subscriptions.keys()]
    toBob((crossing) => moveToSid(crossing, sid, line.connection('carol')))
    alice.publish('a', 'meant for bob')
    await line.quiet()
    expect([texts(got), texts(toCarol)]).toEqual([[], ['meant for bob']])
    await carol.close()
  })

  it('rewrites reply subjects', async () => {
    const got = await reads(bob, 'a')
    toBob((crossing) => alter(crossing, { reply: 'of.the.broker' }))
    alice.publish('a', 'x', { reply: 'of.alice' })
    await line.quiet()
    expect(got.map(({ reply }) => reply)).toEqual(['of.the.broker'])
  })

  it('shows two clients two different worlds', async () => {
    const carol = await connectClient({ servers: line.url, name: 'carol', client })
    const got = { bob: await reads(bob, 'a'), carol: await reads(carol, 'a') }
    const worldOf = (crossing: MessageCrossing): ReturnType<typeof pass> =>
      crossing.connection.name === 'carol'
        ? alter(crossing, { payload: Buffer.from('down') })
        : alter(crossing, { payload: Buffer.from('up') })
    line.rule = forMessages((crossing) =>
      crossing.direction === 'to client' ? worldOf(crossing) : pass(crossing),
    )
    alice.publish('a', 'which?')
    await line.quiet()
    expect([texts(got.bob), texts(got.carol)]).toEqual([['up'], ['down']])
    await carol.close()
  })

  it('says who published what is delivered, where nobody else has published the same', async () => {
    await reads(bob, 'a')
    alice.publish('a', 'from alice')
    await line.quiet()
    const delivered = line.record.findLast(({ op }) => op.kind === 'MSG')
    expect(delivered !== undefined && line.publisherOf(delivered)?.name).toBe('alice')
  })

  it('records everything that crosses, with its time, its connection and its direction', async () => {
    await reads(bob, 'a')
    clock.advance(5000)
    alice.publish('a', 'seen')
    await line.quiet()
    const seen = line.record.filter(({ op }) => isMessage(op) && op.payload.toString() === 'seen')
    expect(seen.map(({ direction, connection, atMs }) => [connection.name, direction, atMs])).toEqual([
      ['alice', 'to server', clock.now()],
      ['bob', 'to client', clock.now()],
    ])
    expect(line.record.map(({ number }) => number)).toEqual([...line.record.keys()])
  })

  it('is quiet only when chains of answers have ended', async () => {
    const HOPS = 20
    const hop = (nc: NatsConnection) => {
      nc.subscribe(`${nc === bob ? 'to.bob' : 'to.alice'}`, {
        callback: (_error, m) => {
          const left = Number(m.string())
          if (left > 0) nc.publish(nc === bob ? 'to.alice' : 'to.bob', String(left - 1))
          else end.push(left)
        },
      })
    }
    const end: number[] = []
    hop(alice)
    hop(bob)
    await Promise.all([alice.flush(), bob.flush()])
    alice.publish('to.bob', String(HOPS))
    await line.quiet()
    expect(end).toEqual([0])
  })

  it('cuts a connection: the client connects again, by the same name', async () => {
    const got = await reads(bob, 'a')
    const before = line.connection('bob')
    const reconnected = (async () => {
      for await (const { type } of bob.status()) if (type === 'reconnect') return
    })()
    before.cut()
    await reconnected
    expect(line.connection('bob').number).toBeGreaterThan(before.number)
    await line.quiet()
    alice.publish('a', 'after')
    await line.quiet()
    expect(texts(got)).toEqual(['after'])
  })
})
