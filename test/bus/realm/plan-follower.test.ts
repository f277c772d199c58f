import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import type { Fetch } from '../../../src/bus/realm/page-fetches.ts'
import { PlanFollower } from '../../../src/bus/realm/plan-follower.ts'
import { type StatusEvent, StatusFeed } from '../../../src/bus/status.ts'
import { type KeptPlan, PlanBook } from '../../../src/keys/plan-book.ts'
import { encodePage, QueryKind } from '../../../src/wire/queries.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { DAY, T0, World } from '../../support/statements.ts'

const SECOND = 1000

let world: World
let machine: ManualClock
let clock: HouseClock
let book: PlanBook
let kept: KeptPlan[]
let asked: Uint8Array[]
let fetches: Fetch[]
let published: Uint8Array[]
let events: StatusEvent[]
let taken: number[]
let trouble: unknown[]
let plans: PlanFollower

function start({ floor = 0, held }: { readonly floor?: number; readonly held?: KeptPlan } = {}): void {
  book = new PlanBook({
    engine,
    trust: world.trust,
    revocations: world.revocations,
    floor,
    kept: held,
    keep: (one) => kept.push(one),
  })
  const feed = new StatusFeed()
  feed.emit = (event) => void events.push(event)
  plans = new PlanFollower({
    engine,
    trust: world.trust,
    clock,
    feed,
    book,
    revocations: world.revocations,
    fetches: {
      begin: (fetch) => {
        fetches.push(fetch)
        return true
      },
      isUnderWay: () => false,
    },
    timers: clock,
    askAll: (nonce) => asked.push(nonce),
    publish: (plan) => published.push(plan),
    onPlan: ({ version }) => taken.push(version),
    onTrouble: (error) => trouble.push(error),
  })
}

beforeEach(() => {
  world = new World({ rotators: 3 })
  machine = new ManualClock(T0)
  clock = houseClock(machine)
  kept = []
  asked = []
  fetches = []
  published = []
  events = []
  taken = []
  trouble = []
})

/** Rotation services answer the question to all. Default: the last one. */
function answer({ plan, list }: KeptPlan, nonce = asked.at(-1), next?: Uint8Array): boolean {
  if (nonce === undefined) throw new Error('nothing was asked')
  return plans.take(encodePage({ nonce, kind: QueryKind.plan, statements: [plan, ...list], next }))
}

/** The service of a fetch sends its plan. */
function send({ plan, list }: KeptPlan, fetch = fetches.at(-1)): void {
  const goesOn = fetch?.onPage([plan, ...list]) === true
  fetch?.onEnd(goesOn)
}

/** How many signatures a task has checked. */
function checks(task: () => void): number {
  const verify = vi.spyOn(engine, 'verify')
  try {
    task()
    return verify.mock.calls.length
  } finally {
    verify.mockRestore()
  }
}

const keyOf = (which: number): string => world.rotators[which]?.publicKey ?? ''
const codes = (): readonly unknown[] =>
  trouble.map((error) => (error instanceof Error && 'code' in error ? error.code : error))

