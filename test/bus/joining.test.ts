import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { signEpoch } from '../../src/keys/epochs.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import type { RotationEvent } from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeEpoch, decodeStatement } from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, may, newIdentity } from '../support/identities.ts'
import { passing, passingUntil } from '../support/passing.ts'
import { collectStatus, TestRealm, type TestRealmOptions } from '../support/realm.ts'
import { failure, until } from '../support/until.ts'

const DAY = 86_400_000

describe('joining a realm', () => {
  let realm: TestRealm
  const folders: string[] = []

  afterEach(async () => {
    await realm.stop()
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true })
  })

  async function start(options: TestRealmOptions): Promise<TestRealm> {
    realm = await TestRealm.start(options)
    return realm
  }

  async function newFolder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'subrosa-state-'))
    folders.push(folder)
    return folder
  }

  it('closes a gap of more epochs than one page holds', async () => {
    const clock = new ManualClock()
    await start({ clock })
    const state = await newFolder()
    const identity = realm.identity('away')
    const first = await passing(clock, realm.agent(identity, {}, { state }))
    await first.close()
    for (let i = 0; i < 250; i++) {
      clock.advance(1)
      await realm.service?.rotate()
    }
    const again = await passing(clock, realm.agent(identity, {}, { state }))
    expect(again.epoch).toBe(251)
  })

  it('works with a clock that is behind, right after an epoch began', async () => {
    const clock = new ManualClock()
    await start({ clock })
    const behind = new ManualClock(clock.now() - 20_000)
    const both = {
      advance: (ms: number) => {
        clock.advance(ms)
        behind.advance(ms)
      },
    }
    const late = await passing(both, realm.agent('late', {}, { clock: behind }))
    const other = await passing(both, realm.agent('other'))
    const got: string[] = []
    for (const bus of [late, other]) {
      bus.subscribe('talk', { callback: (_error, m) => got.push(`${m.sender.name} to ${bus.name}`) })
      await bus.flush()
    }
    await passing(both, late.waitForAudience('talk'))
    await passing(both, other.waitForAudience('talk'))
    late.publish('talk', 'x', { to: ['other'] })
    other.publish('talk', 'x', { to: ['late'] })
    await until('both have heard each other', () => got.length === 2)
  })

  it('learns a revocation whose revoker has no token any more, before an epoch carries it', async () => {
    const clock = new ManualClock()
    const events: RotationEvent[] = []
    await start({ clock, rotation: { onEvent: (event) => events.push(event) } })
    const identity = newIdentity(realm.authority, 'revoker', {
      issuedAtMs: clock.now() - 1000,
      expiresAtMs: clock.now() + 60_000,
      roles: ['revoker'],
    }).identity
    const bad = realm.identity('bad')
    const revocation = {
      realm: realm.authority.publicKey,
      identity: bad.publicKey,
      since: clock.now(),
      until: clock.now() + DAY,
      reason: 'test',
    }
    const broker = await realm.connection()
    broker.publish(`${realm.root}.revoke`, signRevocation(identity, revocation, identity.token))
    await until('the service has it', () => events.some(({ type }) => type === 'revoked'))
    clock.advance(70_000)
    const late = await passing(clock, realm.agent('late'))
    expect(late.epoch).toBe(1)
    expect(
      (
        await passing(
          clock,
          failure(() => realm.agent(bad)),
        )
      ).code,
    ).toBe('ERR_REVOKED')
  })

  it('refuses a token from the future, which would outlive every revocation', async () => {
    const clock = new ManualClock()
    await start({ clock })
    const error = await failure(() => realm.agent('early', { issuedAtMs: clock.now() + 180_000 }))
    expect(error.code).toBe('ERR_TOKEN_INVALID')
    expect(error.message).toContain('in the future')
  })

  it('goes on after a rotator let its token expire: nothing that agents refuse was stored', async () => {
    const clock = new ManualClock()
    await start({ clock, rotation: false })
    const store = { ...memoryRotationStore(), close: () => {} }
    const short = newIdentity(realm.authority, 'rotator', {
      issuedAtMs: clock.now() - 1000,
      expiresAtMs: clock.now() + 60_000,
      roles: ['rotator'],
    })
    const service = await realm.startService({ identity: short.identity, store })
    clock.advance(61_000)
    for (let i = 0; i < 3; i++) await expect(service.rotate()).rejects.toThrow(/expired/)
    expect(store.load().epochs).toHaveLength(1)
    service.close()
    const renewed = newIdentity(realm.authority, 'rotator', {
      issuedAtMs: clock.now(),
      roles: ['rotator'],
      seed: short.seed,
    })
    await realm.startService({ identity: renewed.identity, store })
    const agent = await passing(clock, realm.agent('agent'))
    expect(agent.epoch).toBe(2)
  })
})

