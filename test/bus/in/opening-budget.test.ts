import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import { MAX_FREE_SILENT_SESSIONS, MAX_PENDING_MESSAGES } from '../../../src/base/limits.ts'
import { type HandAgent, HandRealm } from '../../support/hand-agents.ts'
import { engine } from '../../support/identities.ts'
import { until } from '../../support/until.ts'

/** Openings that come to nothing in a second, where each takes a millisecond. */
const PER_SECOND = 50

let all: HandRealm
const agreements = vi.spyOn(engine, 'x25519')

beforeAll(async () => {
  all = await HandRealm.start()
})
afterAll(() => all.stop())
afterEach(async () => {
  all.clock.workMs = 0
  all.clock.advance(5000)
  agreements.mockClear()
})

/** Publishes them; resolves with the number of key agreements that bob has made when as many are judged. */
async function judged(
  messages: readonly Uint8Array[],
  count: number,
  subject = 'orders.new',
): Promise<number> {
  agreements.mockClear()
  const before = all.rejected
  for (const message of messages) all.broker.publish(subject, message)
  await until('they are judged', () => all.rejected >= before + count)
  return agreements.mock.calls.length
}

let members = 0
/** A member with a name of its own: two identities of one name are not both believed. */
function member(): Promise<HandAgent> {
  return all.join(`member${++members}`)
}

describe('what arrives and comes to nothing', () => {
  it('costs no key agreement when it is a message that was opened before, however often it comes', async () => {
    const recorded = all.seal(await member())
    await all.expectDelivered(recorded)
    expect(await judged(Array<Uint8Array>(2000).fill(recorded), 2000)).toBe(0)
    expect(all.got).toHaveLength(1)
  })

  it('costs one key agreement when it is one sealed message of nobody, repeated', async () => {
    const nobody = { ...(await member()), hash: engine.randomBytes(32) }
    const sealed = all.seal(nobody)
    expect(await judged(Array<Uint8Array>(2000).fill(sealed), 1999)).toBe(1)
  })

  it('costs no key agreement when its time in clear is not right', async () => {
    const alice = await member()
    const now = all.clock.now()
    const wrong = [now - 120_001, now + 120_001].map((sentAtMs) => all.seal(alice, { sentAtMs }))
    expect(await judged(wrong, 2)).toBe(0)
    const handshakes = [now - 1_020_001, now + 120_001].map(
      (sentAtMs) => all.session(alice, { sentAtMs }).handshake,
    )
    expect(await judged(handshakes, 2)).toBe(0)
  })

  it('costs no key agreement when it is a handshake whose session is held, on whatever subject', async () => {
    const session = all.openSession(await member())
    await all.expectDelivered(session.frame())
    agreements.mockClear()
    for (let i = 0; i < 500; i++) {
      all.broker.publish(all.inboxOfBob, session.handshake)
      all.broker.publish('orders.new', session.handshake)
    }
    await all.expectDelivered(session.frame())
    expect(agreements).not.toHaveBeenCalled()
  })

  it('is unwrapped from a budget of working time when it is sealed anew each time by nobody', async () => {
    const ghost = await member()
    const sealed = Array.from({ length: 300 }, () => all.seal({ ...ghost, hash: engine.randomBytes(32) }))
    all.clock.workMs = 1
    // Those beyond what waits are given up; those that are open wait for their senders, as many as may be asked for.
    const made = await judged(sealed, 300 - PER_SECOND - MAX_PENDING_MESSAGES)
    expect(made).toBe(PER_SECOND)
  })

  it('is opened from the budget when it is sessions in which nothing is said, beyond 64 of one sender', async () => {
    const silent = await member()
    const handshakes = Array.from({ length: 300 }, () => all.session(silent).handshake)
    all.clock.workMs = 1
    agreements.mockClear()
    for (const handshake of handshakes) all.broker.publish('orders.new', handshake)
    await all.broker.flush()
    await all.bob.flush()
    const made = agreements.mock.calls.length
    expect(made).toBeGreaterThan(MAX_FREE_SILENT_SESSIONS)
    expect(made).toBeLessThanOrEqual(MAX_FREE_SILENT_SESSIONS + PER_SECOND)
  })

  it('keeps no honest message away: it waits for budget, and is delivered when there is some', async () => {
    const alice = await member()
    const mary = await member()
    const forged = Array.from({ length: PER_SECOND }, () =>
      all.seal(alice, { messageKey: mary.keys.secretKey }),
    )
    all.clock.workMs = 1
    await judged(forged, PER_SECOND / 2)
    all.clock.workMs = 0
    const before = all.got.length
    const rejected = all.rejected
    all.broker.publish('orders.new', all.seal(alice))
    await all.broker.flush()
    await all.bob.flush()
    expect([all.got.length, all.rejected]).toEqual([before, rejected])
    all.clock.advance(2000)
    await until('it is delivered', () => all.got.length === before + 1)
  })

  it('takes from the budget of subscriptions alone: what comes to an inbox is opened meanwhile', async () => {
    const alice = await member()
    const mary = await member()
    const forged = Array.from({ length: PER_SECOND }, () =>
      all.seal(alice, { messageKey: mary.keys.secretKey }),
    )
    all.clock.workMs = 1
    await judged(forged, PER_SECOND / 2)
    const before = all.got.length
    all.broker.publish('orders.new', all.openSession(alice).frame())
    await all.broker.flush()
    await all.bob.flush()
    expect(all.got.length).toBe(before + 1)
  })
})

describe('what waits for its sender', () => {
  it('is asked again whether anything may be opened when it goes on', async () => {
    const { epoch, hand, clock } = all
    const keys = engine.ed25519KeyPair()
    const instance = engine.randomBytes(8)
    const identity = all.realm.identity('late')
    const changes = { instance, messageKey: keys.publicKey }
    const parsed = hand.world.announcement(identity, epoch, changes, { messageKey: keys.secretKey })
    await all.join('sync')
    hand.isTicking = false
    clock.advance(all.freshForMs - 1000)
    const before = all.rejected
    const got = all.got.length
    const sealed = all.seal({ identity, keys, hash: parsed.hash, instance })
    agreements.mockClear()
    all.broker.publish('orders.new', sealed)
    await until('it is open', () => agreements.mock.calls.length > 0 || all.rejected > before)
    const isStale = all.bob.rejections().stale ?? 0
    clock.advance(1500)
    hand.publish(`announce.late.${hex(instance)}`, parsed.bytes)
    await until('it is judged', () => all.rejected > before || all.got.length > got)
    expect([all.bob.rejections().stale, all.got.length]).toEqual([isStale + 1, got])
    hand.isTicking = true
  })
})
