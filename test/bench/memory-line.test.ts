import { describe, expect, it } from 'vitest'
import { MemoryLine } from '../../bench/lib/memory-line.ts'
import { VirtualClock } from '../../bench/lib/virtual-clock.ts'
import type { NatsMessage } from '../../src/bus/nats-like.ts'

const LATENCY_MS = 2
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

function makeLine() {
  const clock = new VirtualClock(1_800_000_000_000)
  const line = new MemoryLine({
    clock,
    latencyMs: LATENCY_MS,
    kindOf: (subject) => subject.split('.', 1)[0] ?? '',
  })
  return { clock, line }
}

/** What comes on a pattern, as text. */
function listen(nc: ReturnType<MemoryLine['connect']>, pattern: string) {
  const came: string[] = []
  const subscription = nc.subscribe(pattern, {
    callback: (_error: Error | null, { subject, reply, data }: NatsMessage) => {
      came.push(`${subject}${reply === undefined ? '' : ` > ${reply}`}: ${new TextDecoder().decode(data)}`)
    },
  })
  return { came, subscription }
}

describe('a line in memory', () => {
  it.each([
    { pattern: 'a.b', subject: 'a.b', matches: true },
    { pattern: 'a.b', subject: 'a.b.c', matches: false },
    { pattern: 'a.b', subject: 'a', matches: false },
    { pattern: 'a.*', subject: 'a.b', matches: true },
    { pattern: 'a.*', subject: 'a', matches: false },
    { pattern: 'a.*', subject: 'a.b.c', matches: false },
    { pattern: '*.b', subject: 'a.b', matches: true },
    { pattern: '*.b', subject: 'a.c', matches: false },
    { pattern: 'a.*.c', subject: 'a.b.c', matches: true },
    { pattern: 'a.>', subject: 'a.b.c', matches: true },
    { pattern: 'a.>', subject: 'a', matches: false },
    { pattern: '>', subject: 'a', matches: true },
    { pattern: '*.>', subject: 'a', matches: false },
    { pattern: '*.>', subject: 'a.b', matches: true },
  ])('takes $subject for $pattern: $matches', async ({ pattern, subject, matches }) => {
    const { clock, line } = makeLine()
    const { came } = listen(line.connect('all'), pattern)
    line.connect('all').publish(subject)
    await clock.run(LATENCY_MS)
    expect(came.length).toBe(matches ? 1 : 0)
  })

  it('delivers in order, to each subscription, after the same time', async () => {
    const { clock, line } = makeLine()
    const nc = line.connect('all')
    const all = listen(nc, 'orders.*')
    const one = listen(nc, 'orders.new')
    nc.publish('orders.new', bytes('1'), { reply: 'answers' })
    nc.publish('orders.old', bytes('2'))
    await clock.run(LATENCY_MS - 1)
    expect(all.came).toEqual([])
    await clock.run(1)
    expect(all.came).toEqual(['orders.new > answers: 1', 'orders.old: 2'])
    expect(one.came).toEqual(['orders.new > answers: 1'])
  })

  it('delivers what was passed to it, whatever becomes of that afterwards', async () => {
    const { clock, line } = makeLine()
    const nc = line.connect('all')
    const { came } = listen(nc, 'a')
    const payload = bytes('kept')
    nc.publish('a', payload)
    payload.fill(0)
    await clock.run(LATENCY_MS)
    expect(came).toEqual(['a: kept'])
  })

  it('resolves a flush once all that was published before has come', async () => {
    const { clock, line } = makeLine()
    const nc = line.connect('all')
    const { came } = listen(nc, 'a')
    nc.publish('a', bytes('1'))
    let seen: readonly string[] = []
    void nc.flush().then(() => {
      seen = [...came]
    })
    await clock.run(LATENCY_MS)
    expect(seen).toEqual(['a: 1'])
  })

  it('delivers nothing to what has ended, also not what is under way', async () => {
    const { clock, line } = makeLine()
    const nc = line.connect('all')
    const other = line.connect('all')
    const ended = listen(nc, 'a')
    const closed = listen(other, 'a')
    nc.publish('a')
    ended.subscription.unsubscribe()
    other.close()
    await clock.run(LATENCY_MS)
    await ended.subscription.closed
    await other.closed()
    expect([...ended.came, ...closed.came]).toEqual([])
    expect([nc.isClosed(), other.isClosed()]).toEqual([false, true])
    expect(() => other.publish('a')).toThrow('closed')
  })

  it('counts what NATS would put on the line, in each direction', async () => {
    const { clock, line } = makeLine()
    const nc = line.connect('readers')
    for (let sid = 1; sid < 10; sid++) nc.subscribe(`unused.${sid}`, { callback: () => {} })
    listen(nc, 'ping.*')
    listen(nc, 'ping.a')
    const payload = new Uint8Array(123)
    line.connect('writers').publish('ping.a', payload, { reply: 'inbox.1' })
    line.connect('writers').publish('tick', payload)
    await clock.run(LATENCY_MS)
    const size = (head: string): number => `${head}\r\n`.length + payload.length + '\r\n'.length
    const writers = line.traffic('writers')
    expect([...writers.sent]).toEqual([
      ['ping', { messages: 1, bytes: size('PUB ping.a inbox.1 123') }],
      ['tick', { messages: 1, bytes: size('PUB tick 123') }],
    ])
    expect([...writers.received]).toEqual([])
    const received = size('MSG ping.a 10 inbox.1 123') + size('MSG ping.a 11 inbox.1 123')
    const readers = line.traffic('readers')
    expect([...readers.received]).toEqual([['ping', { messages: 2, bytes: received }]])
    expect(nc.stats()).toEqual({ inMsgs: 2, inBytes: received, outMsgs: 0, outBytes: 0 })
    line.reset()
    expect([...line.traffic('writers').sent, ...line.traffic('readers').received]).toEqual([])
    expect([...writers.sent]).toHaveLength(2)
  })

  it('tells how many bytes a message had, as NATS clients do', async () => {
    const { clock, line } = makeLine()
    const nc = line.connect('all')
    const sizes: (number | undefined)[] = []
    nc.subscribe('a.*', {
      callback: (_error: Error | null, message: NatsMessage) => void sizes.push(message.size?.()),
    })
    nc.publish('a.b', new Uint8Array(7))
    nc.publish('a.b', new Uint8Array(7), { reply: 'c' })
    await clock.run(LATENCY_MS)
    expect(sizes).toEqual([10, 11])
  })

  it('loses what it is told to lose, on its way to whom it is told, and counts it as sent alone', async () => {
    const { clock, line } = makeLine()
    const losing = listen(line.connect('losing'), 'a.>')
    const others = listen(line.connect('others'), 'a.>')
    line.lose(({ group, kind }) => group === 'losing' && kind === 'a')
    line.connect('all').publish('a.b', bytes('1'))
    await clock.run(LATENCY_MS)
    expect([losing.came, others.came]).toEqual([[], ['a.b: 1']])
    expect(line.traffic('losing').received.size).toBe(0)
    line.lose()
    line.connect('all').publish('a.b', bytes('2'))
    await clock.run(LATENCY_MS)
    expect(losing.came).toEqual(['a.b: 2'])
  })

  it('refuses what it cannot carry', () => {
    const { line } = makeLine()
    const nc = line.connect('all')
    expect(() => nc.publish('a', new Uint8Array(nc.info.max_payload + 1))).toThrow('max_payload')
    expect(() => nc.publish('a', new Uint8Array(1), { headers: {} })).toThrow('no headers')
    expect(() => nc.subscribe('a', { queue: 'workers', callback: () => {} })).toThrow('no queue groups')
    expect(() => nc.subscribe('a')).toThrow('callbacks')
  })
})
