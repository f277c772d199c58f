import { afterEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { deriveEpoch } from '../../src/keys/epochs.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import type { RotationEvent } from '../../src/rotation/events.ts'
import type { RotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore, type RotationStore } from '../../src/rotation/store.ts'
import { QueryKind } from '../../src/wire/queries.ts'
import { ManualClock } from '../support/clock.ts'
import { HandRotator } from '../support/hand-rotator.ts'
import { engine, NOTHING } from '../support/identities.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { TestRealm } from '../support/realm.ts'
import { DAY, MINUTE, World } from '../support/statements.ts'
import { until } from '../support/until.ts'
import { Asking } from './asking.ts'

/** One service as a test runs it: its record outlives its process. */
interface Member {
  readonly identity: Identity
  store: RotationStore
  service: RotationService | undefined
  readonly events: RotationEvent[]
}

let clock: ManualClock
let realm: TestRealm
let asking: Asking
let members: Member[]

afterEach(() => realm.stop())

/** A realm with so many services in its plan, none of which runs yet. */
async function begin(rotators: number, threshold?: number): Promise<void> {
  clock = new ManualClock()
  const most = threshold === undefined ? {} : { threshold }
  realm = await TestRealm.start({ clock, rotators, rotation: false, ...most })
  asking = await Asking.start(realm)
  members = realm.rotators.map(memberOf)
}

function memberOf(identity: Identity): Member {
  return { identity, store: memoryRotationStore(), service: undefined, events: [] }
}

/** A rotation service that no plan names yet. */
function newcomer(name: string): Member {
  const member = memberOf(realm.identity(name, { permissions: NOTHING }))
  members.push(member)
  return member
}

const at = (which: number): Member => {
  const member = members[which]
  if (member === undefined) throw new Error(`there is no ${which}`)
  return member
}

async function run(member: Member, options: { readonly clock?: ManualClock } = {}): Promise<RotationService> {
  const { identity, store, events } = member
  member.service = await realm.startService({
    identity,
    store,
    onEvent: (event) => events.push(event),
    ...options,
  })
  return member.service
}

async function stop(member: Member): Promise<void> {
  await member.service?.close()
  member.service = undefined
}

async function runAll(): Promise<void> {
  for (const member of members) await run(member)
  await passingUntil(clock, 'all of them count', () =>
    members.every(({ service }) => service?.standing === 1),
  )
}

function revocation(reason = 'lost'): Uint8Array {
  return signRevocation(realm.authority, {
    realm: realm.authority.publicKey,
    identity: realm.identity('mallory').publicKey,
    since: clock.now(),
    until: clock.now() + 30 * DAY,
    reason,
    past: 0,
  })
}

const keysOf = (...of: readonly Member[]): readonly string[] => of.map(({ identity }) => identity.publicKey)
const held = ({ store }: Member): readonly string[] => store.load()?.revocations.map(hex) ?? []
const handTo = (member: Member, statement: Uint8Array): void =>
  void asking.query(member.identity.publicKey, QueryKind.handOver, statement)
const standings = (): readonly (number | undefined)[] => members.map(({ service }) => service?.standing)
const ofType = <Type extends RotationEvent['type']>({ events }: Member, type: Type) =>
  events.filter((event): event is Extract<RotationEvent, { type: Type }> => event.type === type)

describe('several rotation services', () => {
  it('of the first plan count at once, each for itself', async () => {
    await begin(3)
    await run(at(0))
    expect(at(0).service?.standing).toBe(1)
    await run(at(2))
    expect(standings()).toEqual([1, undefined, 1])
    const ticks = await passing(clock, asking.tick(2))
    expect(ticks.map(({ rotator }) => rotator).sort()).toEqual([...keysOf(at(0), at(2))].sort())
  })

  it('take in a revocation that only one of them has heard of', async () => {
    await begin(3)
    await runAll()
    const bytes = revocation()
    handTo(at(1), bytes)
    await passingUntil(clock, 'all have it', () =>
      members.every((member) => held(member).includes(hex(bytes))),
    )
    const ticks = await passing(clock, asking.tick(3))
    expect(new Set(ticks.map(({ revocationsHash }) => hex(revocationsHash))).size).toBe(1)
  })

  it('take in what one of them heard of while the others were away', async () => {
    await begin(3)
    await runAll()
    await stop(at(2))
    const bytes = revocation()
    handTo(at(0), bytes)
    await passingUntil(clock, 'both have it', () => held(at(0)).length === 1 && held(at(1)).length === 1)
    const service = await run(at(2))
    // It may answer at once: what it lacks a threshold of others holds.
    expect(service.standing).toBe(1)
    await passingUntil(clock, 'it has it', () => held(at(2)).includes(hex(bytes)))
  })

  it('find announcements that one of them has missed', async () => {
    await begin(3)
    await run(at(0))
    await run(at(1))
    // Nobody is there who would hand it over.
    const world = new World({ like: realm })
    const { announcement, bytes } = world.announcement(
      realm.identity('bob'),
      deriveEpoch(engine, realm.plan, 1),
    )
    asking.nc.publish(asking.subjects.announce('bob', announcement.instance), bytes)
    await run(at(2))
    const listed = async (): Promise<number> =>
      (await asking.page(at(2).identity.publicKey, QueryKind.announcements)).statements.length
    expect(await listed()).toBe(0)
    await pass(clock, 2 * MINUTE)
    expect(await passing(clock, listed())).toBe(1)
  })
})

describe('a new plan of several services', () => {
  it('that renews the one before is in force when each has asked another one', async () => {
    await begin(3)
    await runAll()
    asking.nc.publish(asking.subjects.plan, realm.nextPlan().plan)
    await passingUntil(clock, 'all have taken it up', () =>
      members.every(({ service }) => service?.planVersion === 2),
    )
    await passingUntil(clock, 'all count', () => members.every(({ service }) => service?.standing === 1))
  })

  it('counts nowhere as long as a service is alone: those that stay ask too', async () => {
    await begin(3)
    await runAll()
    await stop(at(1))
    await stop(at(2))
    asking.nc.publish(asking.subjects.plan, realm.nextPlan().plan)
    await passingUntil(clock, 'it has taken it up', () => at(0).service?.planVersion === 2)
    await pass(clock, 2 * MINUTE)
    expect(at(0).service?.standing).toBe(0)
    const [tick] = await passing(clock, asking.tick())
    expect(tick).toMatchObject({ standing: 0, planVersion: 2 })
    // It hands over what it holds, and no directory.
    expect((await asking.page(at(0).identity.publicKey, QueryKind.plan)).statements).toHaveLength(1)
    expect((await asking.page(at(0).identity.publicKey, QueryKind.buckets)).statements).toEqual([])
    await run(at(1))
    await passingUntil(clock, 'both count', () =>
      standings()
        .slice(0, 2)
        .every((standing) => standing === 1),
    )
  })

  it('brings a revocation to a new service, from those that stay and from the one that it replaces', async () => {
    await begin(3)
    await runAll()
    const bytes = revocation()
    handTo(at(0), bytes)
    await passingUntil(clock, 'all have it', () => members.every((member) => held(member).length === 1))
    const added = newcomer('rotator-4')
    realm.nextPlan({ rotators: keysOf(at(1), at(2), added) })
    for (const member of members) await stop(member)
    await run(added)
    await pass(clock, 20_000)
    // Nobody else is there, and it has nothing that it could say.
    expect(added.service?.standing).toBe(0)
    asking.ping()
    await pass(clock, 2000)
    expect(asking.ticks).toEqual([])
    // One that stays, and the one that it replaces, which counts no more.
    await run(at(0))
    await run(at(1))
    await passingUntil(
      clock,
      'those of it count',
      () => at(1).service?.standing === 1 && added.service?.standing === 1,
    )
    expect(held(added)).toEqual([hex(bytes)])
    // By now it would be complete, if the plan named it.
    await pass(clock, 20_000)
    expect([at(0).service?.standing, at(0).service?.planVersion]).toEqual([0, 2])
    expect(ofType(at(0), 'error')).toMatchObject([])
  })

  it('grows one to three, and shrinks three to one that was away', async () => {
    await begin(1)
    await runAll()
    const first = revocation('first')
    handTo(at(0), first)
    await passingUntil(clock, 'it has it', () => held(at(0)).length === 1)
    const added = [newcomer('rotator-2'), newcomer('rotator-3')]
    realm.nextPlan({ rotators: keysOf(...members), threshold: 2 })
    for (const member of added) await run(member)
    handTo(at(0), realm.kept.plan)
    await passingUntil(clock, 'all count', () => standings().every((standing) => standing === 1))
    expect(members.map(held)).toEqual(members.map(() => [hex(first)]))
    await stop(at(2))
    const second = revocation('second')
    handTo(at(0), second)
    await passingUntil(clock, 'both have it', () => held(at(0)).length === 2 && held(at(1)).length === 2)
    realm.nextPlan({ rotators: keysOf(at(2)), threshold: 1 })
    await stop(at(0))
    await run(at(2))
    await pass(clock, 5000)
    // It was away: what the others confirmed it has to learn first, from a threshold of them.
    await passingUntil(clock, 'it counts', () => at(2).service?.standing === 1)
    expect(held(at(2))).toContain(hex(second))
  })

  it('whose former services are lost takes over its list alone', async () => {
    await begin(1)
    await runAll()
    await stop(at(0))
    const bytes = revocation()
    const added = newcomer('rotator-2')
    realm.nextPlan({ rotators: keysOf(added), former: undefined, list: [bytes] })
    await run(added)
    expect(added.service?.standing).toBe(1)
    expect(held(added)).toEqual([hex(bytes)])
  })

  it('is taken up with its list or not at all: a peer that has it hands it on', async () => {
    await begin(2)
    await runAll()
    const bytes = revocation()
    // Neither knows what the maker knows.
    const plan = realm.nextPlan({ list: [bytes] })
    asking.nc.publish(asking.subjects.plan, plan.plan)
    await pass(clock, 30_000)
    expect(members.map(({ service }) => service?.planVersion)).toEqual([1, 1])
    await stop(at(0))
    await run(at(0))
    expect(at(0).service?.planVersion).toBe(2)
    await passingUntil(clock, 'both count', () => standings().every((standing) => standing === 1))
    expect(held(at(1))).toEqual([hex(bytes)])
  })

  it('is taken up where its maker does not know what has come since it asked', async () => {
    await begin(1)
    await runAll()
    const known = revocation('known')
    handTo(at(0), known)
    await passingUntil(clock, 'it has it', () => held(at(0)).length === 1)
    const plan = realm.nextPlan({ list: [known] })
    handTo(at(0), revocation('later'))
    await passingUntil(clock, 'it has both', () => held(at(0)).length === 2)
    asking.nc.publish(asking.subjects.plan, plan.plan)
    await passingUntil(clock, 'it has taken it up', () => at(0).service?.planVersion === 2)
  })

  it('reaches a service that was away when it was published', async () => {
    await begin(3)
    await runAll()
    await stop(at(2))
    asking.nc.publish(asking.subjects.plan, realm.nextPlan().plan)
    await passingUntil(clock, 'both count', () =>
      standings()
        .slice(0, 2)
        .every((standing) => standing === 1),
    )
    const store = at(2).store
    const old = store.load()?.plan
    if (old === undefined) throw new Error('it has no plan')
    at(2).service = await realm.startService({ identity: at(2).identity, store, plan: old })
    expect(at(2).service?.planVersion).toBe(1)
    await passingUntil(
      clock,
      'it counts under the new one',
      () => at(2).service?.planVersion === 2 && at(2).service?.standing === 1,
    )
  })
})

describe('a record that is lost', () => {
  it('counts for no former service, its own word included: it says nothing before it is complete', async () => {
    await begin(3)
    await runAll()
    const bytes = revocation()
    handTo(at(0), bytes)
    await passingUntil(clock, 'all have it', () => members.every((member) => held(member).length === 1))
    for (const member of members) await stop(member)
    at(0).store = memoryRotationStore()
    realm.nextPlan()
    await run(at(0))
    await pass(clock, 20_000)
    expect(at(0).service?.standing).toBe(0)
    const heard = asking.ticks.length
    asking.ping()
    await pass(clock, 2000)
    expect(asking.ticks).toHaveLength(heard)
    // One former service alone is not enough for either: it has no record, and the other one has heard nobody.
    await run(at(1))
    await pass(clock, MINUTE)
    expect(standings()).toEqual([0, 0, undefined])
    await run(at(2))
    await passingUntil(clock, 'all count', () => standings().every((standing) => standing === 1))
    expect(held(at(0))).toEqual([hex(bytes)])
  })

  it('that is complete again is a record like any other: it counts at once when it starts', async () => {
    await begin(3)
    await runAll()
    for (const member of members) await stop(member)
    at(0).store = memoryRotationStore()
    realm.nextPlan()
    await runAll()
    await stop(at(0))
    await run(at(0))
    expect(at(0).service?.standing).toBe(1)
  })
})

describe('a rotation service that others cannot follow', () => {
  it('names a set that nobody can produce: it makes nobody complete', async () => {
    await begin(2)
    await run(at(0))
    const hand = await HandRotator.start(realm, { which: 1 })
    const made = realm.nextPlan()
    hand.adopt(made)
    hand.namedRevocations = [revocation()]
    await passingUntil(clock, 'it has taken it up', () => at(0).service?.planVersion === 2)
    await pass(clock, MINUTE)
    expect(at(0).service?.standing).toBe(0)
    hand.namedRevocations = undefined
    await passingUntil(clock, 'it counts', () => at(0).service?.standing === 1)
  })

  it('has a clock that is ahead: what is over by it alone would be missing', async () => {
    await begin(2)
    await run(at(0))
    const hand = await HandRotator.start(realm, { which: 1 })
    hand.changes = { now: clock.now() + 3 * MINUTE }
    hand.adopt(realm.nextPlan())
    await passingUntil(clock, 'it has taken it up', () => at(0).service?.planVersion === 2)
    hand.changes = { now: clock.now() + 30 * MINUTE }
    await pass(clock, MINUTE)
    expect(at(0).service?.standing).toBe(0)
    hand.changes = {}
    await passingUntil(clock, 'it counts', () => at(0).service?.standing === 1)
  })

  it('has not taken up the plan: what it holds now is not all that it can confirm', async () => {
    await begin(2)
    await run(at(0))
    const hand = await HandRotator.start(realm, { which: 1 })
    handTo(at(0), realm.nextPlan().plan)
    await passingUntil(clock, 'it has taken it up', () => at(0).service?.planVersion === 2)
    await pass(clock, MINUTE)
    expect(at(0).service?.standing).toBe(0)
    hand.adopt(realm.kept)
    await passingUntil(clock, 'it counts', () => at(0).service?.standing === 1)
  })

  it('is revoked by an authority: its word counts for nothing', async () => {
    await begin(2)
    await run(at(0))
    const hand = await HandRotator.start(realm, { which: 1 })
    const bytes = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: at(1).identity.publicKey,
      since: clock.now(),
      until: clock.now() + DAY,
      reason: 'stolen',
      past: 0,
    })
    handTo(at(0), bytes)
    await passingUntil(clock, 'it has it', () => held(at(0)).length === 1)
    hand.revocations = [bytes]
    hand.adopt(realm.nextPlan({ list: [bytes] }))
    await passingUntil(clock, 'it has taken it up', () => at(0).service?.planVersion === 2)
    await pass(clock, MINUTE)
    expect(at(0).service?.standing).toBe(0)
  })

  it('goes by an older plan: that is said, and it is told of the newer one', async () => {
    await begin(2)
    await run(at(0))
    const hand = await HandRotator.start(realm, { which: 1 })
    handTo(at(0), realm.nextPlan().plan)
    await passingUntil(clock, 'it has taken it up', () => at(0).service?.planVersion === 2)
    const told = await realm.tap(`${realm.root}.plan`)
    await pass(clock, 30_000)
    expect(hand.kept.plan).not.toEqual(realm.kept.plan)
    expect(ofType(at(0), 'peerDiffers')).toEqual([
      { type: 'peerDiffers', rotator: at(1).identity.publicKey, what: 'plan' },
    ])
    // Every 10 s at most.
    expect(told.length).toBeGreaterThan(0)
    expect(told.length).toBeLessThanOrEqual(4)
    expect(told.every(({ data }) => hex(data) === hex(realm.kept.plan))).toBe(true)
  })

  it('lists another directory for minutes: that is said, once a minute at most', async () => {
    await begin(2)
    await run(at(0))
    const hand = await HandRotator.start(realm, { which: 1 })
    hand.changes = { directoryRoot: engine.randomBytes(32) }
    await pass(clock, 4 * MINUTE)
    const reported = ofType(at(0), 'peerDiffers')
    expect(reported[0]).toMatchObject({ rotator: at(1).identity.publicKey, what: 'directory' })
    expect(reported.length).toBeGreaterThan(0)
    expect(reported.length).toBeLessThanOrEqual(3)
  })
})

