import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import { ManualClock } from '../support/clock.ts'
import { HAND_EPOCH_MS, HAND_GRACE_MS, HandRealm } from '../support/hand-agents.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { DAY, HOUR, MINUTE } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

/** Far above what a join takes, also on a slow machine: the clocks run while the network is waited for. */
const PATIENT = { timeout: 120_000 }
const SUBJECT = 'orders.new'
const SECOND = 1000

const KINDS = [
  { name: 'with a boot clock', hasBoot: true },
  { name: 'without a boot clock', hasBoot: false },
]

let realm: TestRealm
/** The clock of everybody but alice. */
let others: ManualClock
/** The clocks of the machine that alice runs on. */
let machine: ManualClock
/** All of them move on together. */
const all = {
  advance: (ms: number): void => {
    others.advance(ms)
    machine.advance(ms)
  },
}

beforeEach(async () => {
  others = new ManualClock()
  realm = await TestRealm.start({ clock: others, rotation: false })
})
afterEach(() => realm.stop())

interface Alice {
  readonly alice: SecureConnection
  readonly events: readonly StatusEvent[]
  /** How often she has asked for ticks. */
  readonly questions: () => number
}

async function joinAlice(hasBoot: boolean): Promise<Alice> {
  machine = new ManualClock(others.now(), { hasBoot })
  const alice = await passing(all, realm.agent('alice', {}, { ...PATIENT, clock: machine }))
  const pings = await realm.tap(`${realm.root}.ping.alice.${alice.instance}`)
  return { alice, events: collectStatus(alice), questions: () => pings.length }
}

const codeOf = async (task: () => unknown): Promise<string | undefined> => (await failure(task)).code
const isFresh = (events: readonly StatusEvent[]): boolean => events.findLast(isFreshness)?.type === 'fresh'
const isFreshness = ({ type }: StatusEvent): boolean => type === 'stale' || type === 'fresh'
const countOf = (events: readonly StatusEvent[], type: StatusEvent['type']): number =>
  events.filter((event) => event.type === type).length

describe.each(KINDS)('a wall clock that is set, $name,', ({ hasBoot }) => {
  it.each([11 * SECOND, -11 * SECOND, 100 * SECOND])(
    'by %i ms makes an agent stale at once, and costs one round trip',
    async (by) => {
      await realm.startService()
      const { alice, events, questions } = await joinAlice(hasBoot)
      alice.publish('elsewhere', 'x', { to: ['alice'] })
      const asked = questions()
      machine.jump(by)
      expect(await codeOf(() => alice.publish('elsewhere', 'x', { to: ['alice'] }))).toBe('ERR_STALE')
      const since = others.monotonic()
      await passingUntil(all, 'alice is fresh', () => isFresh(events))
      expect(others.monotonic() - since).toBeLessThan(2 * SECOND)
      await until('the question was seen', () => questions() > asked)
      alice.publish('elsewhere', 'x', { to: ['alice'] })
      await pass(all, 40 * SECOND)
      await realm.settled()
      expect(questions()).toBe(asked + 1)
      expect([countOf(events, 'stale'), countOf(events, 'fresh')]).toEqual([1, 1])
    },
  )

  it.each([-HOUR, 2 * DAY])(
    'by %i ms makes an agent stale until it is right again, and then fresh within seconds',
    async (by) => {
      await realm.startService()
      const { alice, events } = await joinAlice(hasBoot)
      machine.jump(by)
      await pass(all, 3 * MINUTE)
      expect(await codeOf(() => alice.publish('elsewhere', 'x', { to: ['alice'] }))).toBe('ERR_STALE')
      expect([countOf(events, 'stale'), countOf(events, 'fresh')]).toEqual([1, 0])
      // Each answer is as far away as the one before: it is said once.
      const errors = events.flatMap((event) => (event.type === 'error' ? [event.error] : []))
      expect(errors).toEqual([expect.objectContaining({ code: 'ERR_CLOCK_SKEW' })])
      machine.jump(-by)
      const since = others.monotonic()
      await passingUntil(all, 'alice is fresh', () => isFresh(events))
      // She asks about every five seconds.
      expect(others.monotonic() - since).toBeLessThan(7 * SECOND)
    },
  )

  it('is noticed by an agent to which nothing is said and which says nothing, with the next tick', async () => {
    await realm.startService()
    const { events } = await joinAlice(hasBoot)
    machine.jump(MINUTE)
    await pass(all, 20 * SECOND)
    await until('both were reported', () => events.filter(isFreshness).length === 2)
    expect(events.filter(isFreshness).map(({ type }) => type)).toEqual(['stale', 'fresh'])
  })

  it('lets no tick count that was not asked for since', async () => {
    const hand = await HandRotator.start(realm)
    const { alice, events } = await joinAlice(hasBoot)
    machine.jump(MINUTE)
    hand.isTicking = false
    hand.tick()
    await until('alice has noticed', () => countOf(events, 'stale') === 1)
    hand.tick()
    await alice.flush()
    expect(countOf(events, 'fresh')).toBe(0)
    hand.isTicking = true
    await passingUntil(all, 'she was answered', () => isFresh(events))
  })

  it('lets no tick count that answers a question from before', async () => {
    const hand = await HandRotator.start(realm)
    const { alice, events } = await joinAlice(hasBoot)
    // Two questions are kept back, and the first one is answered.
    hand.isTicking = false
    machine.jump(MINUTE)
    hand.tick()
    const before = hand.pings.length
    await passingUntil(all, 'she has asked twice', () => hand.pings.length > before + 1)
    const [first, second] = hand.pings.slice(before)
    if (first === undefined || second === undefined) throw new Error('no question')
    hand.send(first.reply, hand.answer(first.nonce))
    await until('she is fresh', () => isFresh(events))
    machine.jump(MINUTE)
    hand.send(second.reply, hand.answer(second.nonce))
    await until('she has noticed', () => countOf(events, 'stale') === 2)
    await alice.flush()
    expect(isFresh(events)).toBe(false)
    hand.isTicking = true
    await passingUntil(all, 'she was answered', () => isFresh(events))
  })
})

