import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { collectStatus, TestRealm } from '../support/realm.ts'
import { HOUR, MINUTE } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

/** Far above what a join takes, also on a slow machine: the shared clock runs while the network is waited for. */
const PATIENT = { timeout: 120_000 }

let clock: ManualClock
let realm: TestRealm
let broker: NatsConnection
let folders: string[]

beforeEach(async () => {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false })
  broker = await realm.connection()
  folders = []
})
afterEach(async () => {
  await realm.stop()
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'subrosa-stale-'))
  folders.push(folder)
  return folder
}

const agent = (name: Parameters<TestRealm['agent']>[0]): Promise<SecureConnection> =>
  passing(clock, realm.agent(name, {}, PATIENT))

/** Two agents that talk on orders.new. */
async function pair() {
  const alice = await agent('alice')
  const bob = await agent('bob')
  await passing(clock, alice.waitForAudience('orders.new', { timeout: 60_000 }))
  const got: SecureMessage[] = []
  bob.subscribe('orders.new', { callback: (_error, m) => got.push(m) })
  await bob.flush()
  return { alice, bob, got }
}

async function stopService(): Promise<void> {
  await realm.service?.close()
}

const codeOf = async (task: () => unknown): Promise<string | undefined> => (await failure(task)).code

describe('without answers', () => {
  it('an agent is stale 90 s after it has asked: it says so, sends nothing and opens nothing, and recovers', async () => {
    await realm.startService()
    const { alice, bob, got } = await pair()
    const events = [alice, bob].map((bus) => collectStatus(bus))
    const seen = await realm.tapMessages('orders.new')
    alice.publish('orders.new', 'fresh')
    await until('it was delivered', () => got.length === 1 && seen.length === 1)
    await stopService()
    // What was answered last was asked up to 60 s ago.
    await pass(clock, 29_000)
    alice.publish('orders.new', 'still fresh')
    await until('it was delivered', () => got.length === 2 && seen.length === 2)
    await pass(clock, 62_000)
    for (const all of events) expect(all.filter(({ type }) => type === 'stale')).toHaveLength(1)
    expect(await codeOf(() => alice.publish('orders.new', 'x'))).toBe('ERR_STALE')
    expect(await codeOf(() => alice.request('orders.new', 'x'))).toBe('ERR_STALE')
    // What comes now is not opened: no reason but this one is found.
    broker.publish('orders.new', seen[1]?.data)
    await until('the arrival is rejected', () => bob.rejections().stale === 1)
    expect(bob.rejections()).toEqual({ stale: 1 })
    await realm.startService()
    await passingUntil(clock, 'both are fresh', () =>
      events.every((all) => all.some(({ type }) => type === 'fresh')),
    )
    alice.publish('orders.new', 'fresh again')
    await until('it was delivered', () => got.length === 3)
    expect(got.at(-1)?.string()).toBe('fresh again')
  })

  it('jumps of the wall clock within 120 s end no exchange, and beyond that no tick counts', async () => {
    await realm.startService()
    const shifted = { by: 0 }
    const wall: Clock = {
      now: () => clock.now() + shifted.by,
      monotonic: () => clock.monotonic(),
      after: (ms, task) => clock.after(ms, task),
    }
    const alice = await passing(clock, realm.agent('alice', {}, { ...PATIENT, clock: wall }))
    for (const by of [119_000, -119_000]) {
      shifted.by = by
      await pass(clock, 5 * MINUTE, 5000)
      // A jump of more than 10 s costs a round trip to the rotation service.
      await passingUntil(clock, 'alice is fresh', () => mayPublish(alice))
    }
    shifted.by = 121_000
    await pass(clock, 91_000)
    expect(await codeOf(() => alice.publish('orders.new', 'x'))).toBe('ERR_STALE')
    shifted.by = 0
    await passingUntil(clock, 'alice is fresh again', () => mayPublish(alice))
  })
})

