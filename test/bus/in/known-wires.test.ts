import { describe, expect, it } from 'vitest'
import { deliveryOf, KnownWires } from '../../../src/bus/in/known-wires.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'

function known() {
  const machine = new ManualClock()
  const clock = houseClock(machine)
  clock.counted(clock.late())
  /** Time goes on, and ticks count. */
  const pass = (ms: number): void => {
    for (let passed = 0; passed < ms; passed += 15_000) {
      machine.advance(15_000)
      clock.counted(clock.late())
    }
  }
  return { machine, clock, pass, wires: new KnownWires(clock, engine.randomBytes(12)) }
}

describe('the messages that are known', () => {
  it('are known by their names, and by how they were delivered', () => {
    const { wires } = known()
    const name = engine.randomBytes(32)
    const delivery = deliveryOf(1, { subject: 'orders.new' })
    wires.note(name, delivery)
    expect(wires.has(name, delivery)).toBe(true)
    expect(wires.has(engine.randomBytes(32), delivery)).toBe(false)
    const others = [
      deliveryOf(2, { subject: 'orders.new' }),
      deliveryOf(1, { subject: 'orders.old' }),
      deliveryOf(1, { subject: 'orders.new.1' }),
    ]
    expect(new Set([delivery, ...others]).size).toBe(4)
    expect(others.map((other) => wires.has(name, other))).toEqual([false, false, false])
  })

  it('are all known while they are fewer than 262,144, and no other one is', () => {
    const { wires } = known()
    const noted = Array.from({ length: 100_000 }, () => engine.randomBytes(8))
    for (const name of noted) wires.note(name, 1)
    expect(noted.every((name) => wires.has(name, 1))).toBe(true)
    const others = Array.from({ length: 100_000 }, () => engine.randomBytes(8))
    expect(others.some((name) => wires.has(name, 1))).toBe(false)
  })

  it('give way, the oldest first, when more come than there is room for', () => {
    const { wires } = known()
    const numbered = (n: number): Uint8Array => engine.sha256(Uint8Array.of(n >>> 16, n >>> 8, n))
    const room = 2 ** 18
    for (let n = 0; n < 2 * room + 1; n++) wires.note(numbered(n), 1)
    expect([0, room - 1].map((n) => wires.has(numbered(n), 1))).toEqual([false, false])
    expect([room, 2 * room - 1, 2 * room].map((n) => wires.has(numbered(n), 1))).toEqual([true, true, true])
  })

  it('are forgotten only when the rule of time refuses them by the latest confirmed time', () => {
    const { machine, pass, wires } = known()
    const first = engine.randomBytes(32)
    wires.note(first, 1)
    // A wall clock that is ahead for a moment makes nothing old.
    machine.jump(86_400_000)
    wires.note(engine.randomBytes(32), 1)
    wires.note(engine.randomBytes(32), 1)
    machine.jump(-86_400_000)
    expect(wires.has(first, 1)).toBe(true)
    pass(239_000)
    wires.note(engine.randomBytes(32), 1)
    expect(wires.has(first, 1)).toBe(true)
    for (let round = 0; round < 2; round++) {
      pass(240_000)
      wires.note(engine.randomBytes(32), 1)
    }
    expect(wires.has(first, 1)).toBe(false)
  })

  it('take little memory where few messages come', () => {
    const before = process.memoryUsage().arrayBuffers
    const { wires } = known()
    wires.note(engine.randomBytes(32), 1)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024)
  })
})
