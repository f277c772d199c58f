import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { memoryRotationStore, type RotationStore } from '../../src/rotation/store.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { collectStatus, type Tapped, TestRealm } from '../support/realm.ts'
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

function stopService(): void {
  realm.service?.close()
  realm.service = undefined
}

const codeOf = async (task: () => unknown): Promise<string | undefined> => (await failure(task)).code

describe('without ticks', () => {
  it('an agent is stale after 90 s: it says so, sends nothing and opens nothing, and recovers', async () => {
    const store = memoryRotationStore()
    await realm.startService({ store })
    const { alice, bob, got } = await pair()
    const events = [alice, bob].map((bus) => collectStatus(bus))
    const seen = await realm.tapMessages('orders.new')
    alice.publish('orders.new', 'fresh')
    await until('it was delivered', () => got.length === 1 && seen.length === 1)
    stopService()
    // The last tick came up to 15 s ago.
    await pass(clock, 74_000)
    alice.publish('orders.new', 'still fresh')
    await until('it was delivered', () => got.length === 2 && seen.length === 2)
    await pass(clock, 20_000)
    for (const all of events) expect(all.filter(({ type }) => type === 'stale')).toHaveLength(1)
    expect(await codeOf(() => alice.publish('orders.new', 'x'))).toBe('ERR_STALE')
    expect(await codeOf(() => alice.request('orders.new', 'x'))).toBe('ERR_STALE')
    // What comes now is not opened: no reason but this one is found.
    broker.publish('orders.new', seen[1]?.data)
    await until('the arrival is rejected', () => bob.rejections().stale === 1)
    expect(bob.rejections()).toEqual({ stale: 1 })
    await realm.startService({ store })
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

describe('a broker that plays old ticks again', () => {
  let recorded: Tapped[]
  let alice: SecureConnection

  beforeEach(async () => {
    await realm.startService({ tickMs: 5000 })
    const seen = await realm.tap(`${realm.root}.tick`)
    alice = await agent('alice')
    await pass(clock, MINUTE)
    await broker.flush()
    await until('ticks were recorded', () => seen.length > 12)
    // What is played again below passes the tap, too.
    recorded = [...seen]
    stopService()
  })

  function playAgain(): void {
    for (const { data } of recorded) broker.publish(`${realm.root}.tick`, data)
  }

  it('does not keep an agent fresh', async () => {
    for (let i = 0; i < 91; i++) {
      playAgain()
      await broker.flush()
      await pass(clock, 1000)
    }
    expect(await codeOf(() => alice.publish('orders.new', 'x'))).toBe('ERR_STALE')
  })

  it('gets no new agent in, with the pages of the real service to go with them', async () => {
    const hand = await HandRotator.start(realm, { epochs: () => [] })
    hand.isTicking = false
    const joining = failure(() => realm.agent('bob', {}, { timeout: 10_000 }))
    let isOver = false
    void joining.then(() => {
      isOver = true
    })
    await passingUntil(clock, 'bob gave up', () => {
      playAgain()
      return isOver
    })
    const error = await joining
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
    expect(error.hint).toContain('rotator')
  })
})

describe('a join under replay', () => {
  it('takes no tick without an own nonce, also after one that has', async () => {
    const hand = await HandRotator.start(realm)
    const [first] = hand.epochs
    if (first === undefined) throw new Error('no epoch')
    const seen = await realm.tap(`${realm.root}.tick`)
    hand.tick()
    await until('it was recorded', () => seen.length > 0)
    const old = seen[0]?.data ?? new Uint8Array(0)
    // The service has gone on to another epoch. The broker lets its ticks through, and puts the old tick and the
    // old epoch between a tick and the page that it leads to.
    hand.epochs.push(hand.world.epoch(first, { notBefore: clock.now() }))
    hand.served = [first]
    hand.beforePage = () => hand.publish('tick', old)
    const error = await passing(
      clock,
      failure(() => realm.agent('bob', {}, { timeout: 5000 })),
    )
    expect(error.code).toBe('ERR_EPOCH_INVALID')
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
    await passingUntil(clock, 'alice is fresh', () => events.some(({ type }) => type === 'fresh'))
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

  it('keeps a new agent out', async () => {
    const hand = await HandRotator.start(realm)
    hand.namedRevocations = [hand.world.revocation(realm.identity('mallory'), { since: clock.now() })]
    const error = await passing(
      clock,
      failure(() => realm.agent('alice', {}, { timeout: 5000 })),
    )
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
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
    await pass(clock, 80_000)
    expect(statuses.filter(({ type }) => type === 'stale')).toEqual([])
    expect(told.length).toBeGreaterThan(0)
    expect(told.every(({ data }) => Buffer.from(data).equals(Buffer.from(revocation)))).toBe(true)
  })
})

describe('rollback', () => {
  /** A store, and what a backup of it has. */
  function storeWithBackup() {
    const store = memoryRotationStore()
    const backup = (): RotationStore => {
      const copy = memoryRotationStore()
      copy.save(store.load())
      return copy
    }
    return { store, backup }
  }

  it('of the service to an older store is refused by an agent with a floor', async () => {
    const { store, backup } = storeWithBackup()
    const service = await realm.startService({ store })
    const old = backup()
    clock.advance(MINUTE)
    await service.rotate()
    const state = newFolder()
    const identity = realm.identity('alice')
    const first = await passing(clock, realm.agent(identity, {}, { ...PATIENT, state }))
    expect(first.epoch).toBe(2)
    await first.close()
    stopService()
    await realm.startService({ store: old })
    const join = (with_: object) => realm.agent(identity, {}, { ...PATIENT, ...with_ })
    const error = await passing(
      clock,
      failure(() => join({ state })),
    )
    expect(error.code).toBe('ERR_ROLLBACK')
    // Whoever remembers nothing cannot tell.
    const forgetful = await passing(clock, join({}))
    expect(forgetful.epoch).toBe(1)
    await forgetful.close()
    stopService()
    await realm.startService({ store })
    const again = await passing(clock, join({ state }))
    expect(again.epoch).toBe(2)
  })

  it('is refused also when the old service has gone on to a number that is high enough', async () => {
    const { store, backup } = storeWithBackup()
    const service = await realm.startService({ store })
    const old = backup()
    await service.rotate()
    const state = newFolder()
    const identity = realm.identity('alice')
    const first = await passing(clock, realm.agent(identity, {}, { ...PATIENT, state }))
    await first.close()
    stopService()
    clock.advance(1000)
    const forked = await realm.startService({ store: old })
    for (let i = 0; i < 3; i++) await forked.rotate()
    const error = await passing(
      clock,
      failure(() => realm.agent(identity, {}, { ...PATIENT, state })),
    )
    expect(error.code).toBe('ERR_ROLLBACK')
  })

  it('is reported by a running agent, which becomes stale', async () => {
    const { store, backup } = storeWithBackup()
    const service = await realm.startService({ store })
    const old = backup()
    await service.rotate()
    const alice = await agent('alice')
    const events = collectStatus(alice)
    stopService()
    await realm.startService({ store: old })
    await pass(clock, 100_000)
    expect(events.some(({ type }) => type === 'rollback')).toBe(true)
    expect(events.some(({ type }) => type === 'stale')).toBe(true)
    expect(await codeOf(() => alice.publish('orders.new', 'x'))).toBe('ERR_STALE')
  })
})

describe('clocks that are apart', () => {
  it.each([200_000, -200_000])('by more than 120 s (%i ms) end the join and say how far', async (by) => {
    await realm.startService()
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