function mayPublish(bus: SecureConnection): boolean {
  try {
    bus.publish('orders.new', 'x')
    return true
  } catch {
    return false
  }
}

describe('a broker that plays old answers again', () => {
  let hand: HandRotator
  let alice: SecureConnection
  let recorded: Uint8Array[]

  beforeEach(async () => {
    hand = await HandRotator.start(realm)
    alice = await agent('alice')
    const seen = await realm.tap(realm.inboxOf(alice))
    const broadcast = await realm.tap(`${realm.root}.tick`)
    await pass(clock, 3 * MINUTE)
    await until('answers were recorded', () => seen.length > 1 && broadcast.length > 5)
    recorded = [...seen, ...broadcast].map(({ data }) => data)
    hand.isTicking = false
  })

  function playAgain(inbox: string): void {
    for (const data of recorded) {
      broker.publish(inbox, data)
      broker.publish(`${realm.root}.tick`, data)
    }
  }

  it('does not keep an agent fresh', async () => {
    for (let i = 0; i < 91; i++) {
      playAgain(realm.inboxOf(alice))
      await broker.flush()
      await pass(clock, 1000)
    }
    expect(await codeOf(() => alice.publish('orders.new', 'x'))).toBe('ERR_STALE')
  })

  it('gets no new agent in, with the pages of the real service to go with them', async () => {
    const joining = failure(() => realm.agent('bob', {}, { timeout: 10_000 }))
    let isOver = false
    void joining.then(() => {
      isOver = true
    })
    await passingUntil(clock, 'bob gave up', () => {
      for (const { reply } of hand.pings.slice(-3)) playAgain(reply)
      return isOver
    })
    const error = await joining
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
    expect(error.hint).toContain('rotator')
  })

  it('gets nothing by holding answers back: what was asked 90 s ago counts for nothing', async () => {
    // Each question is answered, 80 s late.
    const held: { readonly at: number; readonly reply: string; readonly tick: Uint8Array }[] = []
    let seen = hand.pings.length
    let lastFresh = clock.monotonic()
    for (let second = 0; second < 400; second++) {
      for (const { reply, nonce } of hand.pings.slice(seen))
        held.push({ at: clock.monotonic() + 80_000, reply, tick: hand.answer(nonce) })
      seen = hand.pings.length
      while ((held[0]?.at ?? Number.POSITIVE_INFINITY) <= clock.monotonic()) {
        const late = held.shift()
        if (late !== undefined) hand.send(late.reply, late.tick)
      }
      await hand.flush()
      await pass(clock, 1000)
      if (mayPublish(alice)) lastFresh = clock.monotonic()
    }
    // Fresh at times, and never longer than 90 s after a question.
    expect(lastFresh).toBeGreaterThan(200_000)
    hand.isTicking = false
    await pass(clock, 11_000)
    expect(await codeOf(() => alice.publish('orders.new', 'x'))).toBe('ERR_STALE')
  })
})

