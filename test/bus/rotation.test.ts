import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import type { StatusEvent } from '../../src/bus/status.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import type { Schedule } from '../../src/wire/plans.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { encodeQuery, QueryKind } from '../../src/wire/queries.ts'
import { ManualClock } from '../support/clock.ts'
import { epochOf } from '../support/crowd.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { engine } from '../support/identities.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { collectStatus, type Tapped, TestRealm, type TestRealmOptions } from '../support/realm.ts'
import { announceSubject, HOUR, MINUTE } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

/** Far above what a join takes, also on a slow machine: the shared clock runs while the network is waited for. */
const PATIENT = { timeout: 120_000 }

let clock: ManualClock
let realm: TestRealm

afterEach(() => realm.stop())

async function start(options: TestRealmOptions = {}): Promise<void> {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, ...options })
}

/** Epochs of ten minutes that begin every eight. */
const SHORT = { periodMs: 8 * MINUTE, leadMs: 2 * MINUTE, graceMs: MINUTE }

const agent = (
  name: Parameters<TestRealm['agent']>[0],
  options: Parameters<TestRealm['agent']>[2] = {},
): Promise<SecureConnection> => passing(clock, realm.agent(name, {}, { ...PATIENT, ...options }))

const codeOf = async (task: () => unknown): Promise<string | undefined> => (await failure(task)).code

/** Collects what an agent reads on a subject. */
async function inboxOf(bus: SecureConnection, subject: string): Promise<SecureMessage[]> {
  const got: SecureMessage[] = []
  bus.subscribe(subject, { callback: (_error, m) => got.push(m) })
  await bus.flush()
  return got
}

const isOfMessage = ({ data }: Tapped): boolean => wireType(data) !== WireType.handshake

const epochsOf = (events: readonly StatusEvent[], type: 'rotated' | 'destroyed'): number[] =>
  events.flatMap((event) => (event.type === type ? [event.epoch] : []))

function expectEachOnce(got: readonly SecureMessage[], count: number): void {
  expect(got.map((m) => m.string())).toEqual(Array.from({ length: count }, (_, i) => String(i)))
}

