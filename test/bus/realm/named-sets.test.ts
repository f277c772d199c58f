import { beforeEach, describe, expect, it } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { NamedSets } from '../../../src/bus/realm/named-sets.ts'
import type { Fetch } from '../../../src/bus/realm/page-fetches.ts'
import { listHash } from '../../../src/keys/plan.ts'
import { readTick } from '../../../src/keys/ticks.ts'
import { QueryKind } from '../../../src/wire/queries.ts'
import type { Tick } from '../../../src/wire/ticks.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { T0, World } from '../../support/statements.ts'

let world: World
let machine: ManualClock
let clock: HouseClock
let fetches: Fetch[]
let held: string[]
let added: number
let stands: boolean
let sets: NamedSets
let one: Uint8Array
let two: Uint8Array

beforeEach(() => {
  world = new World({ rotators: 2 })
  machine = new ManualClock(T0)
  clock = houseClock(machine)
  fetches = []
  held = []
  added = 0
  stands = true
  one = world.revocation(world.identity('one'), { since: T0 - 2 })
  two = world.revocation(world.identity('two'), { since: T0 - 1 })
  sets = new NamedSets({
    clock,
    revocations: world.revocations,
    fetches: {
      begin: (fetch) => {
        fetches.push(fetch)
        return true
      },
    },
    stands: ({ askedAtLateMs }) => stands && clock.late() - askedAtLateMs <= 90_000,
    onHeld: ({ tick }) => held.push(tick.rotator),
    onAdded: (all) => {
      added += all.length
    },
  })
})

const keyOf = (which: number): string => world.rotators[which]?.publicKey ?? ''

/** A tick of a rotation service that names these. */
function tickOf(which: number, ...named: readonly Uint8Array[]): Tick {
  const by = world.rotators[which]
  const revocationsHash = listHash(engine, named)
  return readTick(engine, world.tick({ revocationsHash }, by === undefined ? {} : { by })).tick
}

const offer = (tick: Tick): void => sets.offer({ tick, askedAtLateMs: clock.late() })

/** The service of a fetch sends these. */
function send(list: readonly Uint8Array[], fetch = fetches.at(-1)): void {
  fetch?.onPage(list)
  fetch?.onEnd(true)
}

describe('a tick', () => {
  it('counts at once where all that it names is held, and no more is asked', () => {
    world.revocations.add(one, T0)
    offer(tickOf(0, one))
    expect([held, fetches]).toEqual([[keyOf(0)], []])
  })

  it('waits until what is missing has come from the very service that names it', () => {
    offer(tickOf(1, one, two))
    expect(held).toEqual([])
    expect(fetches.map(({ rotator, kind }) => [rotator, kind])).toEqual([[keyOf(1), QueryKind.revocations]])
    send([two, one])
    expect([held, added]).toEqual([[keyOf(1)], 2])
  })

  it('counts where more is held than it names, once the service has said what that is', () => {
    for (const bytes of [one, two]) world.revocations.add(bytes, T0)
    offer(tickOf(0, one))
    send([one])
    expect([held, added]).toEqual([[keyOf(0)], 0])
    // It is known from then on.
    offer(tickOf(0, one))
    expect([held.length, fetches.length]).toEqual([2, 1])
  })

  it('counts when the rest has come by another way', () => {
    offer(tickOf(0, one))
    world.revocations.add(one, T0)
    sets.changed()
    expect(held).toEqual([keyOf(0)])
  })

  it('counts no more where what is missing comes more than 90 s after the question', () => {
    offer(tickOf(0, one))
    machine.advance(90_001)
    send([one])
    expect([held, added]).toEqual([[], 1])
  })

  it('counts no more where it would not, if it came now', () => {
    offer(tickOf(0, one))
    stands = false
    send([one])
    expect([held, added]).toEqual([[], 1])
    stands = true
    sets.changed()
    expect(held).toEqual([])
  })

  it('counts no more after the clocks have parted, or under another plan', () => {
    offer(tickOf(0, one))
    sets.forget()
    send([one])
    expect(held).toEqual([])
  })
})

describe('a service that names what it cannot produce', () => {
  it('is not counted, is asked ever more seldom, and holds up no other', () => {
    for (let second = 0; second < 200; second++) {
      const wild = tickOf(0, world.revocation(world.identity('x'), { since: T0 - second }))
      offer(wild)
      for (const fetch of fetches.splice(0)) send([one], fetch)
      machine.advance(1000)
      offer(tickOf(1))
    }
    expect(held).toEqual(Array.from({ length: 200 }, () => keyOf(1)))
    offer(tickOf(0, two))
    expect(fetches.length).toBeLessThanOrEqual(1)
  })

  it('is asked about as often as it is left alone for a growing time', () => {
    let count = 0
    for (let second = 0; second < 300; second++) {
      offer(tickOf(0, two))
      for (const fetch of fetches.splice(0)) {
        count++
        fetch.onEnd(false)
      }
      machine.advance(1000)
    }
    expect(count).toBeGreaterThanOrEqual(36)
    expect(count).toBeLessThanOrEqual(40)
  })
})

describe('a set that changes while it is sent', () => {
  it('counts with the next tick, which names what has come', () => {
    offer(tickOf(0, one))
    send([one, two])
    expect([held, added]).toEqual([[], 0])
    offer(tickOf(0, one, two))
    expect([held, added, fetches.length]).toEqual([[keyOf(0)], 2, 1])
  })

  it('counts where the newer tick came before the list', () => {
    offer(tickOf(0, one))
    const [fetch] = fetches
    offer(tickOf(0, one, two))
    send([one, two], fetch)
    expect([held, added]).toEqual([[keyOf(0)], 2])
  })
})

describe('a set that is named to everybody', () => {
  it('is fetched where something of it is missing, and makes nothing count', () => {
    expect(sets.hinted(tickOf(0))).toBe(false)
    expect(fetches).toEqual([])
    expect(sets.hinted(tickOf(0, one))).toBe(true)
    send([one])
    expect([held, added]).toEqual([[], 1])
    expect(sets.hinted(tickOf(0, one))).toBe(false)
  })
})
