import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { EpochWatch } from '../../../src/bus/realm/epoch-watch.ts'
import { type StatusEvent, StatusFeed } from '../../../src/bus/status.ts'
import { deriveEpoch, Epochs } from '../../../src/keys/epochs.ts'
import { signNotice } from '../../../src/keys/notices.ts'
import type { EpochTerms } from '../../../src/wire/plans.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { codeOf, MINUTE, T0, World } from '../../support/statements.ts'

const SECOND = 1000
const PERIOD = 55 * MINUTE

let world: World
let machine: ManualClock
let clock: HouseClock
let epochs: Epochs
let events: StatusEvent[]
/** Numbers of epochs that have begun, with the time since their beginning. */
let begun: [number, number][]
let changes: number
let mayBegin: boolean
let hasKeys: boolean
let watch: EpochWatch

function start(plan: Parameters<World['plan']>[0] = {}, at = T0): void {
  world = new World({ plan })
  machine = new ManualClock(at)
  clock = houseClock(machine)
  epochs = new Epochs({ engine, latest: () => clock.latest })
  events = []
  begun = []
  changes = 0
  mayBegin = true
  hasKeys = true
  const feed = new StatusFeed()
  feed.emit = (event) => void events.push(event)
  watch = new EpochWatch({
    engine,
    clock,
    feed,
    timers: clock,
    epochs,
    plan: () => world.held,
    mayBegin: () => mayBegin,
    hasKeys: () => hasKeys,
    onChanged: () => {
      changes++
    },
    onBegun: (epoch) => begun.push([epoch.number, clock.now() - epoch.notBefore]),
  })
  epochs.adopt(world.held)
}

beforeEach(() => start())

describe('epochs', () => {
  it('begin by the clock, each once, a random time of half a minute at most after they have', () => {
    const delays: number[] = []
    for (let i = 0; i < 60; i++) {
      start()
      watch.look()
      watch.join()
      machine.advance(PERIOD + 30 * SECOND)
      expect(begun.map(([number]) => number)).toEqual([1, 2])
      delays.push(begun[1]?.[1] ?? -1)
    }
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...delays)).toBeLessThanOrEqual(30 * SECOND)
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(15 * SECOND)
  })

  it('begin in the first quarter of the lead where that is short', () => {
    for (let i = 0; i < 30; i++) {
      start({ schedule: { periodMs: 4 * SECOND, leadMs: 2 * SECOND, graceMs: SECOND } })
      watch.look()
      machine.advance(41 * SECOND)
      expect(begun.map(([number]) => number)).toEqual(Array.from({ length: 11 }, (_, k) => k + 1))
      for (const [, delay] of begun) expect(delay).toBeLessThanOrEqual(SECOND / 2)
    }
  })

  it('begin within two seconds for an instance that has no keys at all', () => {
    const delays: number[] = []
    for (let i = 0; i < 40; i++) {
      start({}, T0 + 10 * MINUTE)
      hasKeys = false
      watch.look()
      machine.advance(2 * SECOND)
      expect(begun).toHaveLength(1)
      delays.push((begun[0]?.[1] ?? 0) - 10 * MINUTE)
    }
    expect(Math.max(...delays) - Math.min(...delays)).toBeGreaterThan(SECOND)
  })

  it('do not begin by a clock that nobody confirms, and do when it is confirmed', () => {
    mayBegin = false
    machine.advance(10 * PERIOD)
    watch.look()
    machine.advance(MINUTE)
    expect(begun).toEqual([])
    mayBegin = true
    watch.look()
    mayBegin = false
    machine.advance(MINUTE)
    expect(begun).toEqual([])
    mayBegin = true
    watch.look()
    machine.advance(MINUTE)
    expect(begun.map(([number]) => number).sort()).toEqual([10, 11])
  })

  it('begin again for an instance whose keys were wiped too early, and not for one that could make none', () => {
    watch.look()
    machine.advance(MINUTE)
    expect(begun).toHaveLength(1)
    hasKeys = false
    watch.look()
    machine.advance(MINUTE)
    // It has none: it could make none.
    for (let i = 0; i < 10; i++) watch.look()
    machine.advance(MINUTE)
    expect(begun.map(([number]) => number)).toEqual([1, 1])
  })

  it('that others may seal in already, by their clocks, do not begin before they do by the own one', () => {
    watch.look()
    machine.advance(PERIOD - MINUTE)
    watch.look()
    machine.advance(MINUTE - 1)
    expect(epochs.current(clock.now()).map(({ number }) => number)).toEqual([2, 1])
    expect(begun.map(([number]) => number)).toEqual([1])
  })

  it('of which an instance has announced itself at its join are no news', () => {
    watch.look()
    start({}, T0 + PERIOD + SECOND)
    expect(watch.join().map(({ number }) => number)).toEqual([1, 2])
    watch.look()
    machine.advance(MINUTE)
    expect(begun).toEqual([])
  })

  it('are joined by a clock that is behind too, where none has begun by it', () => {
    start({}, T0 - 20 * SECOND)
    expect(watch.join().map(({ number }) => number)).toEqual([1])
  })

  it('are joined when they have begun, where any has', () => {
    start({}, T0 + PERIOD - SECOND)
    expect(watch.join().map(({ number }) => number)).toEqual([1])
  })

  it('that come into reach or are over are told of, once, without anything that comes', () => {
    watch.look()
    const before = changes
    watch.look()
    expect(changes).toBe(before)
    machine.advance(2 * PERIOD)
    expect(changes).toBeGreaterThan(before)
    expect(epochs.all().map(({ number }) => number)).toContain(3)
  })

  it('that have gone meanwhile do not begin: the machine was suspended', () => {
    watch.look()
    machine.advance(PERIOD)
    clock.counted(clock.late())
    machine.suspend(3 * PERIOD)
    clock.counted(clock.late())
    watch.look()
    machine.advance(MINUTE)
    expect(begun.map(([number]) => number)).not.toContain(2)
    expect(begun.map(([number]) => number)).toContain(5)
  })
})

