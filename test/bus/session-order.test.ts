import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { MAX_FRAMES_PER_BATCH, MAX_PAYLOADS_PER_FRAME } from '../../src/base/limits.ts'
import type { PublishOptions, SecureConnection } from '../../src/bus/connection.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { collectStatus, type Tapped, TestRealm } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

let realm: TestRealm
afterEach(() => realm.stop())

interface Talk {
  readonly alice: SecureConnection
  readonly bob: SecureConnection
  /** What bob has read on talk.>, in order. */
  readonly got: string[]
  /** What passed on the wire there. */
  readonly seen: Tapped[]
}

async function start(serverConfig = '', others: readonly string[] = []): Promise<Talk> {
  realm = await TestRealm.start({ serverConfig })
  const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
  for (const name of others) await realm.agent(name)
  await alice.waitForAudience('talk.x', { atLeast: 1 + others.length })
  const got: string[] = []
  bob.subscribe('talk.>', { callback: (_error, m) => got.push(m.string()) })
  await bob.flush()
  return { alice, bob, got, seen: await realm.tap('talk.>') }
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i))
const ofType = (seen: readonly Tapped[], type: number): readonly Tapped[] =>
  seen.filter(({ data }) => wireType(data) === type)

/** Every way to publish to bob. */
const ways: readonly (PublishOptions & { readonly many?: boolean })[] = [
  {},
  { to: ['bob'] },
  { to: ['bob', 'carol'] },
  { to: ['bob'], mode: 'channel' },
  { to: ['bob'], mode: 'message' },
  { mode: 'message' },
  { many: true },
  { many: true, to: ['bob'], mode: 'channel' },
  { many: true, to: ['bob'], mode: 'message' },
]

describe('what is published in one turn', () => {
  it('arrives in the order of publishing, whatever modes and sessions it goes by', async () => {
    const { alice, got } = await start('', ['carol'])
    const step = fc.record({
      way: fc.constantFrom(...ways),
      count: fc.integer({ min: 1, max: 4 }),
      rests: fc.boolean(),
    })
    let sent = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        for (const { way, count, rests } of steps) {
          const { many = false, ...options } = way
          const payloads = Array.from({ length: count }, () => String(sent++))
          if (many) alice.publishMany('talk.one', payloads, options)
          else for (const payload of payloads) alice.publish(`talk.${count}`, payload, options)
          if (rests) await new Promise((resolve) => setImmediate(resolve))
        }
        await until('all have come', () => got.length >= sent)
        expect(got).toEqual(numbers(sent))
      }),
      { numRuns: 25 },
    )
  })

  it('is more than a batch holds, and arrives in order all the same', async () => {
    const { alice, got, seen } = await start('', ['carol'])
    const count = 3 * MAX_FRAMES_PER_BATCH + 5
    for (let i = 0; i < count; i++) alice.publish('talk.x', String(i), i % 3 === 0 ? { to: ['bob'] } : {})
    await until('all have come', () => got.length === count)
    expect(got).toEqual(numbers(count))
    await realm.settled()
    expect(ofType(seen, WireType.frame)).toHaveLength(count)
  })

  it('is published although something else in that turn was refused', async () => {
    const { alice, got } = await start('max_payload: 65536')
    alice.publish('talk.x', '0')
    const refusals = [
      await failureNow(() => alice.publish('talk.x', new Uint8Array(70_000))),
      await failureNow(() => alice.publish('talk.x', 'x', { to: ['nobody'] })),
      await failureNow(() => alice.publish('talk x', 'x')),
      await failureNow(() => alice.publish('talk.x', 'x', { headers: new Map([['a b', ['c']]]) })),
    ]
    alice.publish('talk.x', '1')
    expect(refusals).toEqual(['ERR_MESSAGE_TOO_LARGE', 'ERR_RECIPIENT_NOT_ALLOWED', undefined, 'ERR_HEADER'])
    await until('the others have come', () => got.length === 2)
    expect(got).toEqual(['0', '1'])
  })
})

/** The code with which something is refused before anything else happens. */
function failureNow(task: () => void): string | undefined {
  try {
    task()
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : undefined
  }
  throw new Error('expected a failure')
}

describe('what is published just before', () => {
  it('a flush is at the server when it resolves', async () => {
    const { alice, seen } = await start()
    for (let i = 0; i < 10; i++) alice.publish('talk.x', String(i))
    await alice.flush()
    await realm.settled()
    expect(ofType(seen, WireType.frame)).toHaveLength(10)
  })

  it.each(['drain', 'close'] as const)('a %s is delivered', async (how) => {
    const { alice, got } = await start()
    for (let i = 0; i < 100; i++) alice.publish('talk.x', String(i))
    alice.publishMany('talk.x', ['100', '101'])
    await alice[how]()
    await until('all have come', () => got.length === 102)
    expect(got).toEqual(numbers(102))
  })

  it('the drain of whoever answers is answered', async () => {
    const { alice, bob } = await start()
    bob.subscribe('tools.slow', { callback: (_error, m) => void m.respond(m.string()) })
    await bob.flush()
    const replies = numbers(20).map((text) => alice.request('tools.slow', text, { timeout: 5000 }))
    await alice.flush()
    await bob.drain()
    expect((await Promise.all(replies)).map((m) => m.string())).toEqual(numbers(20))
  })

  it('the NATS connection is closed from below is lost, said, and disturbs nothing else', async () => {
    const { bob } = await start()
    const nc = await realm.connection()
    const carol = await realm.agent('carol', {}, { over: nc })
    await carol.waitForAudience('talk.x', { atLeast: 2 })
    carol.publish('talk.x', 'opens the session')
    await carol.flush()
    const events = collectStatus(carol)
    carol.publish('talk.x', 'lost')
    const closed = nc.close()
    carol.closed().catch(() => {})
    await closed
    await carol.closed()
    expect(carol.isClosed()).toBe(true)
    await until('it is said', () => events.some(({ type }) => type === 'error'))
    expect((await failure(() => carol.publish('talk.x', 'x'))).code).toBe('ERR_CLOSED')
    await until('it is gone', () => bob.audience('talk.x').length >= 2)
  })
})

