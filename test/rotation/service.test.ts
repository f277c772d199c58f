import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { samePublic, utf8 } from '../../src/base/bytes.ts'
import { MAX_REVOCATIONS } from '../../src/base/limits.ts'
import { deriveEpoch } from '../../src/keys/epochs.ts'
import { readNotice, verifyNotice } from '../../src/keys/notices.ts'
import { listHash } from '../../src/keys/plan.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { provesNonce, verifyTick } from '../../src/keys/ticks.ts'
import type { RotationEvent } from '../../src/rotation/events.ts'
import { beginRecord, fileRotationStore } from '../../src/rotation/file-store.ts'
import { memoryRotationStore, type RotationStore } from '../../src/rotation/store.ts'
import { QueryKind, writePlanCursor } from '../../src/wire/queries.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { signedPlan } from '../support/plans.ts'
import { TestRealm } from '../support/realm.ts'
import { DAY, HOUR, MINUTE, World } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'
import { Asking } from './asking.ts'

let clock: ManualClock
let realm: TestRealm
let asking: Asking
let events: RotationEvent[]

beforeEach(async () => {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false })
  asking = await Asking.start(realm)
  events = []
})
afterEach(() => realm.stop())

const onEvent = (event: RotationEvent): void => void events.push(event)
const ofType = <Type extends RotationEvent['type']>(type: Type) =>
  events.filter((event): event is Extract<RotationEvent, { type: Type }> => event.type === type)
const codes = (): readonly unknown[] => ofType('error').map(({ error }) => Object(error).code)
const key = (): string => realm.rotator.publicKey

/** All clocks go on but the one of timers. */
async function sleep(ms: number): Promise<void> {
  clock.suspend(ms - 2000)
  await pass(clock, 2000)
}

function revocation(changes: { readonly until?: number; readonly reason?: string } = {}): Uint8Array {
  return signRevocation(realm.authority, {
    realm: realm.authority.publicKey,
    identity: realm.identity('mallory').publicKey,
    since: clock.now(),
    until: clock.now() + 30 * DAY,
    reason: 'lost',
    past: 0,
    ...changes,
  })
}

