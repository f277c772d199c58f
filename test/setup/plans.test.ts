import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { engineFor } from '../../src/crypto/engine.ts'
import { Trust } from '../../src/identity/trust.ts'
import { deriveEpoch, numberAt } from '../../src/keys/epochs.ts'
import { listHash, verifyPlan } from '../../src/keys/plan.ts'
import { findAgent } from '../../src/setup/agent-records.ts'
import { addAgent, MAX_LIFETIME_MS } from '../../src/setup/agents.ts'
import { findPlan, newestPlan } from '../../src/setup/plan-records.ts'
import { makeFirstPlan, makeNextPlan, type PlanChange } from '../../src/setup/plans.ts'
import { createRealm, openRealm, type Realm } from '../../src/setup/realm.ts'
import { revokeAgent } from '../../src/setup/revocations.ts'
import { addRotator, addRotators, rotatorNames } from '../../src/setup/rotators.ts'
import { ManualClock } from '../support/clock.ts'
import { failure } from '../support/until.ts'
import { createWholeRealm, temporaryFolder } from './running-realm.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let clock: ManualClock
let realm: Realm
beforeEach(async () => {
  folder = await temporaryFolder()
  clock = new ManualClock()
  realm = await createWholeRealm({ dir: join(folder.path, 'realm'), clock }, { count: 3, threshold: 2 })
})
afterEach(() => folder.remove())

const next = async (change: PlanChange, revocations: readonly Uint8Array[] = []) =>
  makeNextPlan(realm, change, { former: await newestPlan(realm), clock, revocations })
const keys = async () => new Map([...(await rotatorNames(realm))].map(([key, name]) => [name, key]))
/** A revocation of an agent that is added for it, kept in the folder or not. */
async function revocation(name: string, { isKept = true } = {}): Promise<Uint8Array> {
  await addAgent(realm, { name, clock })
  const { statement, path } = await revokeAgent(realm, { name, clock })
  if (!isKept) await rm(path)
  return statement
}

describe('the first plan of a realm', () => {
  test('names its rotation services, and lasts 400 days', async () => {
    const { plan, kept } = await newestPlan(realm)
    const names = ['rotator-1', 'rotator-2', 'rotator-3']
    expect([...(await keys()).keys()].sort()).toEqual(names)
    expect(plan).toMatchObject({
      realm: realm.key,
      version: 1,
      made: clock.now(),
      until: clock.now() + 400 * DAY,
      rotators: [...(await keys()).values()].sort(),
      threshold: 2,
      former: undefined,
    })
    expect(kept.list).toEqual([])
    const engine = engineFor()
    const trust = new Trust(engine, { authority: realm.authority })
    expect(verifyPlan({ engine, trust }, kept.plan, clock.now())).toEqual(plan)
  })

  test('begins epoch 1 at once, and another one every 55 minutes', async () => {
    const { plan } = await newestPlan(realm)
    expect(plan.schedules).toMatchObject([
      { first: 1, originMs: clock.now(), periodMs: 55 * MINUTE, leadMs: 5 * MINUTE, graceMs: 5 * MINUTE },
    ])
    expect(numberAt(plan, clock.now())).toBe(1)
    expect(numberAt(plan, clock.now() + 55 * MINUTE)).toBe(2)
  })

  test('of one service has one that must answer, and calls it rotator', async () => {
    const alone = await createWholeRealm({ dir: join(folder.path, 'alone') })
    const { plan } = await newestPlan(alone)
    expect(plan).toMatchObject({ threshold: 1, rotators: [expect.stringMatching(/^U/)] })
    expect([...(await rotatorNames(alone)).values()]).toEqual(['rotator'])
  })

  test.each([2, 3, 4, 5, 6, 7])('of %i services has more than half of them answer', async (count) => {
    const many = await createWholeRealm({ dir: join(folder.path, String(count)) }, { count })
    const { threshold } = (await newestPlan(many)).plan
    expect(2 * threshold).toBeGreaterThan(count)
    expect(2 * (threshold - 1)).toBeLessThanOrEqual(count)
  })

  test.each([
    [{ count: 0 }, 'a plan has 1 to 7 rotation services'],
    [{ count: 8 }, 'a plan has 1 to 7 rotation services'],
    [{ count: 4, threshold: 2 }, 'of 4 rotation services 3 to 4 must answer'],
    [{ count: 3, threshold: 4 }, 'of 3 rotation services 2 to 3 must answer'],
    [{ lastsMs: 401 * DAY }, 'a plan lasts at most 400d'],
    [{ times: { leadMs: 999 } }, 'the lead must be at least 1s'],
    [{ times: { leadMs: 56 * MINUTE } }, 'the lead must be at least 1s, and at most the time'],
    [{ times: { periodMs: 24 * HOUR } }, 'at most 24h together'],
    [{ times: { graceMs: 16 * MINUTE } }, 'the grace must be at most 15m'],
    [{ times: { graceMs: 0.5 } }, 'times must be whole milliseconds'],
  ])('is not made of %j, and nothing is left of the realm', async (request, message) => {
    const dir = join(folder.path, 'none')
    const error = await failure(() => createRealm({ dir, furnish: (made) => addRotators(made, request) }))
    expect(error).toBeInstanceOf(RangeError)
    expect(error.message).toContain(message)
    expect(await readdir(dir, { recursive: true })).toEqual(['tls'])
  })

  test('is made once', async () => {
    const rotators = [...(await keys()).values()]
    const before = await readFile((await newestPlan(realm)).path, 'utf8')
    expect(await failure(() => makeFirstPlan(realm, { rotators, clock }))).toMatchObject({
      code: 'ERR_SETUP',
    })
    expect(await readFile((await newestPlan(realm)).path, 'utf8')).toBe(before)
  })

  test('is part of a realm: without it there is none', async () => {
    const dir = join(folder.path, 'half')
    const furnish = async () => {
      throw new Error('the disk is full')
    }
    expect((await failure(() => createRealm({ dir, furnish }))).message).toBe('the disk is full')
    expect(await failure(() => openRealm(dir))).toMatchObject({ code: 'ERR_SETUP' })
    await createRealm({ dir, furnish: (made) => addRotators(made) })
  })
})