describe('two processes with one key', () => {
  it('notice each other: one of them is a copy', async () => {
    await begin(1)
    await run(at(0))
    const copy = memberOf(at(0).identity)
    await run(copy)
    await pass(clock, 2 * MINUTE)
    for (const member of [at(0), copy])
      expect(ofType(member, 'error')[0]).toMatchObject({ error: { code: 'ERR_STATE' } })
    await copy.service?.close()
  })
})

describe('the wall clock of several services', () => {
  it('forgets nothing where no threshold of them agrees on it', async () => {
    await begin(3)
    await runAll()
    await passingUntil(clock, 'they are there', () => true)
    const bytes = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: realm.identity('mallory').publicKey,
      since: clock.now(),
      until: clock.now() + MINUTE,
      reason: '',
      past: 0,
    })
    handTo(at(0), bytes)
    await passingUntil(clock, 'all have it', () => members.every((member) => held(member).length === 1))
    await stop(at(1))
    await stop(at(2))
    const sleep = async (ms: number): Promise<void> => {
      clock.suspend(ms)
      await pass(clock, MINUTE)
    }
    await sleep(31 * DAY)
    // It looks at its clock for a day.
    clock.advance(DAY + 60 * MINUTE)
    await sleep(2 * 60 * MINUTE)
    expect(held(at(0))).toHaveLength(1)
    await run(at(1))
    await sleep(2 * 60 * MINUTE)
    await until('it has forgotten it', () => held(at(0)).length === 0)
  })
})
