import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { concat, hex, utf8 } from '../../../src/base/bytes.ts'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import { Outbox } from '../../../src/bus/out/outbox.ts'
import type { Wire } from '../../../src/bus/out/wire-out.ts'
import type { StatusEvent } from '../../../src/bus/status.ts'
import type { FrameSealer } from '../../../src/session/frame-cipher.ts'
import type { OutgoingSession } from '../../../src/session/outgoing.ts'
import { WireType, wireType } from '../../../src/wire/preamble.ts'
import { engine } from '../../support/identities.ts'
import { collectStatus, type Tapped, TestRealm } from '../../support/realm.ts'
import { failure, until } from '../../support/until.ts'

let realm: TestRealm | undefined
afterEach(async () => {
  vi.restoreAllMocks()
  await realm?.stop()
  realm = undefined
})

/** What stands between alice and her connection. */
interface Line {
  /** Throws where a client would. */
  emit: (subject: string, data: Uint8Array) => void
  maxPayload: number | undefined
}

/** Alice, whose connection can fail her; bob, and carol who makes it more than one recipient. */
async function start() {
  const started = await TestRealm.start()
  realm = started
  const line: Line = { emit: () => {}, maxPayload: undefined }
  const alice = await started.agent('alice', {}, { over: throughLine(await started.connection(), line) })
  const [bob, carol] = [await started.agent('bob'), await started.agent('carol')]
  await alice.waitForAudience('talk.x', { atLeast: 2 })
  const got: string[] = []
  bob.subscribe('talk.>', { callback: (_error, m) => got.push(m.string()) })
  await bob.flush()
  const events = collectStatus(alice)
  return { alice, bob, carol, line, got, events, seen: await started.tap('talk.>') }
}

