import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../bench/lib/virtual-clock.ts'

const START_MS = 1_800_000_000_000
const HOUR_MS = 3_600_000

describe('a virtual clock', () => {
  it('stands still between runs, and goes on by as much as it is told to', async () => {
    const clock = new VirtualClock(START_MS)
    expect([clock.now(), clock.monotonic(), clock.boot()]).toEqual([START_MS, 0, 0])
    await clock.run(HOUR_MS)
    expect([clock.now(), clock.monotonic(), clock.boot()]).toEqual([START_MS + HOUR_MS, HOUR_MS, HOUR_MS])
  })

  it('runs timers in the order of their times, and those of one time in the order in which they were set', async () => {
    const clock = new VirtualClock(START_MS)
    const ran: string[] = []
    const note = (name: string) => () => ran.push(`${name} ${clock.monotonic()}`)
    clock.after(20, note('c'))
    clock.after(10, note('a'))
    clock.after(20, note('d'))
    clock.after(10, note('b'))
    clock.after(-5, note('at once'))
    await clock.run(20)
    expect(ran).toEqual(['at once 0', 'a 10', 'b 10', 'c 20', 'd 20'])
  })

  it('runs what timers set, where it falls due, and leaves the rest for the next run', async () => {
    const clock = new VirtualClock(START_MS)
    const ran: number[] = []
    const again = (): void => {
      ran.push(clock.monotonic())
      clock.after(40, again)
    }
    again()
    await clock.run(100)
    expect(ran).toEqual([0, 40, 80])
    expect(clock.monotonic()).toBe(100)
    await clock.run(20)
    expect(ran).toEqual([0, 40, 80, 120])
  })

  it('lets promises go on before the next timer runs', async () => {
    const clock = new VirtualClock(START_MS)
    const ran: string[] = []
    const wait = (ms: number) => new Promise<void>((resolve) => clock.after(ms, resolve))
    const task = async (): Promise<void> => {
      await wait(10)
      await Promise.resolve()
      ran.push(`task ${clock.monotonic()}`)
      await wait(5)
      ran.push(`task ${clock.monotonic()}`)
    }
    const ended = task()
    clock.after(11, () => ran.push(`timer ${clock.monotonic()}`))
    await clock.run(HOUR_MS)
    await ended
    expect(ran).toEqual(['task 10', 'timer 11', 'task 15'])
  })

  it('runs no timer that was cancelled, whenever that was, and any other once', async () => {
    const clock = new VirtualClock(START_MS)
    const ran: number[] = []
    const times = Array.from({ length: 5000 }, (_, i) => (i * 7919) % 1000)
    const cancels = times.map((atMs, i) => clock.after(atMs, () => ran.push(i)))
    const isFirst = (i: number): boolean => i % 5 === 0
    for (const [i, cancel] of cancels.entries()) if (!isFirst(i)) cancel()
    await clock.run(499)
    // Those that have run stay as they are.
    const isSecond = (i: number): boolean => i >= 2500
    for (const [i, cancel] of cancels.entries()) if (!isSecond(i)) cancel()
    await clock.run(HOUR_MS)
    const expected = times.flatMap((atMs, i) => (isFirst(i) && (atMs <= 499 || isSecond(i)) ? [i] : []))
    expect(ran.sort((a, b) => a - b)).toEqual(expected)
  })

  it('keeps the order of many timers of which many are cancelled', async () => {
    const clock = new VirtualClock(START_MS)
    const due: { atMs: number; order: number }[] = []
    const ran: { atMs: number; order: number }[] = []
    for (let order = 0; order < 20_000; order++) {
      const atMs = (order * 48_271) % 997
      const cancel = clock.after(atMs, () => ran.push({ atMs: clock.monotonic(), order }))
      if (order % 4 === 0) due.push({ atMs, order })
      else cancel()
    }
    await clock.run(1000)
    expect(ran).toEqual(due.sort((a, b) => a.atMs - b.atMs || a.order - b.order))
  })

  it('ends the run with what a timer throws', async () => {
    const clock = new VirtualClock(START_MS)
    clock.after(1, () => {
      throw new Error('broken')
    })
    await expect(clock.run(2)).rejects.toThrow('broken')
  })

  it('measures every piece of work alike', () => {
    const clock = new VirtualClock(START_MS)
    const took = Array.from({ length: 3 }, () => {
      const startedAt = clock.work()
      return clock.work() - startedAt
    })
    expect(took[0]).toBeGreaterThan(0)
    for (const each of took) expect(each).toBeCloseTo(took[0] ?? 0)
  })
})