describe('a withheld revocation', () => {
  it('makes agents stale: a tick names what they cannot obtain', async () => {
    const hand = await HandRotator.start(realm)
    const { alice, bob, got } = await pair()
    const events = collectStatus(alice)
    const mallory = realm.identity('mallory')
    const revocation = hand.world.revocation(mallory, { since: clock.now() })
    hand.namedRevocations = [revocation]
    await pass(clock, 95_000)
    expect(events.some(({ type }) => type === 'stale')).toBe(true)
    for (const bus of [alice, bob]) {
      expect(await codeOf(() => bus.publish('orders.new', 'x'))).toBe('ERR_STALE')
    }
    // As soon as it is let through, they believe it and are fresh again.
    hand.revocations = [revocation]
    const since = clock.monotonic()
    await passingUntil(clock, 'alice is fresh', () => events.some(({ type }) => type === 'fresh'))
    expect(clock.monotonic() - since).toBeLessThan(15_000)
    expect(events).toContainEqual({
      type: 'revoked',
      identity: mallory.publicKey,
      reason: 'lost',
      self: false,
    })
    await passingUntil(clock, 'bob is fresh', () => {
      try {
        bob.publish('elsewhere', 'x')
        return true
      } catch {
        return false
      }
    })
    alice.publish('orders.new', 'fresh again')
    await until('it was delivered', () => got.length === 1)
  })

  it('keeps a new agent out, with an error that says how many count', async () => {
    const hand = await HandRotator.start(realm)
    hand.namedRevocations = [hand.world.revocation(realm.identity('mallory'), { since: clock.now() })]
    const error = await passing(
      clock,
      failure(() => realm.agent('alice', {}, { timeout: 5000 })),
    )
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
    expect(error.message).toContain('0 of 1 rotation service')
  })

  it('does not stay withheld: an agent that has it tells the service', async () => {
    const hand = await HandRotator.start(realm)
    const alice = await agent('alice')
    const revocation = hand.world.revocation(realm.identity('mallory'), { since: clock.now() })
    const seen = await realm.tap(`${realm.root}.revoke`)
    hand.publish('revoke', revocation)
    await until('alice may have heard of it', () => seen.length === 1)
    await alice.flush()
    await passingUntil(clock, 'alice repeats it', () => seen.length > 1, 1000)
    expect(seen.every(({ data }) => Buffer.from(data).equals(Buffer.from(revocation)))).toBe(true)
  })
})

describe('a rotation service that leaves out a revocation', () => {
  it('un-revokes nobody for an agent that has heard of it, also when that was started again, and is told of it', async () => {
    const hand = await HandRotator.start(realm)
    const state = newFolder()
    const start = (): Promise<SecureConnection> =>
      passing(clock, realm.agent('bob', {}, { ...PATIENT, state }))
    const identity = realm.identity('mallory')
    const over = await realm.connection()
    await passing(clock, realm.agent(identity, {}, { ...PATIENT, over }))
    // Without a word: its announcement stands.
    await over.close()
    const before = await start()
    const events = collectStatus(before)
    const revocation = hand.world.revocation(identity, { since: clock.now() })
    expect(before.audience('orders.new').map(({ name }) => name)).toContain('mallory')
    hand.publish('revoke', revocation)
    await until('bob has heard of it', () => events.some(({ type }) => type === 'revoked'))
    await passing(clock, before.close())

    const told = await realm.tap(`${realm.root}.revoke`)
    const bob = await start()
    expect(bob.audience('orders.new').map(({ name }) => name)).not.toContain('mallory')
    // It goes on without it: nobody is stale for knowing more, and it is told within a minute.
    const statuses = collectStatus(bob)
    await pass(clock, 125_000)
    expect(statuses.filter(({ type }) => type === 'stale')).toEqual([])
    expect(told.length).toBeGreaterThan(0)
    expect(told.every(({ data }) => Buffer.from(data).equals(Buffer.from(revocation)))).toBe(true)
  })
})

describe('clocks that are apart', () => {
  it.each([200_000, -200_000])('by more than 120 s (%i ms) end the join and say how far', async (by) => {
    await realm.startService()
    // The plan was made a while ago.
    clock.advance(10 * MINUTE)
    const wall: Clock = {
      now: () => clock.now() + by,
      monotonic: () => clock.monotonic(),
      after: (ms, task) => clock.after(ms, task),
    }
    const options = { issuedAtMs: clock.now() - HOUR }
    const error = await passing(
      clock,
      failure(() => realm.agent('alice', options, { ...PATIENT, clock: wall })),
    )
    expect(error.code).toBe('ERR_CLOCK_SKEW')
    expect(error.message).toMatch(new RegExp(`${by / 1000} s apart|${Math.abs(by / 1000)} s apart`))
    expect(error.hint).toContain('synchronise')
  })
})