describe('a rotation service that is alone', () => {
  it('counts at once under the first plan, and says so', async () => {
    const service = await realm.startService({ onEvent })
    expect(service).toMatchObject({ standing: 1, planVersion: 1, epoch: 1 })
    expect(ofType('standing')).toEqual([{ type: 'standing', standing: 1, planVersion: 1 }])
    const [tick] = await passing(clock, asking.tick())
    expect(tick).toMatchObject({ rotator: key(), standing: 1, planVersion: 1, leaves: 1 })
  })

  it('answers a ping with a tick that proves the nonce, in the inbox of whoever asked alone', async () => {
    await realm.startService()
    const other = await Asking.start(realm)
    const nonce = asking.ping()
    await passingUntil(clock, 'it has answered', () => asking.ticks.length === 1)
    const [parsed] = asking.ticks
    if (parsed === undefined) throw new Error('no tick')
    expect(provesNonce(engine, parsed, nonce)).toBe(true)
    expect(provesNonce(engine, parsed, engine.randomBytes(16))).toBe(false)
    expect(verifyTick({ engine, plan: realm.plan }, parsed)).toBe(true)
    expect(other.ticks).toEqual([])
  })

  it('publishes a notice as each epoch begins, and no later than a second after', async () => {
    const notices = await realm.tap(`${realm.root}.epoch`)
    await realm.startService({ onEvent })
    await until('the first notice is there', () => notices.length === 1)
    await pass(clock, 55 * MINUTE - 1000, MINUTE)
    expect(notices).toHaveLength(1)
    await passingUntil(clock, 'the second epoch has begun', () => notices.length === 2)
    const parsed = notices.map(({ data }) => readNotice(engine, data))
    expect(parsed.map(({ terms }) => terms.number)).toEqual([1, 2])
    expect(parsed.every((notice) => verifyNotice({ engine, plan: realm.plan }, notice))).toBe(true)
    expect(ofType('epoch').map(({ number }) => number)).toEqual([1, 2])
  })

  it('broadcasts every 15 s for each service of the plan, and at once after a new revocation', async () => {
    await realm.startService({ onEvent })
    await passingUntil(clock, 'the first one has come', () => asking.heard.length === 1)
    await pass(clock, 61_000)
    expect(asking.heard).toHaveLength(5)
    expect(asking.heard.every(({ leaves }) => leaves === 0)).toBe(true)
    asking.nc.publish(asking.subjects.revoke, revocation())
    await passingUntil(clock, 'it is told', () => asking.heard.length === 6)
    expect(ofType('revoked')).toMatchObject([{ reason: 'lost' }])
    expect(asking.heard[5]?.revocationsHash).not.toEqual(asking.heard[4]?.revocationsHash)
  })

  it('names a revocation in the ticks after it has taken it in, and lists what it names', async () => {
    await realm.startService()
    const bytes = revocation()
    asking.nc.publish(asking.subjects.revoke, bytes)
    await passingUntil(clock, 'it is told', () =>
      asking.heard.some((tick) => samePublic(tick.revocationsHash, listHash(engine, [bytes]))),
    )
    const [tick] = await passing(clock, asking.tick())
    expect(tick?.revocationsHash).toEqual(listHash(engine, [bytes]))
    expect(await asking.all(key(), QueryKind.revocations)).toEqual([bytes])
  })

  it('hands on its plan to whoever asks it, or asks anybody; of other versions it has nothing', async () => {
    await realm.startService()
    const { plan } = realm.kept
    expect((await asking.page(key(), QueryKind.plan)).statements).toEqual([plan])
    expect((await asking.page('any', QueryKind.plan)).statements).toEqual([plan])
    expect((await asking.page(key(), QueryKind.plan, writePlanCursor(1))).statements).toEqual([plan])
    expect((await asking.page(key(), QueryKind.plan, writePlanCursor(2))).statements).toEqual([])
    // Of those who do not have it, nobody answers for all.
    asking.query('any', QueryKind.plan, writePlanCursor(2))
    asking.query('any', QueryKind.revocations)
    await asking.page(key(), QueryKind.plan)
    expect(asking.pages).toHaveLength(5)
  })

  it('goes on under a plan that renews its own, complete at once', async () => {
    const service = await realm.startService({ onEvent })
    asking.nc.publish(asking.subjects.plan, realm.nextPlan().plan)
    await until('it has taken it up', () => service.planVersion === 2)
    expect(service.standing).toBe(1)
    expect(ofType('plan')).toMatchObject([{ version: 1 }, { version: 2 }])
    expect((await asking.page(key(), QueryKind.plan, writePlanCursor(1))).statements).toHaveLength(1)
  })

  it('takes up a plan that is handed over to it, too', async () => {
    const service = await realm.startService()
    asking.query(key(), QueryKind.handOver, realm.nextPlan().plan)
    await until('it has taken it up', () => service.planVersion === 2)
  })

  it('takes in a revocation that is handed over to it', async () => {
    await realm.startService({ onEvent })
    asking.query(key(), QueryKind.handOver, revocation())
    await until('it has it', () => ofType('revoked').length === 1)
  })

  it('says that its plan ends in the last 30 days, once a day, and that it has ended', async () => {
    const service = await realm.startService({ onEvent })
    await sleep(369 * DAY)
    expect(ofType('planEnding')).toEqual([])
    await sleep(2 * DAY)
    await pass(clock, MINUTE)
    expect(ofType('planEnding')).toEqual([{ type: 'planEnding', version: 1, until: realm.plan.until }])
    await pass(clock, DAY, MINUTE)
    expect(ofType('planEnding')).toHaveLength(2)
    await sleep(30 * DAY)
    await pass(clock, MINUTE)
    expect(codes()).toEqual(['ERR_PLAN_EXPIRED'])
    expect(service.standing).toBe(0)
  })

  it('reports a second plan of the version that it holds, and goes on with the first', async () => {
    const service = await realm.startService({ onEvent })
    const grounds = { rotators: realm.rotators, madeMs: clock.now(), originMs: clock.now() }
    const other = signedPlan(realm.authority, grounds)
    asking.nc.publish(asking.subjects.plan, other.plan)
    await until('it is reported', () => ofType('error').length === 1)
    expect(codes()).toEqual(['ERR_PLAN_CONFLICT'])
    expect(service.standing).toBe(1)
    expect((await asking.page(key(), QueryKind.plan)).statements).toEqual([realm.kept.plan])
  })

  it('takes no older plan, of whoever shows it', async () => {
    const older = realm.kept
    const service = await realm.startService({ onEvent, plan: realm.nextPlan({ former: undefined }) })
    asking.nc.publish(asking.subjects.plan, older.plan)
    asking.query(key(), QueryKind.handOver, older.plan)
    await asking.page(key(), QueryKind.plan)
    expect(service.planVersion).toBe(2)
    expect(codes()).toEqual([])
  })

  it('logs orders for fresh keys, and rejects nothing else than what is malformed', async () => {
    await realm.startService({ onEvent })
    asking.nc.publish(asking.subjects.rotate, utf8('?'))
    const junk = { name: '_', instance: '0011223344556677' }
    asking.nc.publish(asking.subjects.pings.replace('*.*', `${junk.name}.${junk.instance}`), utf8('?'), {
      reply: realm.inboxOf(junk),
    })
    await until('both are refused', () => ofType('error').length === 2)
    expect(codes()).toEqual(['ERR_MALFORMED', 'ERR_MALFORMED'])
  })

  it('hands on announcements that came on the subject of their instance, and no others', async () => {
    await realm.startService({ onEvent })
    const world = new World({ like: realm })
    const announced = ['bob', 'carol'].map((name) =>
      world.announcement(realm.identity(name), deriveEpoch(engine, realm.plan, 1)),
    )
    const [ofBob, ofCarol] = announced
    if (ofBob === undefined || ofCarol === undefined) throw new Error('nothing is announced')
    const listed = (): Promise<readonly Uint8Array[]> => asking.all(key(), QueryKind.announcements)
    const { instance } = ofBob.announcement
    asking.nc.publish(asking.subjects.announce('mallory', instance), ofBob.bytes)
    asking.query(key(), QueryKind.handOver, ofBob.bytes)
    expect(await listed()).toEqual([])
    asking.nc.publish(asking.subjects.announce('bob', instance), ofBob.bytes)
    expect(await listed()).toEqual([ofBob.bytes])
    // Handed over by the very instance.
    const carol = await Asking.start(realm, { name: 'carol', instance: ofCarol.announcement.instance })
    carol.query(key(), QueryKind.handOver, ofCarol.bytes)
    await carol.page(key(), QueryKind.plan)
    expect(await listed()).toEqual([ofBob.bytes, ofCarol.bytes])
    expect(ofType('announced').map(({ name }) => name)).toEqual(['bob', 'carol'])
  })

  it('says nothing any more once it is closed', async () => {
    const service = await realm.startService()
    await service.close()
    asking.ping()
    asking.query(key(), QueryKind.plan)
    await pass(clock, 30_000)
    await realm.settled()
    expect(asking.ticks).toEqual([])
    expect(asking.pages).toEqual([])
  })
})

