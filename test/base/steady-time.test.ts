import { describe, expect, it } from 'vitest'
import { HouseClock } from '../../src/base/house-clock.ts'
import { SteadyTime } from '../../src/base/steady-time.ts'
import { ManualClock } from '../support/clock.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

function steady() {
  const clock = new ManualClock()
  const house = new HouseClock(clock, () => {})
  const time = new SteadyTime(house)
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= HOUR / 4) {
      clock.advance(Math.min(left, HOUR / 4))
      time.look()
    }
  }
  return { clock, time, pass }
}

describe('steady time', () => {
  it('is the wall clock, where that goes on like the others', () => {
    const { clock, time, pass } = steady()
    pass(5 * DAY)
    expect(time.lowest()).toBe(clock.now())
    expect(time.ofWholeDay()).toBe(clock.now())
  })

  it('is none for a whole day before a day is over', () => {
    const { time, pass } = steady()
    pass(DAY - HOUR)
    expect(time.ofWholeDay()).toBeUndefined()
    pass(HOUR)
    expect(time.ofWholeDay()).toBeDefined()
  })

  it('follows a clock that is set ahead a day later, and no sooner', () => {
    const { clock, time, pass } = steady()
    pass(2 * DAY)
    clock.jump(1000 * DAY)
    pass(23 * HOUR)
    expect(clock.now() - time.lowest()).toBe(1000 * DAY)
    pass(2 * HOUR)
    expect(time.lowest()).toBe(clock.now())
  })

  it('follows a clock that is set back at once', () => {
    const { clock, time, pass } = steady()
    pass(2 * DAY)
    clock.jump(-1000 * DAY)
    time.look()
    expect(time.lowest()).toBe(clock.now())
  })

  it('is not moved by a clock that is ahead again and again', () => {
    const { clock, time, pass } = steady()
    pass(2 * DAY)
    for (let i = 0; i < 10; i++) {
      clock.jump(1000 * DAY)
      pass(10 * HOUR)
      clock.jump(-1000 * DAY)
      pass(HOUR)
      expect(time.lowest()).toBe(clock.now())
    }
  })

  it('is looked at by nobody while the machine sleeps', () => {
    const { clock, time, pass } = steady()
    clock.suspend(3 * DAY)
    time.look()
    expect(time.ofWholeDay()).toBeUndefined()
    pass(DAY)
    expect(time.ofWholeDay()).toBe(clock.now())
  })

  it.each([
    [26 * HOUR, 0],
    [23.5 * HOUR, 2 * HOUR],
  ])(
    'is not moved by a clock that is ahead when the machine wakes after %i ms, for %i ms',
    (asleepMs, wrongMs) => {
      const { clock, time, pass } = steady()
      pass(2 * DAY)
      clock.suspend(asleepMs)
      clock.jump(400 * DAY)
      time.look()
      pass(wrongMs)
      const rightMs = clock.now() - 400 * DAY
      expect(time.ofWholeDay()).toBeLessThanOrEqual(rightMs)
      expect(time.lowest()).toBeLessThanOrEqual(rightMs)
    },
  )
})
