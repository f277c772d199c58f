import { beforeEach, describe, expect, it } from 'vitest'
import { Leadership } from '../../src/rotation/leadership.ts'
import type { Lease } from '../../src/rotation/log.ts'
import { ManualClock } from '../support/clock.ts'

const LEASE_MS = 3000
/** A sixth less than the server's. */
const HELD_MS = 2500

/** A lease whose answers a test gives, when it likes. */
class HandLease implements Lease {
  readonly durationMs = LEASE_MS
  isFree = true
  isFailing = false
  asked = 0
  given = 0
  /** Where it is set, answers wait for it. */
  answer: Promise<void> | undefined

  async take(): Promise<boolean> {
    this.asked++
    await this.answer
    if (this.isFailing) throw new Error('no answer')
    return this.isFree
  }

  async giveBack(): Promise<void> {
    this.given++
    if (this.isFailing) throw new Error('no answer')
  }
}

let clock: ManualClock
let lease: HandLease
let told: string[]
let leadership: Leadership

beforeEach(() => {
  clock = new ManualClock()
  lease = new HandLease()
  told = []
  leadership = new Leadership({
    lease,
    clock,
    onTaken: () => told.push('taken'),
    onLost: () => told.push('lost'),
    onError: () => told.push('error'),
  })
})

/** Lets what was asked be answered. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

async function pass(ms: number, stepMs = 100): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(left, stepMs))
    await settle()
  }
}

describe('leadership', () => {
  it('is held for as long as it is renewed, three times in each lease', async () => {
    await leadership.start()
    await pass(10 * LEASE_MS)
    expect(leadership.isHeld).toBe(true)
    expect(told).toEqual(['taken'])
    expect(lease.asked).toBe(31)
  })

  it('is tried for six times in each lease while another one has it', async () => {
    lease.isFree = false
    await leadership.start()
    await pass(2 * LEASE_MS)
    expect(leadership.isHeld).toBe(false)
    expect(lease.asked).toBe(13)
    lease.isFree = true
    await pass(500)
    expect(leadership.isHeld).toBe(true)
    expect(told).toEqual(['taken'])
  })

  it('ends here before it ends on the server, where it cannot be renewed', async () => {
    await leadership.start()
    lease.isFailing = true
    await pass(HELD_MS - 100)
    expect(leadership.isHeld).toBe(true)
    await pass(100)
    expect(leadership.isHeld).toBe(false)
    // One word for all that failed.
    expect(told).toEqual(['taken', 'error', 'lost'])
    lease.isFailing = false
    await pass(500)
    expect(told).toEqual(['taken', 'error', 'lost', 'taken'])
  })

  it('ends at once when another one has taken it', async () => {
    await leadership.start()
    lease.isFree = false
    await pass(1000)
    expect(told).toEqual(['taken', 'lost'])
  })

  it('counts from before it was asked for, however late the answer', async () => {
    let release = (): void => {}
    lease.answer = new Promise((resolve) => {
      release = resolve
    })
    const started = leadership.start()
    await pass(HELD_MS - 100)
    release()
    await started
    expect(leadership.isHeld).toBe(true)
    clock.advance(100)
    expect(leadership.isHeld).toBe(false)
    expect(told).toEqual(['taken', 'lost'])
  })

  it('is not taken with an answer that comes when it has ended', async () => {
    let release = (): void => {}
    lease.answer = new Promise((resolve) => {
      release = resolve
    })
    const started = leadership.start()
    await pass(HELD_MS)
    release()
    await started
    expect(leadership.isHeld).toBe(false)
    expect(told).toEqual([])
  })

  it('has ended for a process that stood still, before any of its timers runs', async () => {
    let wasHeld: boolean | undefined
    clock.after(HELD_MS, () => {
      wasHeld = leadership.isHeld
    })
    await leadership.start()
    lease.isFailing = true
    // All timers fall due at once, in their order.
    clock.advance(HELD_MS)
    expect(wasHeld).toBe(false)
    expect(leadership.isHeld).toBe(false)
  })

  it('has ended for a machine that was suspended: its monotonic clock has not seen it', async () => {
    await leadership.start()
    clock.jump(HELD_MS)
    expect(leadership.isHeld).toBe(false)
    // Nobody has taken it meanwhile; but somebody could have, and that is told.
    await pass(1000)
    expect(leadership.isHeld).toBe(true)
    expect(told).toEqual(['taken', 'lost', 'taken'])
  })

  it('is not made longer by a wall clock that is set back', async () => {
    let wasHeld: boolean | undefined
    // Before any timer of the leadership itself.
    clock.after(HELD_MS, () => {
      wasHeld = leadership.isHeld
    })
    await leadership.start()
    lease.isFailing = true
    clock.jump(-3_600_000)
    await pass(HELD_MS)
    expect(wasHeld).toBe(false)
  })

  it('that is given up is left to others for the time of one lease', async () => {
    await leadership.start()
    await leadership.giveUp()
    expect(leadership.isHeld).toBe(false)
    expect(lease.given).toBe(1)
    const { asked } = lease
    await pass(LEASE_MS - 100)
    expect(lease.asked).toBe(asked)
    await pass(100)
    expect(told).toEqual(['taken', 'lost', 'taken'])
  })

  it('that is given up while it is renewed is not renewed', async () => {
    await leadership.start()
    let release = (): void => {}
    lease.answer = new Promise((resolve) => {
      release = resolve
    })
    clock.advance(1000)
    const givenUp = leadership.giveUp()
    release()
    await givenUp
    expect(leadership.isHeld).toBe(false)
    await pass(LEASE_MS - 100)
    expect(leadership.isHeld).toBe(false)
  })

  it('that is closed is given back once, and never asked for again', async () => {
    await leadership.start()
    await leadership.close()
    expect({ isHeld: leadership.isHeld, given: lease.given }).toEqual({ isHeld: false, given: 1 })
    const { asked } = lease
    await pass(3 * LEASE_MS)
    expect(lease.asked).toBe(asked)
  })

  it('closes where it cannot be given back', async () => {
    await leadership.start()
    lease.isFailing = true
    await leadership.close()
    expect(leadership.isHeld).toBe(false)
  })

  it('is not taken by an answer that comes while it is closed', async () => {
    let release = (): void => {}
    lease.answer = new Promise((resolve) => {
      release = resolve
    })
    const started = leadership.start()
    const closed = leadership.close()
    release()
    await Promise.all([started, closed])
    expect(leadership.isHeld).toBe(false)
    expect(told).toEqual([])
    expect(lease.given).toBe(1)
  })
})