describe('a question', () => {
  const STRANGE = 'ffffffffffffffff'
  it('is answered in the inbox of the very instance that its subject names, and nowhere else', async () => {
    await realm.startService()
    const elsewhere = await realm.tap(`${realm.root}.inbox.${STRANGE}`)
    const anywhere = await realm.tap('elsewhere')
    for (const reply of [`${realm.root}.inbox.${STRANGE}`, 'elsewhere']) {
      asking.ping(engine.randomBytes(16), reply)
      asking.query(key(), QueryKind.plan, undefined, reply)
    }
    await passing(clock, asking.tick())
    await asking.page(key(), QueryKind.plan)
    await pass(clock, 1000)
    await realm.settled()
    expect([...elsewhere, ...anywhere]).toEqual([])
    // Nor where its own inbox would have been.
    expect([asking.ticks.length, asking.pages.length]).toEqual([1, 1])
  })

  it('with the instance of another one takes nothing from that one, whoever was first', async () => {
    await realm.startService()
    const instance = engine.randomBytes(8)
    const owner = await Asking.start(realm, { name: 'bob', instance })
    const thief = await Asking.start(realm, { name: 'mallory', instance })
    const world = new World({ like: realm })
    const epoch = deriveEpoch(engine, realm.plan, 1)
    for (const { name } of [thief, owner]) {
      const { bytes } = world.announcement(realm.identity(name), epoch, { instance })
      asking.nc.publish(asking.subjects.announce(name, instance), bytes)
      await passing(clock, asking.tick())
    }
    await passingUntil(clock, 'both are listed', () => clock.monotonic() > 40_000, 1000)
    await passing(clock, thief.tick())
    await passing(clock, thief.page(key(), QueryKind.announcements))
    thief.ping(engine.randomBytes(16), owner.inbox)
    thief.query(key(), QueryKind.announcements, undefined, owner.inbox)
    await passing(clock, asking.tick())
    expect([owner.ticks, owner.pages]).toEqual([[], []])
    await passing(clock, owner.tick())
    expect((await passing(clock, owner.page(key(), QueryKind.announcements))).statements).toHaveLength(2)
  })
})

