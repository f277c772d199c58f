import { describe, expect, it } from 'vitest'
import { VirtualTime } from './virtual-time.ts'

const HOUR = 3_600_000

describe('virtual time', () => {
  it('runs the timers of all clocks in the order in which they are due, those that they set among them', () => {
    const time = new VirtualTime()
    const [first, second] = [time.newClock(), time.newClock()]
    const ran: string[] = []
    first.after(30, () => ran.push('30'))
    second.after(10, () => {
      ran.push('10')
      second.after(10, () => ran.push('20'))
    })
    second.after(50, () => ran.push('50'))
    const cancel = first.after(15, () => ran.push('cancelled'))
    cancel()
    time.advanceTo(time.nowMs + 40)
    expect(ran).toEqual(['10', '20', '30'])
  })

  it('shows a wall clock that is wrong, and a monotonic clock that is not', () => {
    const time = new VirtualTime()
    const clock = time.newClock()
    clock.setError(-HOUR)
    time.advanceTo(time.nowMs + 1000)
    expect([clock.now() - time.nowMs, clock.monotonic()]).toEqual([-HOUR, 1000])
  })

  it('suspends a machine: wall and boot clock go on, the monotonic clock and its timers do not', () => {
    const time = new VirtualTime()
    const clock = time.newClock()
    let ran = 0
    clock.after(5000, () => ran++)
    time.advanceTo(time.nowMs + 1000)
    clock.sleep()
    time.advanceTo(time.nowMs + HOUR)
    expect([clock.now() - time.nowMs, clock.monotonic(), clock.boot(), ran]).toEqual([
      0,
      1000,
      HOUR + 1000,
      0,
    ])
    clock.wake()
    time.advanceTo(time.nowMs + 3999)
    expect([clock.monotonic(), ran]).toEqual([4999, 0])
    time.advanceTo(time.nowMs + 1)
    expect(ran).toBe(1)
  })
})
