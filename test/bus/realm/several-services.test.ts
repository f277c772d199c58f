import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import type { StatusEvent } from '../../../src/bus/status.ts'
import { ANY_SERVICE } from '../../../src/keys/subjects.ts'
import { ManualClock } from '../../support/clock.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import type { IdentityOptions } from '../../support/identities.ts'
import { engine, newIdentity } from '../../support/identities.ts'
import { pass, passing, passingUntil } from '../../support/passing.ts'
import { type AgentOptions, collectStatus, TestRealm } from '../../support/realm.ts'
import { DAY, MINUTE } from '../../support/statements.ts'
import { failure, until } from '../../support/until.ts'

const SECOND = 1000

let clock: ManualClock
let realm: TestRealm
let hands: HandRotator[]
const folders: string[] = []

/** A realm with so many rotation services, each made by hand. */
async function start(rotators = 3, options: { readonly isRunning?: boolean } = {}): Promise<void> {
  clock = new ManualClock()
  realm = await TestRealm.start({ clock, rotation: false, rotators })
  hands = []
  for (let which = 0; which < rotators && options.isRunning !== false; which++)
    hands.push(await HandRotator.start(realm, { which }))
}

beforeEach(() => start())
afterEach(async () => {
  await realm.stop()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

function agent(
  name: string,
  identity: Partial<IdentityOptions> = {},
  options: AgentOptions = {},
): Promise<SecureConnection> {
  return passing(clock, realm.agent(name, identity, options))
}

function refused(name: string, identity: Partial<IdentityOptions> = {}, options: AgentOptions = {}) {
  return passing(
    clock,
    failure(() => realm.agent(name, identity, options)),
  )
}

const handOf = (which: number): HandRotator => {
  const hand = hands[which]
  if (hand === undefined) throw new Error(`no rotation service ${which}`)
  return hand
}
const silence = (which: number): void => {
  handOf(which).isTicking = false
  handOf(which).isAnswering = false
}
const countOf = (events: readonly StatusEvent[], type: StatusEvent['type']): number =>
  events.filter((event) => event.type === type).length
const errorsOf = (events: readonly StatusEvent[]): readonly unknown[] =>
  events.flatMap((event) =>
    event.type === 'error' && event.error instanceof Error && 'code' in event.error ? [event.error.code] : [],
  )

/** What one rotation service may do that has gone wild. */
const WILD: readonly (readonly [string, (hand: HandRotator) => void])[] = [
  [
    'is silent',
    (hand) => {
      hand.isTicking = false
      hand.isAnswering = false
    },
  ],
  [
    'answers pings and nothing else',
    (hand) => {
      hand.isAnswering = false
    },
  ],
  [
    'names revocations that nobody can produce',
    (hand) => {
      hand.namedRevocations = [hand.world.revocation(realm.identity('nobody'), { since: clock.now() - 1 })]
    },
  ],
  [
    'names a plan that does not exist',
    (hand) => {
      hand.changes = { planVersion: 99 }
    },
  ],
  [
    'hands over what it has and is not complete',
    (hand) => {
      hand.changes = { standing: 0 }
    },
  ],
  [
    'names a directory that does not exist',
    (hand) => {
      hand.changes = { directoryRoot: engine.randomBytes(32) }
    },
  ],
  [
    'starts again with each tick',
    (hand) => {
      Object.defineProperty(hand, 'changes', { get: () => ({ process: engine.randomBytes(8) }) })
    },
  ],
  [
    'has a clock of its own',
    (hand) => {
      Object.defineProperty(hand, 'changes', { get: () => ({ now: clock.now() + 10 * MINUTE }) })
    },
  ],
]

describe.each(WILD)('one of three rotation services that %s', (_what, goWild) => {
  it('holds up no join for more than a moment, and is noticed by nobody', async () => {
    goWild(handOf(0))
    const since = clock.monotonic()
    const alice = await agent('alice')
    expect(clock.monotonic() - since).toBeLessThan(4.5 * SECOND)
    const bob = await agent('bob')
    await passing(clock, alice.waitForAudience('orders.new'))
    const events = collectStatus(alice)
    const got: string[] = []
    bob.subscribe('orders.new', { callback: (_error, m) => got.push(m.string()) })
    await bob.flush()
    await pass(clock, 5 * MINUTE)
    alice.publish('orders.new', 'still here')
    await until('it is delivered', () => got.length === 1)
    expect(events.map(({ type }) => type)).toEqual([])
  })
})

describe('two of three rotation services that are silent', () => {
  it('let nobody join, with an error that says how many answer', async () => {
    silence(0)
    silence(2)
    const error = await refused('alice')
    expect([error.code, error.message]).toEqual([
      'ERR_NO_ROTATION_SERVICE',
      '1 of 3 rotation services answered in time, and it takes 2',
    ])
  })

  it('make an agent stale 90 s after it has asked both of them, and fresh when one is back', async () => {
    const alice = await agent('alice')
    const events = collectStatus(alice)
    silence(0)
    await pass(clock, 3 * MINUTE)
    expect(countOf(events, 'stale')).toBe(0)
    silence(1)
    await pass(clock, 29 * SECOND)
    expect(countOf(events, 'stale')).toBe(0)
    await pass(clock, 62 * SECOND)
    expect(countOf(events, 'stale')).toBe(1)
    handOf(0).isTicking = true
    const since = clock.monotonic()
    await passingUntil(clock, 'she is fresh', () => countOf(events, 'fresh') === 1)
    expect(clock.monotonic() - since).toBeLessThan(7 * SECOND)
  })
})

describe('one rotation service that says all again and again', () => {
  it('is one: an answer counts for the service that has signed it', async () => {
    silence(0)
    silence(2)
    const joining = failure(() => realm.agent('alice', {}, { timeout: 5000 }))
    let isOver = false
    void joining.then(() => {
      isOver = true
    })
    await passingUntil(clock, 'she gives up', () => {
      for (const { reply, nonce } of handOf(1).pings.slice(-2))
        for (let i = 0; i < 3; i++)
          handOf(1).send(reply, handOf(1).answer(nonce, { process: engine.randomBytes(8) }))
      return isOver
    })
    expect((await joining).code).toBe('ERR_NO_ROTATION_SERVICE')
  })
})

describe('a plan that is played again', () => {
  it('fails and delays nothing, where a newer one is there', async () => {
    const old = handOf(0).kept
    const newest = realm.nextPlan()
    for (const which of [1, 2]) handOf(which).adopt(newest, { isPublished: false })
    expect(handOf(0).kept).toBe(old)
    const alice = await agent('alice')
    expect(alice.planVersion).toBe(2)
  })

  it('is refused below the version that the own token names', async () => {
    const error = await refused('alice', { plan: 2 })
    expect(error.code).toBe('ERR_ROLLBACK')
    const newest = realm.nextPlan()
    for (const hand of hands) hand.adopt(newest, { isPublished: false })
    expect((await agent('alice', { plan: 2 })).planVersion).toBe(2)
  })

  it('is refused by an agent that remembers a newer one, whatever all services say', async () => {
    const state = mkdtempSync(join(tmpdir(), 'subrosa-plan-'))
    folders.push(state)
    const old = handOf(0).kept
    const newest = realm.nextPlan()
    for (const hand of hands) hand.adopt(newest, { isPublished: false })
    const { identity } = newIdentity(realm.authority, 'alice', { issuedAtMs: clock.now() - MINUTE })
    const first = await passing(clock, realm.agent(identity, {}, { state }))
    expect(first.planVersion).toBe(2)
    await passing(clock, first.close())
    for (const hand of hands) hand.adopt(old, { isPublished: false })
    const told = await realm.tap(`${realm.root}.plan`)
    const error = await passing(
      clock,
      failure(() => realm.agent(identity, {}, { state, timeout: 30_000 })),
    )
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
    // They are told of the newer one.
    expect(told.map(({ data }) => data)).toContainEqual(newest.plan)
  })
})

describe('a plan that came with the identity', () => {
  it('is gone by without asking for it, and a newer one is taken all the same', async () => {
    const old = realm.kept
    const asked = await realm.tap(`${realm.root}.query.${ANY_SERVICE}.>`)
    expect((await agent('alice', {}, { plan: old })).planVersion).toBe(1)
    const newest = realm.nextPlan()
    for (const hand of hands) hand.adopt(newest, { isPublished: false })
    const bob = await agent('bob', {}, { plan: old })
    expect([bob.planVersion, asked]).toEqual([2, []])
  })

  it('does not replace a newer one that is remembered', async () => {
    const state = mkdtempSync(join(tmpdir(), 'subrosa-plan-'))
    folders.push(state)
    const old = realm.kept
    const newest = realm.nextPlan()
    for (const hand of hands) hand.adopt(newest, { isPublished: false })
    const { identity } = newIdentity(realm.authority, 'alice', { issuedAtMs: clock.now() - MINUTE })
    await passing(clock, (await passing(clock, realm.agent(identity, {}, { state }))).close())
    const again = await passing(clock, realm.agent(identity, {}, { state, plan: old }))
    expect(again.planVersion).toBe(2)
  })
})

describe('a plan that is of no use', () => {
  const served = async (kept: Parameters<HandRotator['adopt']>[0]): Promise<string | undefined> => {
    for (const hand of hands) hand.kept = kept
    return (await refused('alice')).code
  }

  it('is refused with what is wrong with it: of another authority, with another list, expired', async () => {
    const other = await TestRealm.start({ clock, rotation: false })
    expect(await served({ ...other.kept })).toBe('ERR_PLAN_INVALID')
    await other.stop()
    const list = [handOf(0).world.revocation(realm.identity('gone'), { since: clock.now() - 1 })]
    const kept = realm.nextPlan({ list })
    // Nobody has the list that it names.
    expect(await served({ ...kept, list: [] })).toBe('ERR_PLAN_INVALID')
    expect(await served(realm.nextPlan({ list: [], until: clock.now() - 1, made: clock.now() - DAY }))).toBe(
      'ERR_PLAN_EXPIRED',
    )
  })
})

describe('a running agent', () => {
  let alice: SecureConnection
  let events: StatusEvent[]

  beforeEach(async () => {
    alice = await agent('alice')
    events = collectStatus(alice)
  })

  it('takes a newer plan that is published, and goes on under it', async () => {
    const newest = realm.nextPlan()
    for (const hand of hands) hand.adopt(newest, { isPublished: false })
    handOf(0).publish('plan', newest.plan)
    await passingUntil(clock, 'she has it', () => alice.planVersion === 2)
    await pass(clock, 3 * MINUTE)
    expect(countOf(events, 'stale')).toBe(0)
    expect(events.filter(({ type }) => type === 'plan')).toEqual([
      { type: 'plan', version: 2, until: realm.plan.until },
    ])
  })

  it('takes a newer plan that a tick names, with its list, though nobody has published it', async () => {
    const mallory = realm.identity('mallory')
    const list = [handOf(0).world.revocation(mallory, { since: clock.now() - 1 })]
    const newest = realm.nextPlan({ list })
    for (const hand of hands) {
      hand.adopt(newest, { isPublished: false })
      hand.revocations = list
    }
    await passingUntil(clock, 'she has it', () => alice.planVersion === 2, 500)
    expect(events).toContainEqual({
      type: 'revoked',
      identity: mallory.publicKey,
      reason: 'lost',
      self: false,
    })
    await pass(clock, 3 * MINUTE)
    expect(countOf(events, 'stale')).toBe(0)
  })

  it('counts only those whom the newer plan names', async () => {
    const fourth = realm.identity('rotator-4')
    const kept = [...realm.rotators.slice(1), fourth].map(({ publicKey }) => publicKey)
    const newest = realm.nextPlan({ rotators: kept })
    for (const which of [1, 2]) handOf(which).adopt(newest, { isPublished: false })
    handOf(1).publish('plan', newest.plan)
    await passingUntil(clock, 'she has it', () => alice.planVersion === 2)
    // The former one goes on, and one of the others is silent.
    handOf(0).changes = { planVersion: 2 }
    silence(2)
    await pass(clock, 100 * SECOND)
    expect(countOf(events, 'stale')).toBe(1)
    const hand = await HandRotator.start(realm, { identity: fourth })
    hand.adopt(newest, { isPublished: false })
    await passingUntil(clock, 'she is fresh', () => countOf(events, 'fresh') === 1)
  })

  it('tells those of its plan who go by an older one', async () => {
    const old = handOf(0).kept
    const newest = realm.nextPlan()
    for (const which of [1, 2]) handOf(which).adopt(newest, { isPublished: false })
    handOf(1).publish('plan', newest.plan)
    await passingUntil(clock, 'she has it', () => alice.planVersion === 2)
    expect(handOf(0).kept).toBe(old)
    const told = await realm.tap(`${realm.root}.plan`)
    await passingUntil(clock, 'she tells it', () => told.length > 0, 500)
    expect(told[0]?.data).toEqual(newest.plan)
  })

  it('reports another plan of the version that it holds, and goes by its own', async () => {
    const own = realm.kept
    const other = handOf(0).world.plan({ threshold: 3 })
    expect(other).not.toEqual(own)
    for (let i = 0; i < 5; i++) handOf(0).publish('plan', other.plan)
    await passingUntil(clock, 'it is reported', () => errorsOf(events).includes('ERR_PLAN_CONFLICT'))
    expect(errorsOf(events)).toEqual(['ERR_PLAN_CONFLICT'])
    alice.publish('orders.new', 'x', { to: ['alice'] })
  })

  it('is stale when its plan has ended, says so before, and says what to do', async () => {
    const newest = realm.nextPlan({ until: clock.now() + 10 * MINUTE })
    for (const hand of hands) hand.adopt(newest, { isPublished: false })
    handOf(0).publish('plan', newest.plan)
    await passingUntil(clock, 'it is said', () => countOf(events, 'planEnding') === 1)
    await pass(clock, 11 * MINUTE, 5 * SECOND)
    const error = await failure(() => alice.publish('orders.new', 'x'))
    expect([error.code, error.hint]).toEqual([
      'ERR_PLAN_EXPIRED',
      'the authority makes a new one: subrosa plan renew',
    ])
    expect(countOf(events, 'planEnding')).toBe(1)
    const renewed = realm.nextPlan({ until: clock.now() + DAY })
    for (const hand of hands) hand.adopt(renewed, { isPublished: false })
    handOf(0).publish('plan', renewed.plan)
    await passingUntil(clock, 'she is fresh', () => countOf(events, 'fresh') === 1)
  })

  it('asks for the plan that a verified token names', async () => {
    const newest = realm.nextPlan()
    for (const hand of hands) {
      // They answer as before, and have the newer one.
      hand.kept = newest
      hand.world.adopt(newest)
      hand.changes = { planVersion: 1 }
    }
    await pass(clock, MINUTE)
    expect(alice.planVersion).toBe(1)
    const carol = realm.identity('carol', { plan: 2 })
    const { bytes, announcement } = handOf(0).world.announcement(carol, handOf(0).epoch())
    const instance = Buffer.from(announcement.instance).toString('hex')
    handOf(0).publish(`announce.carol.${instance}`, bytes)
    await passingUntil(clock, 'she has it', () => alice.planVersion === 2)
  })

  it('counts a rotation service no more that an authority has revoked', async () => {
    const revoked = (which: number): Uint8Array =>
      handOf(0).world.revocation(realm.rotators[which] ?? realm.rotator, { since: clock.now() })
    const first = revoked(0)
    handOf(0).publish('revoke', first)
    await until('she has heard it', () => countOf(events, 'revoked') === 1)
    for (const hand of hands) hand.revocations = [first]
    await pass(clock, 3 * MINUTE)
    expect(countOf(events, 'stale')).toBe(0)
    const second = revoked(1)
    handOf(0).publish('revoke', second)
    await until('she has heard it', () => countOf(events, 'revoked') === 2)
    expect(countOf(events, 'stale')).toBe(1)
    for (const hand of hands) hand.revocations = [first, second]
    await pass(clock, 3 * MINUTE)
    expect(countOf(events, 'fresh')).toBe(0)
  })
})

describe('an agent that starts after rotation services were revoked', () => {
  it('acts on none of them', async () => {
    const list = [0, 1].map((which) =>
      handOf(0).world.revocation(realm.rotators[which] ?? realm.rotator, { since: clock.now() - 1 }),
    )
    const newest = realm.nextPlan({ list })
    for (const hand of hands) {
      hand.adopt(newest, { isPublished: false })
      hand.revocations = list
    }
    const error = await refused('alice')
    expect([error.code, error.message]).toEqual([
      'ERR_NO_ROTATION_SERVICE',
      '1 of 3 rotation services answered in time, and it takes 2',
    ])
  })
})

describe('broadcasts', () => {
  it('make no agent fresh, and do not make it ask more often than every few seconds', async () => {
    const alice = await agent('alice')
    const events = collectStatus(alice)
    for (const hand of hands) hand.isTicking = false
    const before = handOf(0).pings.length
    for (let i = 0; i < 100; i++) {
      for (const hand of hands) hand.tick({ revocationsHash: engine.randomBytes(32) })
      await pass(clock, SECOND)
    }
    expect(countOf(events, 'stale')).toBe(1)
    expect(handOf(0).pings.length - before).toBeLessThanOrEqual(30)
  })

  it('of what is held already make no agent ask', async () => {
    const alice = await agent('alice')
    await pass(clock, 2 * MINUTE)
    const before = handOf(0).pings.length
    for (let i = 0; i < 40; i++) {
      for (const hand of hands) hand.tick()
      await pass(clock, SECOND)
    }
    expect(handOf(0).pings.length - before).toBeLessThanOrEqual(1)
    void alice
  })

  it('tell of a revocation that was missed: an agent has it within seconds', async () => {
    const alice = await agent('alice')
    const events = collectStatus(alice)
    const missed = handOf(0).world.revocation(realm.identity('mallory'), { since: clock.now() - 1 })
    for (const hand of hands) hand.revocations = [missed]
    handOf(1).tick()
    await passingUntil(clock, 'she has it', () => countOf(events, 'revoked') === 1)
    expect(handOf(1).pings.length).toBeGreaterThan(0)
  })
})
