import { beforeEach, describe, expect, it } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { Pings } from '../../../src/bus/realm/pings.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'

let machine: ManualClock
let clock: HouseClock
/** When pings were sent, by the monotonic clock. */
let sent: number[]
let pings: Pings

beforeEach(() => {
  machine = new ManualClock()
  clock = houseClock(machine)
  sent = []
  pings = new Pings({ engine, clock, timers: clock, send: () => sent.push(clock.monotonic()) })
})

/** The time from each ping to the next one. */
const intervals = (): readonly number[] => sent.slice(1).map((at, i) => at - (sent[i] ?? 0))

/** Lets time pass until so many were sent; `after` is done after each of them. */
function passUntil(count: number, after: () => void = () => {}): void {
  let seen = sent.length
  while (sent.length < count) {
    machine.advance(5)
    if (sent.length > seen) after()
    seen = sent.length
  }
}

/** Enough rotation services have answered the newest ping. */
const answer = (): void => pings.answered(pings.open()[0]?.sentAtLateMs ?? 0)

describe('pings', () => {
  it('come each second and up to 255 ms later while an agent joins, answered or not', () => {
    pings.now()
    passUntil(200, answer)
    expect(Math.min(...intervals())).toBeGreaterThanOrEqual(1000)
    expect(Math.max(...intervals())).toBeLessThanOrEqual(1260)
    expect(new Set(intervals()).size).toBeGreaterThan(20)
  })

  it('come after 45 to 60 s where the newest one is answered', () => {
    pings.joined()
    pings.now()
    answer()
    passUntil(200, answer)
    expect(Math.min(...intervals())).toBeGreaterThanOrEqual(45_000)
    expect(Math.max(...intervals())).toBeLessThanOrEqual(60_005)
    expect(Math.max(...intervals()) - Math.min(...intervals())).toBeGreaterThan(10_000)
  })

  it('come about every 5 s while the newest one is not answered: six times before an agent is stale', () => {
    pings.joined()
    pings.now()
    answer()
    passUntil(100)
    const [first = 0, ...others] = intervals()
    expect(first).toBeGreaterThanOrEqual(45_000)
    expect(Math.min(...others)).toBeGreaterThanOrEqual(4000)
    expect(Math.max(...others)).toBeLessThanOrEqual(6005)
    expect(60_000 + 5 * Math.max(...others)).toBeLessThanOrEqual(90_100)
  })

  it('do not wait when an older one is answered', () => {
    pings.joined()
    pings.now()
    const before = clock.late()
    passUntil(2)
    pings.answered(before)
    passUntil(3)
    expect(intervals()[1]).toBeLessThanOrEqual(6005)
  })

  it('are spread over two seconds where all agents have the same reason to ask', () => {
    const delays: number[] = []
    for (let i = 0; i < 200; i++) {
      const own: number[] = []
      const one = new Pings({ engine, clock, timers: clock, send: () => own.push(clock.monotonic()) })
      one.joined()
      one.now()
      one.answered(one.open()[0]?.sentAtLateMs ?? 0)
      const since = clock.monotonic()
      one.soon()
      while (own.length < 2) machine.advance(5)
      delays.push((own[1] ?? 0) - since)
    }
    expect(Math.max(...delays)).toBeLessThanOrEqual(2005)
    expect(Math.max(...delays)).toBeGreaterThan(1500)
    expect(Math.min(...delays)).toBeLessThan(500)
  })

  it('come soon only where they would not come sooner', () => {
    pings.now()
    machine.advance(999)
    pings.soon()
    passUntil(2)
    expect(intervals()[0]).toBeLessThanOrEqual(1260)
  })

  it('come because of broadcasts every five seconds at most: anybody can repeat one', () => {
    pings.joined()
    pings.now()
    answer()
    for (let i = 0; i < 300; i++) {
      pings.hinted()
      machine.advance(100)
      if (pings.open().length > 0) answer()
    }
    expect(sent.length).toBeLessThanOrEqual(1 + 6)
    expect(sent.length).toBeGreaterThanOrEqual(1 + 5)
  })
})

describe('the answers that are waited for', () => {
  it('are to pings of the last 90 s, the newest first, by the most that can have passed', () => {
    pings.now()
    machine.advance(1)
    pings.now()
    expect(pings.open().map(({ sentAtLateMs }) => sentAtLateMs)).toEqual([1, 0])
    machine.suspend(90_000)
    expect(pings.open()).toHaveLength(1)
    machine.suspend(100)
    expect(pings.open()).toEqual([])
  })

  it('are to none of the pings from before the clocks have parted', () => {
    pings.now()
    pings.forget()
    expect(pings.open()).toEqual([])
    pings.now()
    expect(pings.open()).toHaveLength(1)
  })

  it('are of a bounded number, each with a nonce of its own', () => {
    for (let i = 0; i < 500; i++) pings.now()
    const open = pings.open()
    expect(open).toHaveLength(128)
    expect(new Set(open.map(({ nonce }) => Buffer.from(nonce).toString('hex'))).size).toBe(128)
  })
})
