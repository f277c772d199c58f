import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { REFUSED_SESSION_MS, SILENT_SESSION_MS } from '../../src/base/limits.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { HandRealm } from '../support/hand-agents.ts'
import { engine } from '../support/identities.ts'
import { pass, passing } from '../support/passing.ts'
import { collectStatus, type Tapped } from '../support/realm.ts'
import { until } from '../support/until.ts'

// Room for some twenty sessions.
vi.mock(import('../../src/base/limits.ts'), async (importOriginal) => ({
  ...(await importOriginal()),
  MAX_SESSION_BYTES: 64 * 1024,
}))

const NAMES = Array.from({ length: 9 }, (_, i) => `c${i}`)

let all: HandRealm
let alice: SecureConnection
let heardByAlice: StatusEvent[]
let heardByBob: StatusEvent[]

/** Bob and some others: a kind of audience for each number. */
const audience = (kind: number): readonly string[] => [
  'bob',
  ...NAMES.filter((_, bit) => (kind >> bit) % 2 === 1),
]

const count = (reason: string): number =>
  Object.entries(all.bob.rejections()).find(([name]) => name === reason)?.[1] ?? 0

const refusals = (): readonly StatusEvent[] => heardByAlice.filter(({ type }) => type === 'sessionRefused')

async function say(text: string, kind: number): Promise<void> {
  const before = all.got.length + all.rejected
  alice.publish('orders.new', text, { to: audience(kind) })
  await until('it is judged', () => all.got.length + all.rejected > before)
}

/** Alice writes to so many kinds of audiences that bob has no room for one more session of hers. @returns its kind */
async function fill(): Promise<number> {
  for (let kind = 1; kind < 100; kind++) {
    await say(String(kind), kind)
    if (all.rejected > 0) return kind
  }
  throw new Error('there is always room')
}

beforeEach(async () => {
  all = await HandRealm.start()
  alice = await passing(all.clock, all.realm.agent('alice', {}, { timeout: 120_000 }))
  for (const name of NAMES) await all.join(name)
  await passing(all.clock, alice.waitForAudience('orders.new', { atLeast: 10, timeout: 60_000 }))
  heardByAlice = collectStatus(alice)
  heardByBob = collectStatus(all.bob)
})
afterEach(() => all.stop())

describe('a session for which its recipient has no room', () => {
  it('is refused: its sender hears of it, and what follows comes in messages, and in a session when a minute is over', async () => {
    const seen = await all.realm.tap('orders.new')
    const sealed = (): number => seen.filter(({ data }: Tapped) => wireType(data) === WireType.sealed).length
    const kind = await fill()
    expect([Object.keys(all.bob.rejections()), kind > 10]).toEqual([['flood'], true])
    await until('alice has heard', () => refusals().length === 1)
    const by = { by: 'bob', instance: all.bob.instance }
    expect(refusals()).toEqual([{ type: 'sessionRefused', ...by, reason: 'no room' }])
    await until('bob says so', () => heardByBob.some(({ type }) => type === 'refusedSession'))
    expect(heardByBob).toContainEqual({ type: 'refusedSession', sender: 'alice', reason: 'no room' })
    for (let i = 0; i < 3; i++) await say(`refused ${i}`, kind)
    expect(all.got.slice(-3).map((m) => m.string())).toEqual(['refused 0', 'refused 1', 'refused 2'])
    expect(sealed()).toBe(3)
    // In the others she goes on.
    await say('known', 1)
    expect([all.got.at(-1)?.string(), sealed()]).toEqual(['known', 3])
    await pass(all.clock, REFUSED_SESSION_MS, 1000)
    await say('in a session', kind)
    expect([all.got.at(-1)?.string(), sealed()]).toEqual(['in a session', 3])
  })

  it('is not refused by anybody else: junk on its subject changes nothing', async () => {
    const seen = await all.realm.tap('>')
    await say('first', 1)
    await all.realm.settled()
    const frame = seen.find(({ data }) => wireType(data) === WireType.frame)
    const sid = Buffer.from(frame?.data.subarray(3, 19) ?? []).toString('hex')
    for (const length of [0, 20, 57, 58, 1000]) {
      const junk = engine.randomBytes(length)
      junk.set([0xc1, 1, WireType.refusal].slice(0, length))
      all.broker.publish(`${all.realm.root}.session.${sid}`, junk)
    }
    await all.broker.flush()
    await alice.flush()
    await say('second', 1)
    await all.realm.settled()
    expect([refusals(), seen.filter(({ data }) => wireType(data) === WireType.sealed)]).toEqual([[], []])
  })
})

describe('a session that gave way to others', () => {
  it('is refused when something is said in it, and what follows is read', async () => {
    await fill()
    await until('alice has heard', () => refusals().length === 1)
    // All of them are silent for a while, and others take their places.
    await pass(all.clock, SILENT_SESSION_MS + 20_000, 1000)
    for (let kind = 200; kind < 210; kind++) await say(String(kind), kind)
    const lost = count('session')
    for (let kind = 1; kind < 8 && count('session') === lost; kind++) await say(`again ${kind}`, kind)
    expect(count('session')).toBe(lost + 1)
    await until('alice has heard', () => refusals().length === 2)
    expect(refusals()[1]).toMatchObject({ by: 'bob', reason: 'ended' })
    await say('after that', 1)
    expect(all.got.at(-1)?.string()).toBe('after that')
  })
})