describe('the next plan', () => {
  test('follows the one before, and keeps what is not changed', async () => {
    const { plan: former } = await newestPlan(realm)
    await clock.advance(DAY)
    const { plan, path } = await next({})
    expect(path).toBe(join(realm.dir, 'plans', '2.json'))
    expect(plan).toMatchObject({
      version: 2,
      made: clock.now(),
      until: clock.now() + 400 * DAY,
      rotators: former.rotators,
      threshold: 2,
      schedules: former.schedules,
      former: { version: 1, rotators: former.rotators, threshold: 2 },
    })
    expect(await newestPlan(realm)).toMatchObject({ plan: { version: 2 } })
    expect((await readdir(join(realm.dir, 'plans'))).sort()).toEqual(['1.json', '2.json'])
  })

  test('lasts as long as the one before, unless it is said', async () => {
    const short = await createWholeRealm({ dir: join(folder.path, 'short'), clock }, { lastsMs: 90 * DAY })
    const of = async (change: PlanChange) =>
      (await makeNextPlan(short, change, { former: await newestPlan(short), clock })).plan
    expect((await of({})).until).toBe(clock.now() + 90 * DAY)
    expect((await of({ lastsMs: DAY })).until).toBe(clock.now() + DAY)
  })

  test('names no former services where they are lost', async () => {
    expect((await next({ isFormerLost: true })).plan.former).toBeUndefined()
  })

  test('has the number of services that must answer follow how many there are', async () => {
    const [one, two, three] = (await newestPlan(realm)).plan.rotators
    const added = [
      await addRotator(realm, 'rotator-4', { clock }),
      await addRotator(realm, 'rotator-5', { clock }),
    ]
    const all = [one, two, three].flatMap((key) => key ?? [])
    expect((await next({ rotators: [...all, ...added] })).plan).toMatchObject({ threshold: 3 })
    expect((await next({ rotators: [...all, ...added], threshold: 4 })).plan).toMatchObject({ threshold: 4 })
    expect((await next({})).plan).toMatchObject({ threshold: 4 })
    expect((await next({ rotators: all.slice(0, 1) })).plan).toMatchObject({ threshold: 1 })
    expect(await failure(() => next({ rotators: [...all, ...all] }))).toBeInstanceOf(RangeError)
  })

  test('has in its list what the folder and what the services hold, each once', async () => {
    const own = await revocation('intern')
    const others = await revocation('guest', { isKept: false })
    const { kept, plan } = await next({}, [others, own])
    expect(new Set(kept.list.map((bytes) => Buffer.from(bytes).toString('hex')))).toEqual(
      new Set([own, others].map((bytes) => Buffer.from(bytes).toString('hex'))),
    )
    expect(plan.revocationsHash).toEqual(listHash(engineFor(), kept.list))
  })

  test('leaves out of its list what is over, and what nobody who may has signed', async () => {
    const stranger = await createWholeRealm({ dir: join(folder.path, 'stranger'), clock })
    await addAgent(stranger, { name: 'guest', clock })
    const { statement } = await revokeAgent(stranger, { name: 'guest', clock })
    await revocation('intern')
    await clock.advance(91 * DAY)
    expect((await next({}, [statement])).kept.list).toEqual([])
  })

  test('names no service that an authority has revoked', async () => {
    await revokeAgent(realm, { name: 'rotator-2', clock })
    const error = await failure(() => next({}))
    expect(error).toMatchObject({ code: 'ERR_SETUP', hint: expect.stringContaining('replace-rotator') })
    expect(error.message).toContain('is revoked: it counts in no plan')
    const rotators = [...(await keys())].flatMap(([name, key]) => (name === 'rotator-2' ? [] : [key]))
    expect((await next({ rotators, threshold: 2 })).plan.rotators).toHaveLength(2)
  })

  test('is not made by a clock that is behind the one before', async () => {
    clock.jump(-DAY)
    expect(await failure(() => next({}))).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('the clock is behind'),
    })
  })

  test('follows the very plan whose services were asked, and no other that was made meanwhile', async () => {
    const former = await newestPlan(realm)
    const late = () => makeNextPlan(realm, {}, { former, clock })
    const second = await next({ renewsSalt: true })
    expect(await failure(late)).toMatchObject({
      code: 'ERR_SETUP',
      message: expect.stringContaining('plan 2 was made meanwhile'),
    })
    expect((await newestPlan(realm)).plan.version).toBe(2)
    // Another plan of its version, as of a backup: the number alone says nothing.
    await rm(second.path)
    await next({ isFormerLost: true })
    expect(await failure(() => makeNextPlan(realm, {}, { former: second, clock }))).toMatchObject({
      code: 'ERR_SETUP',
    })
    expect((await newestPlan(realm)).plan).toMatchObject({ version: 2, former: undefined })
  })

  test('is made once by two who make it at the same time', async () => {
    const made = await Promise.allSettled([next({}), next({ isFormerLost: true })])
    expect(made.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect((await newestPlan(realm)).plan.version).toBe(2)
  })
})