describe.each(KINDS)('a machine that was suspended for 40 minutes, $name,', ({ hasBoot }) => {
  it('opens nothing and sends nothing before a new tick has counted', async () => {
    const hand = await HandRotator.start(realm)
    const { alice, events } = await joinAlice(hasBoot)
    const bob = await passing(all, realm.agent('bob', {}, PATIENT))
    await passing(all, bob.waitForAudience(SUBJECT, { timeout: 60_000 }))
    const got: string[] = []
    alice.subscribe(SUBJECT, { callback: (_error, m) => got.push(m.string()) })
    await alice.flush()
    const seen = await realm.tapMessages(SUBJECT)
    bob.publish(SUBJECT, 'before')
    await until('it was delivered', () => got.length === 1 && seen.length === 1)
    hand.isTicking = false
    machine.suspend(40 * MINUTE)
    others.advance(40 * MINUTE)
    const broker = await realm.connection()
    broker.publish(SUBJECT, seen[0]?.data)
    await until('the first message was judged', () => alice.stats().rejected > 0)
    expect(alice.rejections()).toEqual({ stale: 1 })
    expect(await codeOf(() => alice.publish(SUBJECT, 'x'))).toBe('ERR_STALE')
    expect(countOf(events, 'stale')).toBe(1)
    hand.isTicking = true
    await passingUntil(all, 'alice is fresh', () => isFresh(events))
    alice.publish(SUBJECT, 'after')
    await until('it was delivered', () => got.at(-1) === 'after')
  })

  it('has no keys any more of an epoch that has ended meanwhile, though nothing came', async () => {
    const hand = await HandRotator.start(realm)
    const { alice, events } = await joinAlice(hasBoot)
    hand.isTicking = false
    machine.suspend(2 * HOUR)
    expect(await codeOf(() => alice.publish(SUBJECT, 'x'))).toBe('ERR_STALE')
    await alice.flush()
    expect([alice.epoch, countOf(events, 'destroyed')]).toEqual([0, 1])
  })
})

describe.each(KINDS)('the keys of an agent, $name,', ({ hasBoot }) => {
  it('end with their epoch where the wall clock was set back', async () => {
    const hand = await HandRotator.start(realm)
    const { alice, events } = await joinAlice(hasBoot)
    hand.isTicking = false
    const { notAfter, graceMs } = hand.epoch()
    const leftMs = notAfter + graceMs - machine.now()
    machine.jump(-DAY)
    await pass(all, leftMs - 5 * SECOND, 30 * SECOND)
    expect([alice.epoch, countOf(events, 'destroyed')]).toEqual([1, 0])
    await pass(all, 10 * SECOND)
    await alice.flush()
    expect([alice.epoch, countOf(events, 'destroyed')]).toEqual([0, 1])
  })
})