function throughLine(nc: NatsConnection, line: Line): NatsConnection {
  return new Proxy(nc, {
    get: (target, name) => {
      if (name === 'info') return { ...target.info, max_payload: line.maxPayload ?? target.info?.max_payload }
      if (name === 'publish')
        return (subject: string, data: Uint8Array, options?: object) => {
          line.emit(subject, data)
          if (data.length > (line.maxPayload ?? data.length)) throw new RangeError('too large for the server')
          target.publish(subject, data, options)
        }
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

const errors = (events: readonly StatusEvent[]): unknown[] =>
  events.flatMap((event) => (event.type === 'error' ? [event.error] : []))
const noncesOf = (seen: readonly Tapped[]): string[] =>
  seen.filter(({ data }) => wireType(data) === WireType.frame).map(({ data }) => hex(data.subarray(3, 43)))

describe('what cannot be published at the end of a turn', () => {
  it('is reported, and takes nothing with it: what was published before it, after it, and next', async () => {
    const { alice, line, got, events } = await start()
    line.emit = (subject) => {
      if (subject === 'talk.bad') throw new Error('the socket is gone')
    }
    for (let i = 0; i < 9; i++) {
      alice.publish(i % 4 === 3 ? 'talk.bad' : 'talk.x', String(i))
      alice.publish('talk.x', `${i} to bob`, { to: ['bob'] })
    }
    await alice.flush()
    await until('it is reported', () => errors(events).length === 2)
    alice.publish('talk.bad', 'bad too')
    alice.publish('talk.x', 'next')
    await until('the others have come', () => got.length === 17)
    const left = [0, 1, 2, 3, 4, 5, 6, 7, 8].flatMap((i) =>
      i % 4 === 3 ? [`${i} to bob`] : [String(i), `${i} to bob`],
    )
    expect(got).toEqual([...left, 'next'])
    await until('that is reported too', () => errors(events).length === 3)
    expect(errors(events).map(String)).toEqual(Array(3).fill('Error: the socket is gone'))
    expect(alice.isClosed()).toBe(false)
  })

  it('since the server takes less by now, is reported, and the smaller ones go out', async () => {
    const { alice, line, got, events } = await start()
    alice.publish('talk.x', 'small')
    alice.publish('talk.x', new Uint8Array(50_000).fill(0x41))
    alice.publish('talk.x', 'small too')
    line.maxPayload = 10_000
    await alice.flush()
    await until('it is reported', () => errors(events).length === 1)
    await until('the others have come', () => got.length === 2)
    expect(got).toEqual(['small', 'small too'])
    // From now on it is refused at once.
    const error = await failure(() => alice.publish('talk.x', new Uint8Array(50_000)))
    expect(error.code).toBe('ERR_MESSAGE_TOO_LARGE')
  })

  it('of one session is reported, and the frames of others go out', async () => {
    const { alice, got, events, seen } = await start()
    alice.publish('talk.x', 'opens')
    alice.publish('talk.x', 'opens', { to: ['bob'] })
    alice.publish('talk.x', 'opens', { to: ['bob'], mode: 'channel' })
    await until('the sessions are there', () => got.length === 3)
    const say = (round: number): void => {
      alice.publish('talk.x', `${round} to all`)
      alice.publish('talk.x', `${round} by channel`, { to: ['bob'], mode: 'channel' })
      alice.publish('talk.x', `${round} to bob`, { to: ['bob'] })
      alice.publish('talk.x', `${round} to all`)
    }
    vi.spyOn(engine, 'sign').mockImplementationOnce(() => {
      throw new Error('the signer failed')
    })
    say(1)
    await until('it is reported', () => errors(events).length === 1)
    say(2)
    await until('what followed has come', () => got.at(-1) === '2 to all' && got.length >= 9)
    const second = ['2 to all', '2 by channel', '2 to bob', '2 to all']
    expect(got.slice(3)).toEqual(['1 by channel', '1 to bob', ...second])
    expect(String(errors(events)[0])).toBe('Error: the signer failed')
    await realm?.settled()
    expect(new Set(noncesOf(seen)).size).toBe(noncesOf(seen).length)
  })

  it('is never sealed again under the same nonce, whatever fails where', async () => {
    const { alice, line, got, bob } = await start()
    const sealed: string[] = []
    const seal = engine.xaeadSeal.bind(engine)
    let fails = 0
    vi.spyOn(engine, 'xaeadSeal').mockImplementation((input, out) => {
      sealed.push(`${hex(input.key)} ${hex(input.nonce)}`)
      if (sealed.length % 5 === 0) {
        fails++
        throw new Error('the cipher failed')
      }
      return seal(input, out)
    })
    let emitted = 0
    line.emit = (subject) => {
      if (subject.startsWith('talk.') && ++emitted % 7 === 0) throw new Error('the socket is gone')
    }
    const silently = (task: () => void): void => {
      try {
        task()
      } catch {
        // What is sealed at once, with a reply subject, says so at once.
      }
    }
    for (let turn = 0; turn < 20; turn++) {
      for (let i = 0; i < 4; i++) {
        silently(() => alice.publish('talk.x', 'to all'))
        silently(() => alice.publish('talk.x', 'to bob', { to: ['bob'], mode: 'channel' }))
        silently(() =>
          alice.publish('talk.x', 'a request', { to: ['bob'], mode: 'channel', reply: 'talk.r' }),
        )
      }
      await alice.flush()
    }
    expect(fails).toBeGreaterThan(5)
    expect(new Set(sealed).size).toBe(sealed.length)
    line.emit = () => {}
    vi.restoreAllMocks()
    alice.publish('talk.x', 'last')
    await until('the last one has come', () => got.at(-1) === 'last')
    expect(bob.rejections()).toEqual({})
  })
})

describe('what waits for the end of a turn', () => {
  it('is more than there is memory for, and comes whole and in order', async () => {
    const { alice, bob, got } = await start()
    const sizes = [100_000, 1, 131_000, 5, 90_000, 4096, 131_072, 128 * 1024 - 20, 200_000, 0]
    const sent = Array.from({ length: 30 }, (_, i) =>
      String.fromCharCode(0x41 + i).repeat(sizes[i % sizes.length] ?? 0),
    )
    for (const [i, text] of sent.entries()) alice.publish('talk.x', text, i % 3 === 0 ? { to: ['bob'] } : {})
    await until('all have come', () => got.length + bob.stats().rejected >= sent.length)
    expect(bob.rejections()).toEqual({})
    expect(got.map((text) => text.length)).toEqual(sent.map((text) => text.length))
    expect(got).toEqual(sent)
  })

  it('is what it was when it was published, whatever its buffer is used for next', async () => {
    const { alice, got } = await start()
    const buffer = new Uint8Array(600)
    const publish: ((bytes: Uint8Array) => void)[] = [
      (bytes) => alice.publish('talk.x', bytes),
      (bytes) => alice.publish('talk.x', bytes, { to: ['bob'] }),
      (bytes) => alice.publish('talk.x', bytes, { to: ['bob'], mode: 'channel' }),
      (bytes) => alice.publish('talk.x', bytes, { headers: new Map([['X-A', ['b']]]) }),
      (bytes) => alice.publishMany('talk.x', [bytes, bytes]),
    ]
    const expected: string[] = []
    for (let round = 0; round < 40; round++)
      for (const [i, send] of publish.entries()) {
        const text = `${round} by ${i}`.padEnd(1 + ((round * 31) % 600), '.')
        const bytes = buffer.subarray(0, text.length)
        bytes.set(utf8(text))
        send(bytes)
        expected.push(text, ...(i === 4 ? [text] : []))
        buffer.fill(0x20)
      }
    await until('all have come', () => got.length === expected.length)
    expect(got).toEqual(expected)
  })

  it('is published by an agent that is closed in that turn, and nothing is left of it', async () => {
    const { alice, got } = await start()
    for (let i = 0; i < 70; i++) alice.publish('talk.x', String(i), i % 2 === 0 ? {} : { to: ['bob'] })
    await closed(alice)
    await until('all have come', () => got.length === 70)
    expect(got).toEqual(Array.from({ length: 70 }, (_, i) => String(i)))
  })
})

async function closed(bus: SecureConnection): Promise<void> {
  await bus.close()
  expect((await failure(() => bus.publish('talk.x', 'x'))).code).toBe('ERR_CLOSED')
}

describe('the memory in which plaintext waits', () => {
  const text = utf8('waits for the end of the turn')

  it.each([
    ['is sealed', () => [Uint8Array.of(1)]],
    [
      'cannot be sealed',
      () => {
        throw new Error('no memory')
      },
    ],
  ])('holds none of it any more when it %s', (_, seal) => {
    const seen: Uint8Array[] = []
    const session = {
      takeNumber: () => ({ counter: 0, sentAtMs: 0 }),
      seal: (_sealer: FrameSealer, frames: readonly { readonly content: readonly Uint8Array[] }[]) => {
        seen.push(...frames.flatMap(({ content }) => content))
        expect(hex(concat(...seen))).toContain(hex(text))
        return seal()
      },
    } as unknown as OutgoingSession
    const wire = { publish: () => {} } as unknown as Wire
    const outbox = new Outbox({} as FrameSealer, wire, () => {})
    const route = { subject: 'talk.x', reply: undefined, clear: [] }
    const meta = Uint8Array.of(7)
    outbox.add(session, { route, meta, payloads: [text], bytes: meta.length + text.length, nowMs: 0 })
    outbox.flush()
    expect(seen.length).toBeGreaterThan(0)
    expect(concat(...seen).every((byte) => byte === 0)).toBe(true)
  })
})
