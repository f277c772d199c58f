import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { HouseClock } from '../../src/base/house-clock.ts'
import { houseClock, ManualClock } from '../support/clock.ts'

const DAY_MS = 86_400_000
const KINDS = [
  { name: 'with a boot clock', hasBoot: true },
  { name: 'without a boot clock', hasBoot: false },
]

/** A house clock that rotation services have just confirmed, on a machine whose clocks are moved by hand. */
function counted(hasBoot: boolean) {
  const machine = new ManualClock(undefined, { hasBoot })
  const clock = houseClock(machine)
  clock.counted(clock.late())
  return { machine, clock, start: clock.latest }
}

describe.each(KINDS)('the clock of a connection, $name,', ({ hasBoot }) => {
  it('takes the wall time for the latest one while ticks count', () => {
    const { machine, clock, start } = counted(hasBoot)
    machine.advance(60_000)
    clock.sample()
    expect(clock.latest).toBe(start + 60_000)
    expect(clock.hasGap()).toBe(false)
  })

  it('does not take a wall clock that is ahead for a moment for the latest time', () => {
    const { machine, clock, start } = counted(hasBoot)
    for (const ahead of [11_000, 600_000, 2 * DAY_MS, 400 * DAY_MS]) {
      machine.jump(ahead)
      clock.sample()
      machine.jump(-ahead)
    }
    expect(clock.latest).toBe(start)
    expect(clock.notBefore()).toBe(start)
  })

  it('finds what is too old too old still after the wall clock was set back', () => {
    const { machine, clock, start } = counted(hasBoot)
    machine.advance(80_000)
    clock.sample()
    machine.jump(-3_600_000)
    expect(clock.now()).toBe(start + 80_000 - 3_600_000)
    expect(clock.notBefore()).toBe(start + 80_000)
  })

  it.each([11_000, -11_000, DAY_MS, -DAY_MS])(
    'voids freshness when the wall clock is set by %d ms, until a tick counts',
    (ms) => {
      const { machine, clock } = counted(hasBoot)
      machine.jump(ms)
      expect(clock.hasGap()).toBe(true)
      machine.jump(-ms)
      expect(clock.hasGap()).toBe(true)
      clock.counted(clock.late())
      expect(clock.hasGap()).toBe(false)
    },
  )

  it('bears the fastest slew of a kernel for as long as a tick lasts', () => {
    const { machine, clock } = counted(hasBoot)
    for (let second = 0; second < 90; second++) {
      machine.advance(1000)
      machine.jump(100)
      expect(clock.hasGap()).toBe(false)
    }
  })

  it('knows of a suspended machine at the first look after it', () => {
    const { machine, clock } = counted(hasBoot)
    const before = clock.late()
    machine.suspend(2_400_000)
    expect(clock.late() - before).toBe(2_400_000)
  })

  it('takes no wall time for the latest one once no tick has counted for 90 s', () => {
    const { machine, clock, start } = counted(hasBoot)
    machine.advance(90_000)
    clock.sample()
    machine.advance(1)
    clock.sample()
    expect(clock.latest).toBe(start + 90_000)
  })

  it('is confirmed for 90 s after a tick has counted, and not before the first', () => {
    const { machine, clock } = counted(hasBoot)
    expect(houseClock(machine).isConfirmed).toBe(false)
    expect(clock.confirmedFor()).toBe(90_000)
    machine.advance(90_000)
    expect([clock.confirmedFor(), clock.isConfirmed]).toEqual([0, true])
    machine.advance(1)
    expect([clock.confirmedFor(), clock.isConfirmed]).toEqual([0, false])
    clock.counted(clock.late())
    expect(clock.isConfirmed).toBe(true)
  })

  it('is confirmed for 90 s from the question on, however late the answer comes', () => {
    const { machine, clock } = counted(hasBoot)
    const askedAt = clock.late()
    machine.advance(60_000)
    clock.counted(askedAt)
    expect(clock.confirmedFor()).toBe(30_000)
    machine.advance(30_001)
    clock.now()
    expect(clock.isConfirmed).toBe(false)
    clock.counted(askedAt)
    expect(clock.isConfirmed).toBe(false)
  })

  it('stays confirmed for as long as what was reached before says, when an older question is answered', () => {
    const { machine, clock } = counted(hasBoot)
    machine.advance(60_000)
    const askedAt = clock.late()
    clock.counted(askedAt)
    clock.counted(askedAt - 50_000)
    expect(clock.confirmedFor()).toBe(90_000)
  })

  it('lets nothing of what was reached before a gap of the clocks stand after it', () => {
    const { machine, clock } = counted(hasBoot)
    machine.advance(60_000)
    clock.counted(clock.late())
    machine.jump(-60_000)
    expect(clock.hasGap()).toBe(true)
    const askedAt = clock.late()
    machine.advance(60_000)
    clock.counted(askedAt)
    expect(clock.confirmedFor()).toBe(30_000)
  })

  it.each([DAY_MS, -DAY_MS])(
    'closes no gap of %d ms by what was asked before it, and takes no time from it',
    (ms) => {
      const { machine, clock, start } = counted(hasBoot)
      machine.advance(5000)
      const askedAt = clock.late()
      machine.advance(1)
      machine.jump(ms)
      clock.counted(askedAt)
      expect([clock.hasGap(), clock.isConfirmed, clock.latest]).toEqual([true, false, start + 5000])
      machine.advance(1)
      clock.counted(clock.late())
      expect([clock.hasGap(), clock.isConfirmed]).toEqual([false, true])
    },
  )

  it('knows of each gap that comes while one lasts', () => {
    const { machine, clock, start } = counted(hasBoot)
    machine.jump(DAY_MS)
    clock.sample()
    machine.advance(1)
    const askedAt = clock.late()
    machine.advance(1)
    machine.jump(-DAY_MS)
    clock.counted(askedAt)
    expect([clock.gaps, clock.hasGap(), clock.latest]).toEqual([2, true, start])
  })

  it('knows of a gap before anything has counted, and when what counted was discounted', () => {
    const machine = new ManualClock(undefined, { hasBoot })
    const clock = houseClock(machine)
    const askedAt = clock.late()
    machine.advance(1)
    machine.jump(DAY_MS)
    clock.counted(askedAt)
    expect([clock.isConfirmed, clock.latest]).toEqual([false, 0])
    clock.counted(clock.late())
    machine.advance(1)
    const again = clock.late()
    clock.discount()
    machine.advance(1)
    machine.jump(DAY_MS)
    clock.counted(again)
    expect(clock.isConfirmed).toBe(false)
  })

  it('measures a gap from the last answers that brought anything', () => {
    const { machine, clock } = counted(hasBoot)
    const askedAt = clock.late()
    for (let i = 0; i < 4; i++) {
      machine.advance(1000)
      machine.jump(4000)
      clock.counted(askedAt)
    }
    expect(clock.hasGap()).toBe(true)
  })

  it('is confirmed no more when what was answered is discounted, until something else is', () => {
    const { machine, clock } = counted(hasBoot)
    const askedAt = clock.late()
    machine.advance(20_000)
    clock.counted(clock.late())
    clock.discount()
    expect([clock.isConfirmed, clock.confirmedFor()]).toEqual([false, 0])
    clock.counted(askedAt)
    expect(clock.confirmedFor()).toBe(70_000)
  })

  it.each([90_001, 2_400_000])('is not confirmed after a machine was suspended for %d ms', (ms) => {
    const { machine, clock } = counted(hasBoot)
    machine.suspend(ms)
    clock.now()
    expect(clock.isConfirmed).toBe(false)
  })

  it('never goes back in what it takes for the latest time, nor in what has passed', () => {
    const { machine, clock } = counted(hasBoot)
    let latest = clock.latest
    let late = clock.late()
    for (const ms of [-DAY_MS, 5000, -120_000, DAY_MS, -1, 1, -3_600_000]) {
      machine.jump(ms)
      machine.advance(250)
      clock.counted(clock.late())
      expect(clock.latest).toBeGreaterThanOrEqual(latest)
      expect(clock.late()).toBeGreaterThanOrEqual(late)
      latest = clock.latest
      late = clock.late()
    }
  })
})

