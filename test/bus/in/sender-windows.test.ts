import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  MAX_ANNOUNCEMENTS_PER_INSTANCE,
  PING_INTERVAL_MS,
  PING_SPREAD_MS,
} from '../../../src/base/limits.ts'
import { ReplayWindows, type SubscriptionWindows } from '../../../src/bus/in/replay.ts'
import { SenderWindows } from '../../../src/bus/in/sender-windows.ts'
import { type HandAgent, HandRealm } from '../../support/hand-agents.ts'
import { EVERYTHING, engine } from '../../support/identities.ts'
import { pass } from '../../support/passing.ts'

const NUMBER = 7

describe('a member that announces one instance after the other, and sends a message under each,', () => {
  const opened = vi.spyOn(ReplayWindows.prototype, 'open')
  let all: HandRealm
  let windows: SubscriptionWindows
  let agents: HandAgent[]

  beforeEach(async () => {
    all = await HandRealm.start()
    const result = opened.mock.results.at(-1)
    if (result?.type !== 'return') throw new Error('no subscription')
    windows = result.value
    const identity = all.realm.identity('mallory', { permissions: EVERYTHING, maxInstances: 1 })
    agents = []
    for (let i = 0; i <= MAX_ANNOUNCEMENTS_PER_INSTANCE; i++) {
      const instance = engine.randomBytes(8)
      const keys = engine.ed25519KeyPair()
      // The first one is the newest in rank: the directory keeps it.
      const notBefore = all.epoch.notBefore + (i === 0 ? 100 : i)
      const changes = { instance, messageKey: keys.publicKey, notBefore }
      const signing = { messageKey: keys.secretKey }
      const { bytes, hash } = all.hand.world.announcement(identity, all.epoch, changes, signing)
      await all.tell(`announce.mallory.${hex(instance)}`, bytes)
      const agent = { identity, keys, hash, instance }
      agents.push(agent)
      await all.expectDelivered(all.seal(agent, { content: { seq: NUMBER } }))
    }
  })
  afterEach(() => all.stop())

  const first = (): HandAgent => {
    const [agent] = agents
    if (agent === undefined) throw new Error('no agent')
    return agent
  }

  it('has so many windows in a subscription and no more', () => {
    expect(windows.size).toBe(MAX_ANNOUNCEMENTS_PER_INSTANCE)
    expect(windows.has(hex(first().hash))).toBe(false)
  })

  it('is not heard twice where a window has given way, and is heard with what it sends later', async () => {
    await all.expectRejected(all.seal(first(), { content: { seq: NUMBER } }), 'replay')
    all.clock.advance(1)
    await all.expectDelivered(all.seal(first(), { content: { seq: NUMBER + 1 } }))
  })

  it('takes no window of anybody else', async () => {
    const alice = await all.join('alice')
    await all.expectDelivered(all.seal(alice, { content: { seq: NUMBER } }))
    await all.expectRejected(all.seal(alice, { content: { seq: NUMBER } }), 'replay')
  })

  it('has no window any more when all that they have seen is too old', async () => {
    await pass(all.clock, CLOCK_WINDOW_MS - 20_000)
    expect(windows.size).toBe(MAX_ANNOUNCEMENTS_PER_INSTANCE)
    // It looks at the time with each answer of a rotation service.
    await pass(all.clock, 20_000 + PING_INTERVAL_MS + PING_SPREAD_MS + 1000)
    await expect.poll(() => windows.size, { timeout: 15_000 }).toBe(0)
  })
})

describe('windows of announcements', () => {
  const claims = { identity: 'alice', maxInstances: 1 }
  const forgotten: string[] = []
  let latest = 0
  let windows: SenderWindows
  beforeEach(() => {
    forgotten.length = 0
    latest = 0
    windows = new SenderWindows(
      () => latest,
      (names) => forgotten.push(...names),
    )
  })

  it('are needed until the newest message that they have seen is too old, in whatever order they came', () => {
    windows.note({ claims, announcement: 'a', sentAtMs: 2000 })
    windows.note({ claims, announcement: 'a', sentAtMs: 1000 })
    latest = 2000 + CLOCK_WINDOW_MS
    windows.prune()
    expect([windows.holds('a'), forgotten]).toEqual([true, []])
    latest++
    windows.prune()
    expect([windows.holds('a'), forgotten]).toEqual([false, ['a']])
  })

  it('give way in the order in which they were heard, and the line of time moves to what they have seen', () => {
    const names = ['a', 'b', 'c', 'd']
    for (const announcement of names) windows.note({ claims, announcement, sentAtMs: 1000 })
    windows.note({ claims, announcement: 'a', sentAtMs: 1500 })
    windows.note({ claims, announcement: 'e', sentAtMs: 1200 })
    expect(forgotten).toEqual(['b'])
    const known = (announcement: string, sentAtMs: number, by = claims): boolean =>
      windows.mayBeKnown({ claims: by, announcement, sentAtMs })
    expect([known('b', 1000), known('new', 1000), known('b', 1001), known('a', 1000)]).toEqual([
      true,
      true,
      false,
      false,
    ])
    expect(known('b', 1000, { identity: 'bob', maxInstances: 1 })).toBe(false)
  })

  it('leave a line of time behind for as long as it says something', () => {
    for (const announcement of ['a', 'b', 'c', 'd', 'e'])
      windows.note({ claims, announcement, sentAtMs: 1000 })
    const sent = { claims, announcement: 'a', sentAtMs: 1000 }
    latest = 1000 + CLOCK_WINDOW_MS
    windows.prune()
    expect(windows.mayBeKnown(sent)).toBe(true)
    latest++
    windows.prune()
    expect(windows.mayBeKnown(sent)).toBe(false)
  })
})
