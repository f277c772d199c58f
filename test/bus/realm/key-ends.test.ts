import { expect, it } from 'vitest'
import { Timers } from '../../../src/base/timers.ts'
import { KeyEnds } from '../../../src/bus/realm/key-ends.ts'
import { StatusFeed } from '../../../src/bus/status.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'

/** Keys that end at these times, as a keyring has them, and what happens beside. */
function ends(endsAt: readonly number[], onTime: () => void) {
  const machine = new ManualClock()
  const clock = houseClock(machine)
  const errors: unknown[] = []
  const wiped: number[] = []
  let told = 0
  let left = endsAt
  const keys = new KeyEnds({
    clock,
    feed: new StatusFeed(),
    timers: new Timers(clock, (error) => errors.push(error)),
    keyring: {
      get endsAtLateMs() {
        return left[0]
      },
      destroyEnded({ lateMs }) {
        const over = left.filter((end) => end <= lateMs)
        left = left.filter((end) => end > lateMs)
        wiped.push(...over)
        return over
      },
    },
    onTime,
    onDestroyed: () => told++,
  })
  return { machine, errors, wiped, keys, told: () => told }
}

it('keys are wiped in their time, and those after them too, whatever else that is done then throws', () => {
  const error = new Error('a session cannot be closed')
  const { machine, errors, wiped, keys, told } = ends([1000, 3000], () => {
    throw error
  })
  keys.lookInTime()
  machine.advance(1100)
  expect(wiped).toEqual([1000])
  machine.advance(2000)
  expect(wiped).toEqual([1000, 3000])
  expect(errors).toEqual([error, error])
  expect(told()).toBe(2)
})