describe('messages that flow while epochs change', () => {
  it('are neither lost nor doubled, and old keys are destroyed', async () => {
    await start({ schedule: SHORT })
    const alice = await agent('alice')
    const bob = await agent('bob')
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const events = collectStatus(bob)
    const got = await inboxOf(bob, 'orders.new')
    let sent = 0
    await passingUntil(
      clock,
      'six epochs have passed',
      () => {
        for (let i = 0; i < 10; i++) alice.publish('orders.new', String(sent++))
        return bob.epoch >= 6 && alice.epoch >= 6
      },
      5000,
    )
    await until('the last one has come', () => got.length >= sent)
    expectEachOnce(got, sent)
    expect(bob.rejections()).toEqual({})
    expect(new Set(got.map(({ epoch }) => epoch)).size).toBeGreaterThanOrEqual(5)
    expect(epochsOf(events, 'rotated')).toEqual([2, 3, 4, 5, 6])
    expect(epochsOf(events, 'destroyed')).toEqual([1, 2, 3, 4])
  })

  it('are neither lost nor doubled in epochs that begin every 1.2 s, at full speed and in both directions', async () => {
    realm = await TestRealm.start({
      schedule: { periodMs: 1200, leadMs: 1000, graceMs: 1000 },
      rotation: { tickMs: 250 },
    })
    const alice = await realm.agent('alice')
    const bob = await realm.agent('bob')
    await alice.waitForAudience('to.bob')
    await bob.waitForAudience('to.alice')
    const events = collectStatus(bob)
    const byBob = await inboxOf(bob, 'to.bob')
    const byAlice = await inboxOf(alice, 'to.alice')
    let sent = 0
    const first = bob.epoch
    while (bob.epoch < first + 4) {
      for (let i = 0; i < 8; i++) {
        alice.publish('to.bob', String(sent))
        bob.publish('to.alice', String(sent++))
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until('the last ones have come', () => byBob.length >= sent && byAlice.length >= sent)
    expectEachOnce(byBob, sent)
    expectEachOnce(byAlice, sent)
    expect(sent).toBeGreaterThan(100)
    expect([alice.rejections(), bob.rejections()]).toEqual([{}, {}])
    expect(epochsOf(events, 'destroyed').length).toBeGreaterThanOrEqual(2)
    expect(epochsOf(events, 'destroyed')[0]).toBe(first)
  })
})

describe('the keys of an old epoch', () => {
  it('are gone after its grace: what was recorded is for nobody any more', async () => {
    await start({ schedule: SHORT })
    const broker = await realm.connection()
    const alice = await agent('alice')
    const bob = await agent('bob')
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const seen = await realm.tap('orders.new')
    alice.publish('orders.new', 'secret')
    await until('it was recorded', () => seen.some(isOfMessage))
    const recorded = [...seen]
    const play = () => {
      for (const { data } of recorded) broker.publish('orders.new', data)
    }
    const events = collectStatus(bob)
    const got = await inboxOf(bob, 'orders.new')
    play()
    await until('it opens while the epoch lasts', () => got.length === 1)
    await passingUntil(clock, 'its keys are destroyed', () => epochsOf(events, 'destroyed').includes(1), 2000)
    play()
    await broker.flush()
    alice.publish('orders.new', 'marker')
    await until('the marker behind it has come', () => got.length === 2)
    expect(got[1]?.string()).toBe('marker')
    // A message is for nobody any more, which needs no reason; a frame has lost its session, and is too old to ask for it.
    expect(
      Object.keys(bob.rejections()).filter((reason) => reason !== 'session' && reason !== 'time'),
    ).toEqual([])
  })
})

describe('moving over to the next epoch', () => {
  /** An instance that announced itself for the first epoch, is there, and announces nothing more. */
  async function addMute(): Promise<void> {
    const { world, epoch } = epochOf(realm)
    const parsed = world.announcement(realm.identity('mute'), epoch)
    const broker = await realm.connection()
    const { instance } = parsed.announcement
    broker.publish(`${realm.root}.announce.mute.${hex(instance)}`, parsed.bytes)
    await broker.flush()
    const ping = (): void => {
      if (broker.isClosed()) return
      const query = { nonce: engine.randomBytes(16), kind: QueryKind.tick, cursor: undefined }
      const reply = realm.inboxOf({ name: 'mute', instance: hex(instance) })
      broker.publish(`${realm.root}.ping.mute.${hex(instance)}`, encodeQuery(query), { reply })
      clock.after(MINUTE, ping)
    }
    ping()
  }

  it('waits for an instance that has not announced it, and at the old one’s end goes on without', async () => {
    await start({ schedule: SHORT })
    await addMute()
    const beganAt = clock.now()
    const alice = await agent('alice')
    const bob = await agent('bob')
    await passing(clock, alice.waitForAudience('orders.new', { atLeast: 2, timeout: 60_000 }))
    const got = await inboxOf(bob, 'orders.new')
    await passingUntil(clock, 'both announced the next one', () => alice.epoch === 2 && bob.epoch === 2, 1000)
    expect(clock.now()).toBeLessThan(beganAt + 9 * MINUTE)
    const say = async (text: string): Promise<SecureMessage | undefined> => {
      const before = got.length
      alice.publish('orders.new', text)
      await until('it has come', () => got.length === before + 1)
      return got.at(-1)
    }
    expect((await say('with mute'))?.epoch).toBe(1)
    expect(alice.audience('orders.new').some(({ name }) => name === 'mute')).toBe(true)
    await pass(clock, beganAt + 10 * MINUTE - 1 - clock.now(), 5000)
    expect((await say('with mute'))?.epoch).toBe(1)
    clock.advance(1)
    expect((await say('without'))?.epoch).toBe(2)
    expect(alice.audience('orders.new').some(({ name }) => name === 'mute')).toBe(false)
  })

  it('happens as soon as everybody has announced it', async () => {
    await start({ schedule: SHORT })
    const alice = await agent('alice')
    const bob = await agent('bob')
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const got = await inboxOf(bob, 'orders.new')
    await passingUntil(clock, 'both announced the next one', () => alice.epoch === 2 && bob.epoch === 2, 1000)
    await Promise.all([alice.flush(), bob.flush()])
    await until('a message is of the next epoch', () => {
      alice.publish('orders.new', 'x')
      return got.at(-1)?.epoch === 2
    })
  })
})

describe('an instance that ends', () => {
  it.each(['drain', 'close'] as const)('by %s leaves every audience at once', async (how) => {
    await start()
    const alice = await agent('alice')
    const identity = realm.identity('bob')
    const bob = await agent(identity)
    const twin = await agent(identity)
    await passing(clock, alice.waitForAudience('orders.new', { atLeast: 2, timeout: 60_000 }))
    const instances = () => alice.audience('orders.new').map(({ instance }) => instance)
    expect(instances()).toContain(bob.instance)
    const at = clock.now()
    await bob[how]()
    await until('it is gone', () => !instances().includes(bob.instance))
    expect(clock.now()).toBe(at)
    expect(instances()).toContain(twin.instance)
    // Whoever joins later is not told of it either.
    const carol = await agent('carol')
    expect(carol.audience('orders.new').map(({ instance }) => instance)).not.toContain(bob.instance)
  })
})

describe('an epoch that allows only a suite that this version does not have', () => {
  it('lets nobody join: there is no fallback', async () => {
    await start({ schedule: { suites: [2] } })
    const error = await passing(
      clock,
      failure(() => realm.agent('alice', {}, PATIENT)),
    )
    expect(error.code).toBe('ERR_SUITE')
    expect(error.hint).toContain('2')
  })

  it('ends the sending of a running agent when the last epoch of the old suite ends', async () => {
    await start({ rotation: false })
    const hand = await HandRotator.start(realm)
    const alice = await agent('alice')
    await agent('bob')
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const seen = await realm.tapMessages('orders.new')
    const [former] = realm.plan.schedules
    const third = hand.epoch(3)
    const later = { ...former, first: 3, originMs: third.notBefore, suites: [2] }
    hand.adopt(realm.nextPlan({ schedules: [former, later] as Schedule[] }))
    const second = hand.epoch(2)
    await pass(clock, third.notBefore + 2 * MINUTE - clock.now(), 10_000)
    alice.publish('orders.new', 'in the old epoch, which lasts')
    await until('it was sent', () => seen.length === 1)
    await pass(clock, second.notAfter - clock.now(), 10_000)
    const error = await failure(() => alice.publish('orders.new', 'x'))
    expect(['ERR_SUITE', 'ERR_EMPTY_AUDIENCE', 'ERR_STALE']).toContain(error.code)
    await alice.flush()
    expect(seen).toHaveLength(1)
    expect(alice.epoch).toBe(2)
  })
})

describe('a revocation', () => {
  it('acts at once: on audiences, on what arrives, and on the agent itself', async () => {
    await start()
    const broker: NatsConnection = await realm.connection()
    const alice = await agent('alice')
    const bob = await agent('bob')
    const identity = realm.identity('mallory')
    const mallory = await agent(identity)
    await passing(clock, alice.waitForAudience('orders.new', { atLeast: 2, timeout: 60_000 }))
    await passing(clock, mallory.waitForAudience('orders.new', { atLeast: 2, timeout: 60_000 }))
    const seen = await realm.tapMessages('orders.*')
    mallory.publish('orders.held', 'before', { to: ['bob'] })
    await until('the broker holds it back', () => seen.length === 1)
    const events = collectStatus(mallory)
    const bobs = collectStatus(bob)
    const revocation = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: identity.publicKey,
      since: clock.now(),
      until: clock.now() + 24 * HOUR,
      reason: 'stolen',
      past: 0,
    })
    broker.publish(`${realm.root}.revoke`, revocation)
    const expected = { type: 'revoked', identity: identity.publicKey, reason: 'stolen' }
    await until('all have heard of it', () =>
      [events, bobs].every((all) => all.some(({ type }) => type === 'revoked')),
    )
    expect(events).toContainEqual({ ...expected, self: true })
    expect(bobs).toContainEqual({ ...expected, self: false })
    await until('alice has heard of it', () =>
      alice.audience('orders.new').every(({ name }) => name !== 'mallory'),
    )
    const named = await failure(() => alice.publish('orders.new', 'x', { to: ['mallory'] }))
    expect(named.code).toBe('ERR_RECIPIENT_NOT_ALLOWED')
    expect(named.hint).toContain('revoked')
    expect(await codeOf(() => mallory.publish('orders.new', 'x'))).toBe('ERR_REVOKED')
    const got = await inboxOf(bob, 'orders.held')
    broker.publish('orders.held', seen[0]?.data)
    await until('it is rejected', () => bob.rejections().revoked === 1)
    expect(got).toHaveLength(0)
    // Its next process does not come in either.
    const again = await passing(
      clock,
      failure(() => realm.agent(identity, {}, PATIENT)),
    )
    expect(again.code).toBe('ERR_REVOKED')
  })

  it('is named by every tick: whoever was away learns of it from there', async () => {
    await start()
    const broker = await realm.connection()
    const alice = await agent('alice')
    const identity = realm.identity('mallory')
    const mallory = await agent(identity)
    await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
    const revocation = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: identity.publicKey,
      since: clock.now(),
      until: clock.now() + 24 * HOUR,
      reason: 'stolen',
      past: 0,
    })
    broker.publish(`${realm.root}.revoke`, revocation)
    await until('it acts', () => alice.audience('x').every(({ name }) => name !== 'mallory'))
    const late = await agent('late')
    expect(late.audience('x').map(({ name }) => name)).not.toContain('mallory')
    await mallory.close()
  })
})