describe('a service that starts', () => {
  let store: RotationStore
  beforeEach(() => {
    store = memoryRotationStore()
  })

  it('does not without a record, and says how one is begun', async () => {
    const none = memoryRotationStore({ isBegun: false })
    const error = await failure(() => realm.startService({ store: none }))
    expect(error).toMatchObject({ code: 'ERR_STATE' })
    expect(error.hint).toContain('subrosa rotator begin')
  })

  it('does not with an empty record and without a plan, whatever the broker shows it', async () => {
    const { plan: _, ...rest } = { plan: undefined, store }
    const error = await failure(() => realm.startService({ ...rest, plan: undefined as never }))
    expect(error).toMatchObject({ code: 'ERR_STATE' })
  })

  it('does not under a plan that does not name it, or that another authority has signed', async () => {
    const stranger = realm.identity('stranger')
    expect((await failure(() => realm.startService({ identity: stranger }))).code).toBe('ERR_PLAN_INVALID')
    const grounds = { rotators: realm.rotators, madeMs: clock.now(), originMs: clock.now() }
    const plan = signedPlan(newAuthority(), grounds, { realm: realm.authority.publicKey })
    expect((await failure(() => realm.startService({ plan }))).code).toBe('ERR_PLAN_INVALID')
  })

  it('does with a plan that has ended, and counts for nobody until there is another one', async () => {
    await pass(clock, 400 * DAY, 400 * DAY)
    const service = await realm.startService({ onEvent })
    expect(service.standing).toBe(0)
    expect(ofType('error')).toMatchObject([{ error: { code: 'ERR_PLAN_EXPIRED' } }])
    asking.nc.publish(asking.subjects.plan, realm.nextPlan().plan)
    await until('it counts again', () => service.standing === 1)
  })

  it('again is another process, and has the plan and every revocation of its record', async () => {
    const first = await realm.startService({ store })
    const bytes = revocation()
    asking.nc.publish(asking.subjects.revoke, bytes)
    await passingUntil(clock, 'it is told', () => asking.heard.length === 2)
    const [before] = await passing(clock, asking.tick())
    await first.close()
    const again = await realm.startService({ store, plan: realm.kept, onEvent })
    const [after] = await passing(clock, asking.tick())
    expect(again.standing).toBe(1)
    expect(after?.revocationsHash).toEqual(before?.revocationsHash)
    expect(after?.process).not.toEqual(before?.process)
  })

  it('again holds more revocations than one door lets in: what is agreed has no quota', async () => {
    const list = Array.from({ length: MAX_REVOCATIONS + 50 }, (_, i) => revocation({ reason: `${i}` }))
    const plan = realm.nextPlan({ former: undefined, list })
    await (await realm.startService({ store, plan })).close()
    await realm.startService({ store, plan })
    const [tick] = await passing(clock, asking.tick())
    expect(tick?.revocationsHash).toEqual(listHash(engine, list))
    expect(await asking.all(key(), QueryKind.revocations)).toHaveLength(list.length)
    expect(await asking.all(key(), QueryKind.plan)).toHaveLength(list.length + 1)
  })

  it('with a clock that is ahead has its revocations when that is right again', async () => {
    const first = await realm.startService({ store })
    asking.nc.publish(asking.subjects.revoke, revocation())
    await passingUntil(clock, 'it is told', () => asking.heard.length === 2)
    const [before] = await passing(clock, asking.tick())
    await first.close()
    clock.jump(365 * DAY)
    await realm.startService({ store })
    await pass(clock, MINUTE)
    clock.jump(-365 * DAY)
    await pass(clock, 2000)
    const [after] = await passing(clock, asking.tick())
    expect(after?.revocationsHash).toEqual(before?.revocationsHash)
  })

  it('with a clock that is behind goes on with its plan, and takes up the one of its operator later', async () => {
    await (await realm.startService({ store })).close()
    await pass(clock, MINUTE)
    realm.nextPlan()
    clock.jump(-HOUR)
    const service = await realm.startService({ store, onEvent })
    expect(service.planVersion).toBe(1)
    clock.jump(HOUR)
    await passingUntil(clock, 'it has taken it up', () => service.planVersion === 2)
    expect(ofType('error')).toEqual([])
  })

  it('is given an older plan by its operator, and goes by the one of its record', async () => {
    const older = realm.kept
    const first = await realm.startService({ store })
    asking.nc.publish(asking.subjects.plan, realm.nextPlan().plan)
    await until('it has taken it up', () => first.planVersion === 2)
    await first.close()
    const again = await realm.startService({ store, plan: older })
    expect(again.planVersion).toBe(2)
  })

  it('with another plan of the version in its record refuses', async () => {
    await (await realm.startService({ store })).close()
    const grounds = { rotators: realm.rotators, madeMs: clock.now(), originMs: clock.now() }
    const plan = signedPlan(realm.authority, grounds)
    expect((await failure(() => realm.startService({ store, plan }))).code).toBe('ERR_PLAN_CONFLICT')
  })

  it('on a folder that another one has does not', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'subrosa-rotation-'))
    beginRecord(folder)
    await realm.startService({ store: fileRotationStore(folder) })
    expect(await failure(() => fileRotationStore(folder))).toMatchObject({ code: 'ERR_STATE' })
    rmSync(folder, { recursive: true })
  })

  it('releases its record where it cannot', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'subrosa-rotation-'))
    const held = fileRotationStore(folder)
    expect((await failure(() => realm.startService({ store: held }))).code).toBe('ERR_STATE')
    expect(() => fileRotationStore(folder).close()).not.toThrow()
    rmSync(folder, { recursive: true })
  })

  it('refuses an interval that no timer keeps, and a schedule where the plan says it', async () => {
    await expect(realm.startService({ tickMs: 0 })).rejects.toThrow(RangeError)
    await expect(realm.startService({ schedule: {} })).rejects.toThrow(TypeError)
  })
})