describe('the schedule of the next plan', () => {
  test('keeps every epoch that has begun or may have been announced, and has a new salt after that', async () => {
    const { plan: former } = await newestPlan(realm)
    await clock.advance(3 * HOUR)
    const { plan } = await next({ renewsSalt: true })
    const [running, pending] = plan.schedules
    expect(running).toEqual(former.schedules[0])
    const engine = engineFor()
    const now = numberAt(former, clock.now())
    for (let number = 1; number < (pending?.first ?? 0); number++)
      expect(deriveEpoch(engine, plan, number)).toEqual(deriveEpoch(engine, former, number))
    expect(pending?.first).toBeGreaterThan(now + 1)
    expect(pending?.originMs).toBeGreaterThanOrEqual(clock.now() + HOUR)
    expect(pending?.originMs).toBeLessThanOrEqual(clock.now() + HOUR + 55 * MINUTE)
    expect(pending?.salt).not.toEqual(running?.salt)
    const first = deriveEpoch(engine, plan, pending?.first ?? 0)
    expect(first.notBefore).toBe(deriveEpoch(engine, former, first.number).notBefore)
    expect(first.hash).not.toEqual(deriveEpoch(engine, former, first.number).hash)
  })

  test('takes other times from a boundary on that everybody hears of in time', async () => {
    const { plan } = await next({ times: { periodMs: 6 * HOUR, leadMs: 10 * MINUTE } })
    const [, pending] = plan.schedules
    expect(pending).toMatchObject({ periodMs: 6 * HOUR, leadMs: 10 * MINUTE, graceMs: 5 * MINUTE })
    expect(pending?.originMs).toBeGreaterThanOrEqual(clock.now() + 6 * HOUR + 10 * MINUTE)
  })

  test('does not change twice before the first change is over', async () => {
    const { plan } = await next({ times: { periodMs: HOUR } })
    const error = await failure(() => next({ times: { periodMs: 2 * HOUR } }))
    expect(error).toMatchObject({
      code: 'ERR_SETUP',
      message: 'another schedule of epochs is under way already',
    })
    // What needs no other one goes on.
    expect((await next({ renewsSalt: true })).plan.schedules).toEqual(plan.schedules)
    const free = Date.parse(/after (\S+)$/.exec(error.hint ?? '')?.[1] ?? '')
    await clock.advance(free - clock.now())
    expect((await next({ times: { periodMs: 2 * HOUR } })).plan.schedules).toMatchObject([
      { periodMs: HOUR },
      { periodMs: 2 * HOUR },
    ])
  })

  test('never has three epochs beside each other', async () => {
    await next({ times: { leadMs: 50 * MINUTE, periodMs: 50 * MINUTE } })
    await clock.advance(DAY)
    expect(await failure(() => next({ times: { periodMs: 20 * MINUTE, leadMs: MINUTE } }))).toBeInstanceOf(
      RangeError,
    )
  })
})