describe('a notice of a rotation service', () => {
  const derived = (number = 1): EpochTerms => deriveEpoch(engine, world.held, number)
  const checks = (task: () => void): number => {
    const verify = vi.spyOn(engine, 'verify')
    task()
    const { length } = verify.mock.calls
    verify.mockRestore()
    return length
  }

  it('that names what everybody derives is nothing, and costs no signature', () => {
    const notices = [1, 2, 500].map((number) => signNotice(world.rotator, derived(number), 1))
    expect(
      checks(() => {
        for (const notice of notices) watch.notice(notice)
      }),
    ).toBe(0)
    expect(events).toEqual([])
  })

  it('that differs is reported, once an hour for each service and epoch, and believed by nobody', () => {
    const differing = { ...derived(), notAfter: derived().notAfter + 1 }
    const notice = signNotice(world.rotator, differing, 1)
    for (let i = 0; i < 3; i++) watch.notice(notice)
    expect(events).toEqual([{ type: 'epochDiffers', rotator: world.rotator.publicKey, number: 1 }])
    watch.look()
    expect(epochs.all().find(({ number }) => number === 1)?.notAfter).toBe(derived().notAfter)
    machine.advance(60 * MINUTE)
    watch.notice(notice)
    expect(events).toHaveLength(2)
  })

  it('is nothing where nobody of the plan has signed it, or of another version', () => {
    const differing = { ...derived(), graceMs: 1 }
    watch.notice(signNotice(world.identity('mallory'), differing, 1))
    watch.notice(signNotice(world.rotator, differing, 2))
    const forged = signNotice(world.rotator, differing, 1)
    forged[forged.length - 2] = (forged.at(-2) ?? 0) ^ 1
    watch.notice(forged)
    expect(events).toEqual([])
    expect(codeOf(() => watch.notice(new Uint8Array(3)))).toBe('ERR_MALFORMED')
  })

  it('finds a budget of working time', () => {
    machine.workMs = 1
    const forged = signNotice(world.rotator, { ...derived(), graceMs: 1 }, 1)
    forged[forged.length - 2] = (forged.at(-2) ?? 0) ^ 1
    const checked = checks(() => {
      for (let i = 0; i < 200; i++) watch.notice(forged)
    })
    expect(checked).toBe(25)
  })
})
