import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { MAX_SESSION_MS, PING_INTERVAL_MS, PING_SPREAD_MS } from '../../src/base/limits.ts'
import type { PublishOptions, SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { ManualClock } from '../support/clock.ts'
import { HAND_EPOCH_MS, HAND_GRACE_MS, HandRealm } from '../support/hand-agents.ts'
import { engine } from '../support/identities.ts'
import { pass, passing } from '../support/passing.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { HOUR } from '../support/statements.ts'
import { until } from '../support/until.ts'

const PATIENT = { timeout: 120_000 }
const SUBJECT = 'orders.new'

let realm: TestRealm
afterEach(async () => {
  vi.restoreAllMocks()
  await realm.stop()
})

/** A clock that can be made to move on with every reading, as a real one may. */
class Restless implements Clock {
  readonly #clock: ManualClock
  #isRestless = false
  #ahead = 0

  constructor(clock: ManualClock) {
    this.#clock = clock
  }

  /** One millisecond passes with each reading while the task runs. */
  during(task: () => void): void {
    this.#isRestless = true
    try {
      task()
    } finally {
      this.#isRestless = false
      this.#ahead = 0
    }
  }

  now(): number {
    return this.#clock.now() + (this.#isRestless ? this.#ahead++ : 0)
  }

  monotonic(): number {
    return this.#clock.monotonic()
  }

  after(delayMs: number, task: () => void): () => void {
    return this.#clock.after(delayMs, task)
  }
}

const many = (text: string): string[] => [`${text} of two`, `${text} of two too`]
const texts = (got: readonly SecureMessage[]): string[] => got.map((m) => m.string())

describe('a clock that moves on between two readings', () => {
  /** Every way to publish to bob, each in a session of its own. */
  const ways: readonly PublishOptions[] = [{}, { to: ['bob'] }, { to: ['bob'], mode: 'channel' }]

  it('loses no frame where a session ends between them', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, schedule: { periodMs: 23 * HOUR } })
    const restless = new Restless(clock)
    const alice = await passing(clock, realm.agent('alice', {}, { ...PATIENT, clock: restless }))
    const bob = await passing(clock, realm.agent('bob', {}, PATIENT))
    await passing(clock, alice.waitForAudience(SUBJECT, { timeout: 60_000 }))
    const got: SecureMessage[] = []
    bob.subscribe(SUBJECT, { callback: (_error, m) => got.push(m) })
    await bob.flush()
    const frames = await realm.tap(SUBJECT)
    const sent: string[] = []
    const say = (text: string, options: PublishOptions): void => {
      alice.publish(SUBJECT, text, options)
      sent.push(text)
    }
    for (let left = 1; left <= 5; left++) {
      for (const [i, way] of ways.entries()) say(`${left} opens ${i}`, way)
      await alice.flush()
      await realm.pass(MAX_SESSION_MS - left)
      for (const [i, way] of ways.entries())
        restless.during(() => {
          say(`${left} ends ${i}`, way)
          alice.publishMany(SUBJECT, many(`${left} ${i}`), way)
          sent.push(...many(`${left} ${i}`))
        })
      await alice.flush()
      await until('all are judged', () => got.length + bob.stats().rejected >= sent.length)
      await realm.pass(30_000)
    }
    expect(bob.rejections()).toEqual({})
    expect(texts(got)).toEqual(sent)
    // Nothing of it went in messages, and some of it went in sessions that began just then.
    await realm.settled()
    expect(new Set(frames.map(({ data }) => wireType(data)))).toEqual(new Set([WireType.frame]))
    expect(
      new Set(frames.map(({ data }) => Buffer.from(data.subarray(3, 19)).toString('hex'))).size,
    ).toBeGreaterThan(5 * ways.length)
  })

  it('loses nothing where the epoch ends between them: no session begins then, and messages go out', async () => {
    const all = await HandRealm.start()
    realm = all.realm
    const { clock, bob, got } = all
    const names = Array.from({ length: 24 }, (_, i) => `c${i}`)
    for (const name of names) await all.join(name)
    // Each has a clock of its own: to one of them the epoch, once over, does not come again.
    const senders = []
    for (const name of names.map((of) => `${of}-sender`)) {
      const restless = new Restless(clock)
      const agent = await passing(clock, realm.agent(name, {}, { ...PATIENT, clock: restless }))
      senders.push({ agent, restless })
    }
    const agents = senders.map(({ agent }) => agent)
    for (const agent of agents)
      await passing(clock, agent.waitForAudience(SUBJECT, { atLeast: 2 * names.length, timeout: 60_000 }))
    const seen = await realm.tapMessages(SUBJECT)
    const handshakes = await realm.tap(all.inboxOfBob)
    for (const agent of agents) {
      for (const way of ways) agent.publish(SUBJECT, 'opens', way)
      await agent.flush()
    }
    await until('the sessions are there', () => got.length === agents.length * ways.length)
    const sent = texts(got)
    const end = all.epoch.notAfter
    let refused = 0
    await all.goTo(end - 24, agents)
    // Each time with sessions that are there and with one that must begin.
    for (const [i, { agent, restless }] of senders.entries()) {
      clock.jump(end - 24 + i - clock.now())
      restless.during(() => {
        for (const [which, way] of [...ways, { to: ['bob', names[i] ?? ''] }].entries()) {
          try {
            if (i % 2 === 0) agent.publish(SUBJECT, `${i} ${which}`, way)
            else agent.publishMany(SUBJECT, [`${i} ${which}`], way)
            sent.push(`${i} ${which}`)
          } catch (error) {
            expect(error instanceof SubrosaError && error.code).toBe('ERR_STALE')
            refused++
          }
        }
      })
      await agent.flush()
    }
    await until('all are judged', () => got.length + all.rejected >= sent.length)
    expect(bob.rejections()).toEqual({})
    expect(texts(got)).toEqual(sent)
    await realm.settled()
    const types = seen.map(({ data }) => wireType(data))
    expect(new Set(types)).toEqual(new Set([WireType.frame, WireType.sealed]))
    // It was no idle test: some sessions began, some could not, and some were refused with all else.
    const begun = handshakes.filter(({ data }) => wireType(data) === WireType.handshake).length
    expect(begun).toBeGreaterThan(agents.length * 2)
    expect(types.filter((type) => type === WireType.sealed).length).toBeGreaterThan(ways.length)
    expect(refused).toBeGreaterThan(0)
  })

  it('splits many payloads where the epoch ends in their midst: in frames, then in messages, in order', async () => {
    const all = await HandRealm.start()
    realm = all.realm
    const { clock, bob, got } = all
    const restless = new Restless(clock)
    const nc = await realm.connection()
    // Four payloads go in one frame.
    const over = new Proxy(nc, {
      get: (target, name) => {
        if (name === 'info') return { ...target.info, max_payload: 4096 }
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const alice = await passing(clock, realm.agent('alice', {}, { ...PATIENT, over, clock: restless }))
    await passing(clock, alice.waitForAudience(SUBJECT, { timeout: 60_000 }))
    const seen = await realm.tap(SUBJECT)
    const payloads = Array.from({ length: 100 }, (_, i) => String(i).padEnd(900))
    const before = alice.stats().sealed
    await all.goTo(all.epoch.notAfter - 15, [alice])
    restless.during(() => alice.publishMany(SUBJECT, payloads))
    await alice.flush()
    await until('all are judged', () => got.length + all.rejected >= payloads.length)
    expect([texts(got), bob.rejections()]).toEqual([payloads, {}])
    expect(alice.stats().sealed - before).toBe(payloads.length)
    await realm.settled()
    const types = seen.map(({ data }) => wireType(data))
    const frames = types.lastIndexOf(WireType.frame) + 1
    expect(frames).toBeGreaterThan(5)
    expect(types.slice(frames).length).toBeGreaterThan(5)
    expect(types.slice(0, frames)).toEqual(Array.from({ length: frames }, () => WireType.frame))
    expect(new Set(types.slice(frames))).toEqual(new Set([WireType.sealed]))
  })
})

const isWiped = (key: Uint8Array): boolean => key.every((byte) => byte === 0)

/** The keys under which somebody seals while a task runs, as they are and not as copies. */
async function keysOf(bus: SecureConnection, task: () => void): Promise<readonly Uint8Array[]> {
  const seal = vi.spyOn(engine, 'xaeadSeal')
  task()
  await bus.flush()
  const keys = [...new Set(seal.mock.calls.map(([{ key }]) => key))]
  seal.mockRestore()
  return keys
}

describe('the key of a session that nobody publishes in any more', () => {
  it('is wiped with the first answer of a rotation service after its end', async () => {
    const clock = new ManualClock()
    realm = await TestRealm.start({ clock, schedule: { periodMs: 23 * HOUR } })
    const alice = await passing(clock, realm.agent('alice', {}, PATIENT))
    await passing(clock, realm.agent('bob', {}, PATIENT))
    await passing(clock, alice.waitForAudience(SUBJECT, { timeout: 60_000 }))
    const keys = await keysOf(alice, () => {
      alice.publish(SUBJECT, 'x')
      alice.publish(SUBJECT, 'x', { to: ['bob'] })
      alice.publish(SUBJECT, 'x', { to: ['bob'], mode: 'channel' })
    })
    expect(keys).toHaveLength(3)
    await realm.pass(MAX_SESSION_MS - 1)
    expect(keys.map(isWiped)).toEqual([false, false, false])
    await pass(clock, PING_INTERVAL_MS + PING_SPREAD_MS, 1000)
    await until('they are wiped', () => keys.every(isWiped))
  })

  it('is wiped before the keys of its epoch, and what waits is sealed with it before', async () => {
    const all = await HandRealm.start()
    realm = all.realm
    const { clock, hand } = all
    const alice = await passing(clock, realm.agent('alice', {}, PATIENT))
    await passing(clock, alice.waitForAudience(SUBJECT, { timeout: 60_000 }))
    const seen = await realm.tap(SUBJECT)
    const keys = await keysOf(alice, () => alice.publish(SUBJECT, 'before'))
    expect(keys.map(isWiped)).toEqual([false])
    const events = collectStatus(alice)
    // No tick comes in this turn: the end of the epoch alone does it.
    hand.isTicking = false
    alice.publish(SUBJECT, 'waits')
    const published = seen.length
    clock.advance(HAND_EPOCH_MS + HAND_GRACE_MS)
    expect(keys.map(isWiped)).toEqual([true])
    await until('the keys of the epoch are wiped', () => events.some(({ type }) => type === 'destroyed'))
    await until('what waited was seen', () => seen.length === published + 2 || seen.length === 2)
    expect(events.filter(({ type }) => type === 'error')).toEqual([])
    expect(seen.map(({ data }) => wireType(data))).toEqual([WireType.frame, WireType.frame])
  })

  it('is wiped in the turn in which the session ends, after what waits was sealed with it', async () => {
    realm = await TestRealm.start()
    const [alice, bob] = [await realm.agent('alice'), await realm.agent('bob')]
    await alice.waitForAudience(SUBJECT)
    const got: SecureMessage[] = []
    bob.subscribe(SUBJECT, { callback: (_error, m) => got.push(m) })
    await bob.flush()
    const keys = await keysOf(alice, () => alice.publish(SUBJECT, 'before'))
    alice.publish(SUBJECT, 'waits')
    await alice.close()
    expect(keys.map(isWiped)).toEqual([true])
    await until('both have come', () => got.length === 2)
    expect(texts(got)).toEqual(['before', 'waits'])
  })
})