describe('the plans of a folder', () => {
  test('are whole, of the realm, and of the version that their files say', async () => {
    const { path } = await newestPlan(realm)
    const text = await readFile(path, 'utf8')
    const other = await createWholeRealm({ dir: join(folder.path, 'other') })
    const strange = await readFile((await newestPlan(other)).path, 'utf8')
    for (const broken of ['', '{}', 'null', text.replace('"format": 1', '"format": 2'), strange]) {
      await writeFile(path, broken)
      expect((await failure(() => newestPlan(realm))).code).toMatch(/^ERR_(SETUP|PLAN_INVALID)$/)
    }
    await writeFile(path, text)
    await writeFile(join(realm.dir, 'plans', '7.json'), text)
    expect(await failure(() => newestPlan(realm))).toMatchObject({ code: 'ERR_SETUP' })
    await rm(join(realm.dir, 'plans', '7.json'))
    for (const name of ['0.json', 'x.json', '01.json', '2.json.new'])
      await writeFile(join(realm.dir, 'plans', name), '')
    expect((await newestPlan(realm)).plan.version).toBe(1)
  })

  test('are missed, and what to do is said', async () => {
    await rm(join(realm.dir, 'plans'), { recursive: true })
    expect(await findPlan(realm)).toBeUndefined()
    expect(await failure(() => newestPlan(realm))).toMatchObject({
      code: 'ERR_SETUP',
      message: `there is no plan in ${join(realm.dir, 'plans')}`,
      hint: expect.stringContaining('backup'),
    })
  })
})

describe('tokens', () => {
  test('name the newest plan when they are issued', async () => {
    const planOf = async () => (await findAgent(realm, 'billing'))?.claims.plan
    await addAgent(realm, { name: 'billing', clock })
    expect(await planOf()).toBe(1)
    await next({})
    expect(await planOf()).toBe(1)
    await addAgent(realm, { name: 'billing', renew: true, clock })
    expect(await planOf()).toBe(2)
  })

  test('last no longer than a revocation can', async () => {
    const request = { name: 'billing', clock }
    const error = await failure(() => addAgent(realm, { ...request, expiresInMs: MAX_LIFETIME_MS + 1 }))
    expect(error).toBeInstanceOf(RangeError)
    await addAgent(realm, { ...request, expiresInMs: MAX_LIFETIME_MS })
    const { until, since } = await revokeAgent(realm, { name: 'billing', clock })
    expect(until - since).toBeLessThan(400 * DAY)
  })
})
