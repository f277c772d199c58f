import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import type { RotationEvent } from '../../src/rotation/events.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { may, newIdentity } from '../support/identities.ts'
import { pass, passing } from '../support/passing.ts'
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

  it('takes no longer after hundreds of epochs: they follow from the plan', async () => {
    const clock = new ManualClock()
    await start({ clock, rotation: false })
    await HandRotator.start(realm)
    const state = await newFolder()
    const identity = realm.identity('away')
    const first = await passing(clock, realm.agent(identity, {}, { state }))
    expect(first.epoch).toBe(1)
    await passing(clock, first.close())
    clock.jump(250 * 55 * 60_000)
    const since = clock.monotonic()
    const again = await passing(clock, realm.agent(identity, {}, { state }))
    expect(again.epoch).toBe(251)
    expect(clock.monotonic() - since).toBeLessThan(2000)
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
      past: 0 as const,
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

  it('does not depend on the token of a rotation service: the plan names its key', async () => {
    const clock = new ManualClock()
    await start({ clock, rotation: false })
    await HandRotator.start(realm)
    clock.jump(400 * DAY - 60_000)
    const agent = await passing(clock, realm.agent('agent'))
    expect(agent.planVersion).toBe(1)
  })
})

describe('an epoch that a rotation service publishes', () => {
  it('is compared and believed by nobody', async () => {
    const clock = new ManualClock()
    const realm = await TestRealm.start({ clock, rotation: false })
    const hand = await HandRotator.start(realm)
    const agent = await passing(clock, realm.agent('agent'))
    const events = collectStatus(agent)
    const epoch = hand.epoch()
    hand.notice()
    hand.notice({ ...epoch, notAfter: clock.now() + 1 })
    await until('it is reported', () => events.some(({ type }) => type === 'epochDiffers'))
    expect(events.filter(({ type }) => type === 'epochDiffers')).toEqual([
      { type: 'epochDiffers', rotator: realm.rotator.publicKey, number: epoch.number },
    ])
    await pass(clock, 60_000)
    expect(agent.epoch).toBe(epoch.number)
    agent.publish('orders.new', 'x', { to: ['agent'] })
    await realm.stop()
  })
})

describe('an agent that only publishes', () => {
  it('can publish at every moment of a rotation', async () => {
    const clock = new ManualClock()
    const schedule = { periodMs: 90_000, leadMs: 60_000, graceMs: 60_000 }
    const realm = await TestRealm.start({ clock, schedule })
    const sensor = await passing(clock, realm.agent('sensor', { permissions: may(['readings.>'], []) }))
    const reader = await passing(clock, realm.agent('reader', { permissions: may([], ['readings.>']) }))
    await passing(clock, sensor.waitForAudience('readings.1'))
    const got: string[] = []
    reader.subscribe('readings.>', { callback: (_error, m) => got.push(m.string()) })
    await reader.flush()
    let sent = 0
    for (let second = 0; second < 4 * 90; second++) {
      sensor.publish('readings.1', String(sent++))
      // Both sides hear of each other in between.
      await Promise.all([sensor.flush(), reader.flush()])
      clock.advance(1000)
    }
    expect(sensor.epoch).toBeGreaterThanOrEqual(4)
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
        past: 0,
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