describe('an agent without a plan', () => {
  it('asks all rotation services each second until it has one', () => {
    start()
    plans.begin()
    machine.advance(3 * SECOND)
    expect(asked).toHaveLength(4)
    answer(world.kept)
    answer(world.kept, asked.at(-2))
    machine.advance(3 * SECOND)
    expect([asked.length, taken]).toEqual([4, [1]])
  })

  it('takes the plan at once when as many questions are answered with it as services must count under it', () => {
    start()
    plans.begin()
    machine.advance(SECOND)
    answer(world.kept)
    answer(world.kept)
    expect(taken).toEqual([])
    answer(world.kept, asked[0])
    expect([taken, kept.length, book.plan?.version]).toEqual([[1], 1, 1])
    expect(events).toEqual([{ type: 'plan', version: 1, until: book.plan?.until }])
  })

  it('waits for 200 ms for a newer one: an old one that is played again fails and delays nothing', () => {
    start()
    plans.begin()
    answer(world.kept)
    machine.advance(100)
    answer(world.plan({ version: 4 }))
    machine.advance(99)
    expect(taken).toEqual([])
    machine.advance(1)
    expect(taken).toEqual([4])
  })

  it('takes a late answer, to a question of the last ten seconds, and none to any other', () => {
    start()
    plans.begin()
    const [first] = asked
    machine.advance(11 * SECOND)
    expect(answer(world.kept, first)).toBe(false)
    expect(answer(world.kept, engine.randomBytes(16))).toBe(false)
    expect(answer(world.kept, asked.at(-2))).toBe(true)
    machine.advance(SECOND)
    expect(taken).toEqual([1])
  })

  it('takes none below the floor of its own token, and says so', () => {
    start({ floor: 3 })
    plans.begin()
    answer(world.plan({ version: 2 }))
    machine.advance(SECOND)
    expect([taken, codes()]).toEqual([[], ['ERR_ROLLBACK']])
    answer(world.plan({ version: 3 }))
    machine.advance(200)
    expect(taken).toEqual([3])
  })

  it('asks the rotation services of the plan for a list that has more than one page', () => {
    start()
    plans.begin()
    const list = [world.revocation(world.identity('gone'), { since: T0 - 1 })]
    const newest = world.plan({ version: 2, list })
    answer(world.kept)
    answer({ ...newest, list: [] }, asked.at(-1), new Uint8Array(16))
    machine.advance(200)
    // No older plan takes its place meanwhile.
    expect([taken, fetches.map(({ rotator }) => rotator)]).toEqual([[], world.held.rotators])
    send(newest, fetches[1])
    expect(taken).toEqual([2])
    expect(world.revocations.all()).toHaveLength(1)
  })

  it('takes the right one however many useless answers came before, and however long', () => {
    start({ floor: 5 })
    plans.begin()
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 40; i++) answer(world.plan({ version: (i % 4) + 1 }))
      machine.advance(SECOND)
    }
    expect(taken).toEqual([])
    answer(world.plan({ version: 5 }))
    machine.advance(SECOND)
    expect(taken).toEqual([5])
  })

  it('takes an answer beside junk that is published as a plan', () => {
    machine.workMs = 1
    start()
    plans.begin()
    const junk = new World().plan({ version: 9, realm: world.realm }).plan
    for (let i = 0; i < 100; i++) plans.heard(junk)
    answer(world.kept)
    machine.advance(200)
    expect(taken).toEqual([1])
  })

  it('spends a bounded time on answers, whatever comes', () => {
    machine.workMs = 1
    start()
    plans.begin()
    const stranger = new World()
    const junk = Array.from({ length: 200 }, (_, i) => stranger.plan({ version: i + 1, realm: world.realm }))
    const checked = checks(() => {
      for (const one of junk) answer(one)
    })
    expect(checked).toBe(25)
  })
})

describe('a higher version that a tick names', () => {
  beforeEach(() => {
    start({ held: world.kept })
  })

  it('is asked of the service that names it, and taken from there with its list', () => {
    plans.named(2, keyOf(1))
    expect(fetches.map(({ rotator, kind }) => [rotator, kind])).toEqual([[keyOf(1), QueryKind.plan]])
    const list = [world.revocation(world.identity('gone'), { since: T0 - 1 })]
    send(world.plan({ version: 2, list }))
    expect([taken, kept.length]).toEqual([[2], 1])
  })

  it('comes without further pages where its list is held already', () => {
    const revocation = world.revocation(world.identity('gone'), { since: T0 - 1 })
    world.revocations.add(revocation, T0)
    plans.named(2, keyOf(0))
    const { plan } = world.plan({ version: 2, made: T0, list: [revocation] })
    const fetch = fetches.at(-1)
    expect(fetch?.onPage([plan])).toBe(false)
    fetch?.onEnd(false)
    expect(taken).toEqual([2])
    // It has delivered.
    plans.named(3, keyOf(0))
    expect(fetches).toHaveLength(2)
  })

  it('is asked of all where nobody of the own plan has named it: made-up services are asked for nothing', () => {
    for (let i = 0; i < 500; i++) plans.named(99, `U${i}`)
    expect([fetches, asked.length]).toEqual([[], 1])
    machine.advance(2 * SECOND)
    for (let i = 0; i < 500; i++) plans.named(99, `U${i}`)
    expect([fetches, asked.length]).toEqual([[], 2])
    // Whoever has the same one, or an older one, says nothing new.
    expect(answer(world.kept)).toBe(true)
    expect(trouble).toEqual([])
    answer(world.plan({ version: 3 }))
    machine.advance(200)
    expect(taken).toEqual([3])
    plans.named(4, 'U')
    expect(asked).toHaveLength(3)
  })

  it('is asked of services of the own plan while made-up ones are named', () => {
    for (let i = 0; i < 500; i++) plans.named(99, `U${i}`)
    plans.named(2, keyOf(1))
    expect(fetches.map(({ rotator }) => rotator)).toEqual([keyOf(1)])
  })

  it('is not believed: who names what it cannot produce is left alone, and no other', () => {
    for (const version of [9, 10]) plans.named(version, keyOf(0))
    send(world.kept, fetches[0])
    expect([taken, trouble]).toEqual([[], []])
    const before = fetches.length
    plans.named(9, keyOf(0))
    expect(fetches).toHaveLength(before)
    plans.named(9, keyOf(1))
    expect(fetches).toHaveLength(before + 1)
    machine.advance(2 * SECOND)
    plans.named(9, keyOf(0))
    expect(fetches).toHaveLength(before + 2)
  })

  it('is not taken without the list that it names, nor of another authority', () => {
    plans.named(2, keyOf(0))
    const list = [world.revocation(world.identity('gone'), { since: T0 - 1 })]
    send({ ...world.plan({ version: 2, list }), list: [] })
    plans.named(2, keyOf(1))
    send(new World().plan({ version: 2 }))
    expect([taken, codes()]).toEqual([[], ['ERR_PLAN_INVALID', 'ERR_PLAN_INVALID']])
  })

  it('is not acted on where it cannot be kept', () => {
    kept.push = () => {
      throw new Error('the disk is full')
    }
    plans.named(2, keyOf(0))
    send(world.plan({ version: 2 }))
    expect([taken, trouble, book.plan?.version]).toEqual([[], [new Error('the disk is full')], 1])
  })
})