describe('the limit of the server', () => {
  const LIMIT = 4096
  const largest = (seen: readonly Tapped[]): number => Math.max(...seen.map(({ data }) => data.length))

  it('holds for every frame of a batch, also close to it, and in order', async () => {
    const { alice, bob, got, seen } = await start(`max_payload: ${LIMIT}`)
    let sent = 0
    // From what fits with the longest proof to what fits alone.
    for (let size = 3600; size < 4000; size += 10) {
      for (let i = 0; i < 3; i++) {
        const text = `${sent}`.padEnd(size, ' ')
        try {
          alice.publish('talk.x', text)
          sent++
        } catch {
          // Too large by now.
        }
      }
    }
    await until('all have come', () => got.length === sent)
    expect(got.map((text) => text.trim())).toEqual(numbers(sent))
    await realm.settled()
    expect(largest(seen)).toBeLessThanOrEqual(LIMIT)
    expect(sent).toBeGreaterThan(30)
    expect([alice.isClosed(), bob.rejections()]).toEqual([false, {}])
  })

  it('is used up by a frame that goes alone', async () => {
    const { alice, got, seen } = await start(`max_payload: ${LIMIT}`)
    let size = 0
    for (let next = 3000; next < LIMIT; next++) {
      try {
        alice.publish('talk.x', new Uint8Array(next).fill(0x41))
        size = next
      } catch {
        break
      }
    }
    await until('the largest has come', () => got.at(-1)?.length === size)
    await realm.settled()
    // The next bucket of lengths would be above it.
    expect(largest(seen)).toBeGreaterThan(LIMIT - 200)
    expect(largest(seen)).toBeLessThanOrEqual(LIMIT)
  })

  it('splits many payloads into as many frames as it takes', async () => {
    const { alice, got, seen } = await start(`max_payload: ${LIMIT}`)
    const payloads = Array.from({ length: 500 }, (_, i) => String(i).padEnd(i % 100, ' '))
    alice.publishMany('talk.x', payloads)
    await until('all have come', () => got.length === 500)
    expect(got).toEqual(payloads)
    await realm.settled()
    const frames = ofType(seen, WireType.frame).length
    expect(frames).toBeGreaterThan(5)
    expect(frames).toBeLessThan(30)
    expect(largest(seen)).toBeLessThanOrEqual(LIMIT)
  })

  it('splits many payloads where a frame may have no more of them', async () => {
    const { alice, got, seen } = await start()
    alice.publishMany(
      'talk.x',
      Array.from({ length: MAX_PAYLOADS_PER_FRAME + 1 }, () => ''),
    )
    await until('all have come', () => got.length === MAX_PAYLOADS_PER_FRAME + 1)
    await realm.settled()
    expect(ofType(seen, WireType.frame)).toHaveLength(2)
  })

  it('refuses what is too large at once, and publishes nothing of it', async () => {
    const { alice, got, seen } = await start(`max_payload: ${LIMIT}`)
    const before = alice.stats().sealed
    for (const mode of ['session', 'channel', 'message'] as const) {
      const options = { mode, to: ['bob'] }
      expect(failureNow(() => alice.publish('talk.x', new Uint8Array(LIMIT), options))).toBe(
        'ERR_MESSAGE_TOO_LARGE',
      )
      // The one that is too large comes last: none of those before it goes out either.
      const payloads = ['a', 'b', new Uint8Array(LIMIT)]
      expect(failureNow(() => alice.publishMany('talk.x', payloads, options))).toBe('ERR_MESSAGE_TOO_LARGE')
    }
    // Sealed it fits, and beside it in clear once more it does not.
    const headers = new Map([['Nats-Msg-Id', ['x'.repeat(900)]]])
    const payload = new Uint8Array(LIMIT - 1800)
    expect(failureNow(() => alice.publish('talk.x', payload, { headers }))).toBe('ERR_MESSAGE_TOO_LARGE')
    expect(failureNow(() => alice.publishMany('talk.x', [payload], { headers }))).toBe(
      'ERR_MESSAGE_TOO_LARGE',
    )
    alice.publish('talk.x', 'fits')
    await until('it has come', () => got.length === 1)
    await realm.settled()
    expect(seen.filter(({ data }) => wireType(data) !== WireType.handshake)).toHaveLength(1)
    expect(alice.stats().sealed - before).toBe(1)
  })

  it('refuses a handshake for too many recipients, and says so', async () => {
    const names = Array.from({ length: 8 }, (_, i) => `c${i}`)
    const { alice, got } = await start('', names)
    // An agent behind a server that takes less, as it can be in a cluster.
    const nc = await realm.connection()
    const small = new Proxy(nc, {
      get: (target, name) => {
        if (name === 'info') return { ...target.info, max_payload: 600 }
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const dave = await realm.agent('dave', {}, { over: small })
    await dave.waitForAudience('talk.x', { atLeast: 10 })
    const error = await failure(() => dave.publish('talk.x', 'x'))
    expect([error.code, error.hint]).toEqual([
      'ERR_MESSAGE_TOO_LARGE',
      expect.stringContaining('fewer recipients'),
    ])
    dave.publish('talk.x', 'for bob', { to: ['bob'] })
    alice.publish('talk.x', 'for all')
    await until('these have come', () => got.length === 2)
  })
})