describe('a revocation', () => {
  it('that cannot be written down is named in no tick, and is taken in when it can', async () => {
    const store = memoryRotationStore()
    let isFull = true
    const full: RotationStore = {
      ...store,
      append: (added) => {
        if (isFull) throw new Error('the disk is full')
        store.append(added)
      },
    }
    await realm.startService({ store: full, onEvent })
    const [before] = await passing(clock, asking.tick())
    const bytes = revocation()
    asking.nc.publish(asking.subjects.revoke, bytes)
    asking.nc.publish(asking.subjects.plan, utf8('?'))
    await until('it has seen both', () => codes().includes('ERR_MALFORMED'))
    const [after] = await passing(clock, asking.tick())
    expect(after?.revocationsHash).toEqual(before?.revocationsHash)
    expect(await asking.all(key(), QueryKind.revocations)).toEqual([])
    expect(ofType('error')).toHaveLength(2)
    isFull = false
    asking.nc.publish(asking.subjects.revoke, bytes)
    await passingUntil(clock, 'it is taken in', () => ofType('revoked').length === 1)
    expect(store.load()?.revocations).toEqual([bytes])
  })

  it('leaves the record 30 days after its end, by the plan that the authority has made since, where nobody else can agree', async () => {
    const store = memoryRotationStore()
    const service = await realm.startService({ store, onEvent })
    asking.nc.publish(asking.subjects.revoke, revocation({ until: clock.now() + HOUR }))
    await until('it has it', () => ofType('revoked').length === 1)
    const takeUp = async (): Promise<void> => {
      const plan = realm.nextPlan({ list: [], former: undefined })
      asking.nc.publish(asking.subjects.plan, plan.plan)
      await passingUntil(clock, 'it is taken up', () => service.planVersion === realm.plan.version)
      await sleep(2 * HOUR)
    }
    await sleep(29 * DAY)
    await takeUp()
    await sleep(10 * DAY)
    expect(store.load()?.revocations).toHaveLength(1)
    await takeUp()
    expect(store.load()?.revocations).toEqual([])
  })

  it('stays where the only service has a clock that is ahead for more than a day', async () => {
    const store = memoryRotationStore()
    await realm.startService({ store, onEvent })
    asking.nc.publish(asking.subjects.revoke, revocation())
    await until('it has it', () => ofType('revoked').length === 1)
    clock.jump(90 * DAY)
    for (let hour = 0; hour < 30; hour++) await sleep(HOUR)
    clock.jump(-90 * DAY)
    await sleep(HOUR)
    expect(store.load()?.revocations).toHaveLength(1)
  })

  it('that was forgotten and stands beside the plan keeps nobody from starting', async () => {
    const store = memoryRotationStore()
    const plan = realm.nextPlan({ former: undefined, list: [revocation({ until: clock.now() + HOUR })] })
    const first = await realm.startService({ store, plan })
    await first.close()
    await sleep(33 * DAY)
    store.replace([])
    const again = await realm.startService({ store, plan, onEvent })
    expect(again.standing).toBe(1)
    await pass(clock, 2000)
    expect(codes()).toEqual([])
  })

  it('stays where a clock is ahead for less than a day: it is hidden for that time, and comes back', async () => {
    const store = memoryRotationStore()
    await realm.startService({ store, onEvent })
    asking.nc.publish(asking.subjects.revoke, revocation())
    await until('it has it', () => ofType('revoked').length === 1)
    await sleep(2 * DAY)
    const [before] = await passing(clock, asking.tick())
    clock.jump(365 * DAY)
    for (let hour = 0; hour < 23; hour++) await sleep(HOUR)
    const [ahead] = await passing(clock, asking.tick())
    expect(ahead?.revocationsHash).not.toEqual(before?.revocationsHash)
    clock.jump(-365 * DAY)
    for (let hour = 0; hour < 3; hour++) await sleep(HOUR)
    const [after] = await passing(clock, asking.tick())
    expect(after?.revocationsHash).toEqual(before?.revocationsHash)
    expect(store.load()?.revocations).toHaveLength(1)
  })

  it('of this very service by an authority makes it count for nobody', async () => {
    const service = await realm.startService({ onEvent })
    const bytes = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: key(),
      since: clock.now(),
      until: clock.now() + DAY,
      reason: 'stolen',
      past: 0,
    })
    asking.nc.publish(asking.subjects.revoke, bytes)
    await passingUntil(clock, 'it has it', () => ofType('revoked').length === 1)
    await pass(clock, 2000)
    expect(service.standing).toBe(0)
    expect(ofType('standing').map(({ standing }) => standing)).toEqual([1, 0])
    const [tick] = await passing(clock, asking.tick())
    expect(tick?.standing).toBe(0)
  })
})

describe('a clock that jumps', () => {
  it('leaves nothing behind: the service says its wall clock, and when that is right again all is as before', async () => {
    const store = memoryRotationStore()
    const service = await realm.startService({ store })
    const record = store.load()
    for (const jump of [HOUR, -HOUR, 365 * DAY, -400 * DAY]) {
      clock.jump(jump)
      await pass(clock, 20_000)
      const [wrong] = await passing(clock, asking.tick())
      expect(Math.abs((wrong?.now ?? 0) - clock.now())).toBeLessThan(MINUTE)
      clock.jump(-jump)
      await pass(clock, 2000)
      expect(store.load()).toEqual(record)
      expect(service).toMatchObject({ standing: 1, planVersion: 1, epoch: 1 })
    }
  })

  it('ahead for a minute loses nothing of the directory', async () => {
    await realm.startService()
    await passing(clock, realm.agent('bob'))
    const before = await passing(clock, asking.all(key(), QueryKind.announcements))
    expect(before).toHaveLength(1)
    clock.jump(30 * DAY)
    await pass(clock, MINUTE)
    clock.jump(-30 * DAY)
    await pass(clock, 2000)
    expect(await passing(clock, asking.all(key(), QueryKind.announcements))).toEqual(before)
  })
})