describe('an authority that equivocates', () => {
  it('shows two agents two plans of one version: they cannot exchange anything', async () => {
    await start({ rotation: false })
    const broker = await realm.connection()
    const first = realm.kept
    const [schedule] = realm.plan.schedules
    const other = realm.nextPlan({
      version: 1,
      former: undefined,
      schedules: [{ ...schedule, graceMs: 1 }] as Schedule[],
    })
    const one = await HandRotator.start(realm, { subjectPrefix: 'view.one', kept: first })
    const two = await HandRotator.start(realm, { subjectPrefix: 'view.two', kept: other })
    const alice = await agent('alice', { subjectPrefix: 'view.one' })
    const bob = await agent('bob', { subjectPrefix: 'view.two' })
    const events = [collectStatus(alice), collectStatus(bob)]
    const got = await Promise.all([inboxOf(alice, 'talk'), inboxOf(bob, 'talk')])
    // The broker carries everything across but for the plans, so that neither notices more than it must.
    for (const bytes of one.announcements) two.publish(announceSubject(bytes), bytes)
    for (const bytes of two.announcements) one.publish(announceSubject(bytes), bytes)
    await pass(clock, 5000)
    for (const [bus, other] of [
      [alice, 'bob'],
      [bob, 'alice'],
    ] as const) {
      expect(bus.audience('talk').map(({ name }) => name)).toEqual([bus.name])
      expect(await codeOf(() => bus.publish('talk', 'x', { to: [other] }))).toBe('ERR_RECIPIENT_NOT_ALLOWED')
      bus.publish('talk', `of ${bus.name}`)
    }
    await until('each has heard itself alone', () => got.every((all) => all.length === 1))
    await broker.flush()
    expect(got.map((all) => all.map((m) => m.string()))).toEqual([['of alice'], ['of bob']])
    // And the other plan is refused, with an alarm.
    one.publish('plan', other.plan)
    const isConflict = (event: StatusEvent): boolean =>
      event.type === 'error' && (event.error as { readonly code?: string }).code === 'ERR_PLAN_CONFLICT'
    await until('alice reports it', () => events[0]?.some(isConflict) === true)
    expect(alice.audience('talk').map(({ name }) => name)).toEqual(['alice'])
  })
})