describe('the clock of a connection', () => {
  it('tells a machine that slept from a wall clock that was set, where a boot clock tells', () => {
    const { machine, clock } = counted(true)
    machine.jump(2 * DAY_MS)
    expect(clock.late()).toBe(0)
    expect(clock.hasGap()).toBe(true)
  })

  it('counts a wall clock that was set forward as time that may have passed, where nothing tells', () => {
    const { machine, clock } = counted(false)
    machine.jump(2 * DAY_MS)
    expect(clock.late()).toBe(2 * DAY_MS)
    expect(clock.early()).toBe(0)
  })

  it('finds a sleep that was hidden by setting the wall clock back, when it is asked what has passed', () => {
    const { machine, clock } = counted(true)
    machine.suspend(600_000)
    machine.jump(-600_000)
    clock.sample()
    expect(clock.isConfirmed).toBe(true)
    expect(clock.late()).toBe(600_000)
    expect(clock.isConfirmed).toBe(false)
  })

  it('does not see a sleep in the steps of the boot clock', () => {
    const machine = new ManualClock()
    const stepping = { ...methodsOf(machine), boot: () => Math.floor(machine.monotonic() / 10) * 10 }
    const clock = houseClock(stepping)
    for (let i = 0; i < 1000; i++) {
      machine.advance(7)
      clock.counted(clock.late())
    }
    expect(clock.late()).toBe(7000)
  })

  it('has a boot clock on Linux that goes with the monotonic clock', async () => {
    if (process.platform !== 'linux') return
    const before = { boot: systemClock.boot?.() ?? Number.NaN, monotonic: systemClock.monotonic() }
    await new Promise((resolve) => setTimeout(resolve, 200))
    const boot = (systemClock.boot?.() ?? Number.NaN) - before.boot
    expect(Math.abs(boot - (systemClock.monotonic() - before.monotonic))).toBeLessThan(50)
  })
})

describe('a timer of a connection', () => {
  it('reports what its task throws: in a bare timer it would end the process', () => {
    const machine = new ManualClock()
    const errors: unknown[] = []
    const clock = new HouseClock(machine, (error) => errors.push(error))
    const failing = new Error('in a timer')
    clock.after(10, () => {
      throw failing
    })
    expect(() => machine.advance(10)).not.toThrow()
    expect(errors).toEqual([failing])
  })
})

function methodsOf(clock: ManualClock) {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (delayMs: number, task: () => void) => clock.after(delayMs, task),
  }
}