describe.each(KINDS)('a wall clock that is ahead for a moment, $name,', ({ hasBoot }) => {
  let hand: HandRealm
  beforeEach(async () => {
    hand = await HandRealm.start(HAND_GRACE_MS, (clock) => new ManualClock(clock.now(), { hasBoot }))
  })
  afterEach(() => hand.stop())

  it.each(['message', 'session'] as const)(
    'brings nothing back that was delivered in mode %s, be it ahead for minutes or for years',
    async (mode) => {
      const write = hand.writer(await hand.join('mary'), mode)
      const first = write({ number: 1 })
      await hand.expectDelivered(first)
      for (const ahead of [11 * MINUTE, 2 * DAY, 3 * 365 * DAY]) {
        hand.machine.jump(ahead)
        hand.hand.tick()
        await hand.bob.flush()
        await pass(hand, 3 * SECOND)
        hand.machine.jump(-ahead)
        await hand.untilFresh()
        hand.broker.publish(SUBJECT, first)
        await hand.broker.flush()
        await hand.bob.flush()
        expect(hand.got).toHaveLength(1)
      }
    },
  )

  it('lifts no revocation, though its keys have ended meanwhile and it forgets what is over', async () => {
    const mallory = await hand.join('mallory')
    await hand.tell('revoke', hand.hand.world.revocation(mallory.identity, { since: hand.clock.now() }))
    await hand.expectRejected(hand.seal(mallory), 'revoked')
    hand.hand.isTicking = false
    const destroyed = collectStatus(hand.bob)
    hand.machine.jump(400 * DAY)
    await pass(hand, HAND_EPOCH_MS + HAND_GRACE_MS + SECOND, 30 * SECOND)
    await until('the keys are wiped', () => countOf(destroyed, 'destroyed') === 1)
    expect(countOf(destroyed, 'rotated')).toBe(0)
    hand.machine.jump(-400 * DAY)
    hand.hand.isTicking = true
    await hand.untilFresh()
    const epoch = hand.hand.epoch()
    await passingUntil(hand, 'bob has announced', () => hand.bob.epoch === epoch.number)
    await hand.bob.flush()
    await until('bob was heard', () => hand.hand.announcements.length > 1)
    const again = await hand.join(mallory.identity, { at: epoch })
    await hand.expectRejected(hand.seal(again, { in: epoch, to: [hand.keyOfBob(epoch)] }), 'revoked')
  })

  it(`${hasBoot ? 'wipes no key' : 'wipes the keys, since it may have been a suspended machine'}`, async () => {
    const destroyed = collectStatus(hand.bob)
    hand.machine.jump(2 * DAY)
    hand.hand.tick()
    await hand.bob.flush()
    await pass(hand, 3 * SECOND)
    hand.machine.jump(-2 * DAY)
    await hand.untilFresh()
    expect(countOf(destroyed, 'destroyed')).toBe(hasBoot ? 0 : 1)
    // It makes others at once, and is no clone of itself.
    await passingUntil(hand, 'bob has keys', () => hand.bob.epoch === 1)
    expect(countOf(destroyed, 'clone')).toBe(0)
  })
})

describe.each(KINDS)(
  'a wall clock that was set back by less than clocks may differ, $name,',
  ({ hasBoot }) => {
    let hand: HandRealm
    beforeEach(async () => {
      hand = await HandRealm.start(HAND_GRACE_MS, (clock) => new ManualClock(clock.now(), { hasBoot }))
    })
    afterEach(() => hand.stop())

    it('makes no token good again that has expired', async () => {
      const expiresAtMs = hand.clock.now() + MINUTE
      const alice = await hand.join(hand.realm.identity('alice', { expiresAtMs }))
      await pass(hand, MINUTE - SECOND, 5 * SECOND)
      await hand.expectDelivered(hand.seal(alice))
      await pass(hand, 5 * SECOND, 5 * SECOND)
      await hand.expectRejected(hand.seal(alice), 'revoked')
      hand.machine.jump(-100 * SECOND)
      await hand.untilFresh()
      expect(hand.machine.now()).toBeLessThan(expiresAtMs)
      await hand.expectRejected(hand.seal(alice), 'revoked')
    })
  },
)
