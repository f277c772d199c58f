import { beforeEach, describe, expect, it } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { Timers } from '../../../src/base/timers.ts'
import { FreshnessWatch } from '../../../src/bus/realm/freshness-watch.ts'
import { type StatusEvent, StatusFeed } from '../../../src/bus/status.ts'
import type { HeldPlan } from '../../../src/keys/plan.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { DAY, MINUTE, T0, World } from '../../support/statements.ts'

const SECOND = 1000

let world: World
let machine: ManualClock
let clock: HouseClock
let events: StatusEvent[]
/** How often freshness was lost, and whether the clocks have parted. */
let lost: boolean[]
let freshness: FreshnessWatch

beforeEach(() => {
  world = new World({ rotators: 3 })
  machine = new ManualClock(T0)
  clock = houseClock(machine)
  events = []
  lost = []
  const feed = new StatusFeed()
  feed.emit = (event) => void events.push(event)
  freshness = new FreshnessWatch({
    clock,
    feed,
    timers: new Timers(clock, (error) => {
      throw error
    }),
    onLost: (isGap) => lost.push(isGap),
  })
  freshness.adopt(world.held)
})

const keyOf = (which: number): string => world.rotators[which]?.publicKey ?? ''

/** A rotation service has answered what is asked now, or was asked so long ago. */
const count = (which: number, agoMs = 0): number | undefined =>
  freshness.count(keyOf(which), clock.late() - agoMs)

function isStale(): boolean {
  clock.sample()
  return freshness.isStale
}

const types = (): readonly string[] => events.map(({ type }) => type)

describe('an agent', () => {
  it('is fresh when as many rotation services as its plan says have answered', () => {
    expect(isStale()).toBe(true)
    expect(count(0)).toBeUndefined()
    expect(count(0)).toBeUndefined()
    expect(isStale()).toBe(true)
    expect(count(1)).toBe(0)
    expect(isStale()).toBe(false)
  })

  it('is stale 90 s after it asked what enough have answered, whatever came when', () => {
    machine.advance(80 * SECOND)
    count(0)
    count(1, 70 * SECOND)
    machine.advance(20 * SECOND)
    expect(isStale()).toBe(false)
    machine.advance(1)
    expect(isStale()).toBe(true)
    // One that answers again and again is one.
    for (let i = 0; i < 5; i++) count(0)
    expect(isStale()).toBe(true)
    count(2)
    expect(isStale()).toBe(false)
  })

  it('says once that it is stale, and once that it is fresh again', () => {
    count(0)
    count(1)
    machine.advance(5 * MINUTE)
    freshness.look()
    expect([types(), lost]).toEqual([['stale'], [false]])
    count(0)
    count(1)
    count(2)
    expect(types()).toEqual(['stale', 'fresh'])
  })

  it('says nothing before it was fresh', () => {
    machine.advance(5 * MINUTE)
    machine.jump(MINUTE)
    freshness.look()
    expect([types(), lost]).toEqual([[], []])
  })

  it('takes nothing that was asked before the clocks parted, of any rotation service', () => {
    count(0)
    count(1)
    machine.jump(MINUTE)
    freshness.look()
    expect([types(), lost]).toEqual([['stale'], [true]])
    expect(freshness.newestOf(keyOf(0))).toBeUndefined()
    count(0)
    expect(isStale()).toBe(true)
    count(1)
    expect([isStale(), types()]).toEqual([false, ['stale', 'fresh']])
  })

  it.each([DAY, -DAY])(
    'takes nothing that was asked before the clocks parted by %d ms, also where it counts first',
    (ms) => {
      count(0)
      count(1)
      machine.advance(5 * SECOND)
      const askedAt = clock.late()
      machine.advance(1)
      machine.jump(ms)
      // A page has come, and with it all that a waiting tick names: nobody has looked at the clock before.
      expect(freshness.count(keyOf(2), askedAt)).toBeUndefined()
      expect([isStale(), clock.latest, types(), lost]).toEqual([true, T0 + 5 * SECOND, ['stale'], [true]])
      expect(freshness.newestOf(keyOf(2))).toBeUndefined()
      // Nor together with one that was asked for since.
      machine.advance(1)
      count(0)
      freshness.count(keyOf(2), askedAt)
      expect([isStale(), clock.latest]).toEqual([true, T0 + 5 * SECOND])
      count(1)
      expect(isStale()).toBe(false)
    },
  )

  it('counts nothing together that was answered under different wall clocks, also before it was fresh', () => {
    count(0)
    machine.advance(1)
    machine.jump(DAY)
    expect(count(1)).toBeUndefined()
    expect(isStale()).toBe(true)
    // One more, while freshness is void.
    machine.advance(1)
    machine.jump(-DAY)
    count(0)
    expect([isStale(), clock.latest]).toEqual([true, 0])
    machine.advance(1)
    count(1)
    count(0)
    expect(isStale()).toBe(false)
  })

  it('notices each gap of the clocks once', () => {
    for (let i = 0; i < 3; i++) {
      count(0)
      count(1)
      machine.jump(MINUTE)
      for (let j = 0; j < 5; j++) freshness.look()
    }
    expect(lost).toEqual([true, true, true])
  })

  it('knows which rotation services have answered lately', () => {
    count(0)
    machine.advance(50 * SECOND)
    count(1)
    expect(freshness.answering()).toEqual([keyOf(0), keyOf(1)])
    machine.advance(41 * SECOND)
    expect(freshness.answering()).toEqual([keyOf(1)])
  })
})