describe('an epoch that arrives out of turn', () => {
  it('raises no alarm: one that leaves a gap waits until a tick names it, an old one is no news', async () => {
    const clock = new ManualClock()
    const realm = await TestRealm.start({ clock, rotation: false })
    const published = await realm.tap(`${realm.root}.epoch`)
    await realm.startService()
    const agent = await passing(clock, realm.agent('agent'))
    await until('the first epoch was seen', () => published.length === 1)
    // Its ticks would go on to name the first epoch.
    realm.service?.close()
    const events = collectStatus(agent)
    const first = decodeStatement(WireType.epoch, published[0]?.data ?? new Uint8Array(0)).structure
    const follow = (structure: Uint8Array) => {
      const epoch = decodeEpoch(structure)
      return signEpoch(
        realm.rotator,
        { ...epoch, number: epoch.number + 1, prevHash: engine.sha256(structure), notBefore: clock.now() },
        realm.rotator.token,
      )
    }
    const second = follow(first)
    const third = follow(decodeStatement(WireType.epoch, second).structure)
    const broker = await realm.connection()
    broker.publish(`${realm.root}.epoch`, third)
    broker.publish(`${realm.root}.epoch`, published[0]?.data)
    broker.publish(`${realm.root}.epoch`, second)
    await passingUntil(clock, 'the one that follows was accepted', () => agent.epoch === 2, 500)
    broker.publish(`${realm.root}.epoch`, published[0]?.data)
    broker.publish(`${realm.root}.epoch`, third)
    await passingUntil(clock, 'and then the next one', () => agent.epoch === 3, 500)
    expect(events.filter(({ type }) => type === 'rollback')).toEqual([])
    await realm.stop()
  })
})

describe('an agent that only publishes', () => {
  it('can publish at every moment of a rotation', async () => {
    const clock = new ManualClock()
    const realm = await TestRealm.start({ clock })
    const sensor = await passing(clock, realm.agent('sensor', { permissions: may(['readings.>'], []) }))
    const reader = await passing(clock, realm.agent('reader', { permissions: may([], ['readings.>']) }))
    await passing(clock, sensor.waitForAudience('readings.1'))
    const got: string[] = []
    reader.subscribe('readings.>', { callback: (_error, m) => got.push(m.string()) })
    await reader.flush()
    let sent = 0
    for (let rotation = 0; rotation < 4; rotation++) {
      const before = sensor.epoch
      await realm.service?.rotate()
      for (let second = 0; second < 35; second++) {
        sensor.publish('readings.1', String(sent++))
        // Both sides hear of each other in between.
        await Promise.all([sensor.flush(), reader.flush()])
        clock.advance(1000)
      }
      await until('the sensor has moved on', () => sensor.epoch === before + 1)
    }
    await until('all came', () => got.length === sent)
    await realm.stop()
  })
})

describe('a worker', () => {
  it('answers nobody who was revoked after asking', async () => {
    const realm = await TestRealm.start()
    const asker = realm.identity('asker')
    const alice = await realm.agent(asker)
    const bob = await realm.agent('bob')
    await alice.waitForAudience('tools.slow')
    const asked: SecureMessage[] = []
    bob.subscribe('tools.slow', { callback: (_error, m) => asked.push(m) })
    await bob.flush()
    const reply = failure(() => alice.request('tools.slow', 'q', { timeout: 5000 }))
    await until('bob was asked', () => asked.length === 1)
    const broker = await realm.connection()
    broker.publish(
      `${realm.root}.revoke`,
      signRevocation(realm.authority, {
        realm: realm.authority.publicKey,
        identity: asker.publicKey,
        since: Date.now(),
        until: Date.now() + DAY,
        reason: 'test',
      }),
    )
    await until('bob knows', () => bob.audience('tools.slow').every(({ name }) => name !== 'asker'))
    const error = await failure(() => asked[0]?.respond('secret'))
    expect(error.code).toBe('ERR_EMPTY_AUDIENCE')
    await alice.close()
    expect((await reply).code).toBe('ERR_CLOSED')
    await realm.stop()
  })

  it('sends its hint to inboxes only, and not without end: it is no reflector', async () => {
    const realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    const worker = await realm.agent('worker')
    const other = await realm.agent('other')
    await alice.waitForAudience('tools.x', { atLeast: 2 })
    worker.subscribe('tools.x', { queue: 'q', callback: () => {} })
    await worker.flush()
    const seen = await realm.tap('>')
    alice.publish('tools.x', 'not for the worker', { to: ['other'], mode: 'message' })
    const sealed = () => seen.find(({ subject }) => subject === 'tools.x')
    await until('the broker has it', () => sealed() !== undefined)
    const wire = sealed()?.data ?? new Uint8Array(0)
    const broker = await realm.connection()
    for (let i = 0; i < 300; i++) broker.publish('tools.x', wire, { reply: 'orders.victim' })
    for (let i = 0; i < 300; i++) broker.publish('tools.x', wire, { reply: `_INBOX.victim.${i}` })
    await broker.flush()
    await worker.flush()
    await until('some hints came', () => seen.some(({ subject }) => subject.startsWith('_INBOX.victim')))
    expect(seen.some(({ subject }) => subject === 'orders.victim')).toBe(false)
    expect(seen.filter(({ subject }) => subject.startsWith('_INBOX.victim')).length).toBeLessThan(150)
    void other
    await realm.stop()
  })
})