describe('a version that a verified token names', () => {
  it('makes an agent ask one of the services, where it is higher, and not again and again', () => {
    start({ held: world.kept })
    plans.claimed(1)
    plans.claimed(0)
    expect(fetches).toEqual([])
    plans.claimed(2)
    expect(fetches).toHaveLength(1)
    fetches[0]?.onEnd(false)
    for (let i = 0; i < 100; i++) plans.claimed(2)
    for (const fetch of fetches.slice(1)) fetch.onEnd(false)
    const { length } = fetches
    for (let i = 0; i < 100; i++) plans.claimed(2)
    expect(fetches.slice(length).map(({ rotator }) => rotator)).not.toContain(fetches[0]?.rotator)
  })
})

describe('a plan that is published', () => {
  beforeEach(() => {
    start({ held: world.kept })
  })

  it('is taken at once where its list is held', () => {
    plans.heard(world.plan({ version: 2, made: T0 }).plan)
    expect(taken).toEqual([2])
  })

  it('is fetched with its list from the services that it names, a moment later', () => {
    const list = [world.revocation(world.identity('gone'), { since: T0 - 1 })]
    const newest = world.plan({ version: 2, made: T0, list })
    plans.heard(newest.plan)
    expect([taken, fetches]).toEqual([[], []])
    machine.advance(2 * SECOND)
    expect(fetches).toHaveLength(3)
    send(newest, fetches[2])
    expect(taken).toEqual([2])
  })

  it('is no news where it is older, and costs no signature', () => {
    start({ held: world.plan({ version: 3 }) })
    const all = [world.plan(), world.plan({ version: 2 }), new World().plan({ version: 9 })]
    expect(
      checks(() => {
        for (const { plan } of all) plans.heard(plan)
      }),
    ).toBe(0)
    expect([taken, codes()]).toEqual([[], ['ERR_PLAN_INVALID']])
  })

  it('is reported where it is another one of the version that is held', () => {
    plans.heard(world.plan({ threshold: 3 }).plan)
    expect([taken, codes(), book.plan?.threshold]).toEqual([[], ['ERR_PLAN_CONFLICT'], 2])
  })

  it('finds a budget of working time', () => {
    machine.workMs = 1
    const { plan } = world.plan({ version: 2, made: T0 })
    const junk = new Uint8Array(plan)
    // The last byte but one is in the signature.
    junk[junk.length - 2] = (junk.at(-2) ?? 0) ^ 1
    const checked = checks(() => {
      for (let i = 0; i < 200; i++) plans.heard(junk)
    })
    expect(checked).toBe(25)
    machine.advance(2 * SECOND)
    plans.heard(plan)
    expect(taken).toEqual([2])
  })
})

describe('somebody who goes by an older plan', () => {
  beforeEach(() => {
    start({ held: world.plan({ version: 2 }) })
  })

  it('is told of the own one, every ten seconds at most', () => {
    for (let i = 0; i < 300; i++) {
      plans.named(1, keyOf(i % 3))
      machine.advance(100)
    }
    expect(published.length).toBeGreaterThanOrEqual(1)
    expect(published.length).toBeLessThanOrEqual(3)
    expect(published[0]).toEqual(book.plan?.bytes)
  })

  it('is told by one agent: what somebody else has said is not said again', () => {
    for (let i = 0; i < 300; i++) {
      plans.named(1, keyOf(0))
      plans.heard(book.plan?.bytes ?? new Uint8Array(0))
      machine.advance(100)
    }
    expect(published).toEqual([])
  })
})

describe('a plan that ends soon', () => {
  it('is an event in its last 30 days, once a day', () => {
    start({ held: world.plan({ until: T0 + 31 * DAY }) })
    const look = (days: number): void => {
      for (let hour = 0; hour < 24 * days; hour++) {
        plans.look()
        machine.advance(DAY / 24)
      }
    }
    look(1)
    expect(events).toEqual([])
    look(3)
    expect(events).toEqual(Array.from({ length: 3 }, () => ({ type: 'planEnding', until: T0 + 31 * DAY })))
  })
})