describe('a new plan', () => {
  const next = (changes: Parameters<World['plan']>[0]): HeldPlan =>
    world.adopt(world.plan({ version: 2, ...changes }))

  it('lets stand what was reached under the former one, and counts anew', () => {
    count(0)
    count(1)
    freshness.adopt(next({ threshold: 3 }))
    machine.advance(80 * SECOND)
    expect(isStale()).toBe(false)
    count(0)
    count(1)
    machine.advance(11 * SECOND)
    expect(isStale()).toBe(true)
    count(2)
    expect(isStale()).toBe(false)
  })

  it('counts no tick of the former one', () => {
    count(0)
    freshness.adopt(next({ rotators: [keyOf(0), keyOf(1)], threshold: 2 }))
    count(1)
    expect(isStale()).toBe(true)
    count(0)
    expect(isStale()).toBe(false)
  })

  it('counts nobody who is not in it', () => {
    freshness.adopt(next({ rotators: [keyOf(1), keyOf(2)], threshold: 2 }))
    count(0)
    count(1)
    expect(isStale()).toBe(true)
    count(2)
    expect(isStale()).toBe(false)
  })

  it('that has ended makes stale, by the latest confirmed time, for good', () => {
    freshness.adopt(next({ until: T0 + MINUTE }))
    count(0)
    count(1)
    expect([isStale(), freshness.isPlanOver]).toEqual([false, false])
    machine.advance(MINUTE)
    expect([isStale(), freshness.isPlanOver]).toEqual([true, true])
    machine.jump(-5 * SECOND)
    expect(isStale()).toBe(true)
    expect(count(2)).toBeUndefined()
    freshness.adopt(world.adopt(world.plan({ version: 3, until: T0 + DAY })))
    count(0)
    count(1)
    expect(isStale()).toBe(false)
  })
})

describe('a rotation service that is revoked', () => {
  it('counts no more at once, and the others are enough where they are', () => {
    for (const which of [0, 1, 2]) count(which)
    freshness.discount(keyOf(0))
    expect([isStale(), types()]).toEqual([false, []])
    freshness.discount(keyOf(1))
    expect([isStale(), types(), lost]).toEqual([true, ['stale'], [false]])
    count(1)
    expect(isStale()).toBe(true)
  })

  it('leaves what the others have answered for as long as that is good', () => {
    count(1)
    count(2)
    machine.advance(60 * SECOND)
    count(0)
    freshness.discount(keyOf(0))
    machine.advance(30 * SECOND)
    expect(isStale()).toBe(false)
    machine.advance(1)
    expect(isStale()).toBe(true)
  })

  it('closes no gap of the clocks', () => {
    for (const which of [0, 1, 2]) count(which)
    machine.jump(MINUTE)
    freshness.discount(keyOf(0))
    expect(isStale()).toBe(true)
  })
})
