import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { HouseClock } from '../../src/base/house-clock.ts'
import { CLOCK_WINDOW_MS } from '../../src/base/limits.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { Keyring } from '../../src/keys/keyring.ts'
import { houseClock, ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'
import { DAY, HOUR, MINUTE, T0, World } from '../support/statements.ts'

const world = new World()
const alice = world.identity('alice')
const epochs = [1, 2, 3, 4].map((number) => world.epoch(number))

/** As far as a clock may be slewed before that counts as set. */
const SLEW_MS = 10_000
/** The boot clock moves in steps, so that a shorter sleep cannot be told from none. */
const NAP_MS = 100

type Step =
  | { readonly kind: 'run' | 'sleep' | 'set'; readonly ms: number }
  | { readonly kind: 'right' | 'tick' | 'make' | 'look' }

const MAKE: Step = { kind: 'make' }

const span = fc.oneof(
  fc.integer({ min: 1, max: 2000 }),
  fc.integer({ min: 1, max: 20 * MINUTE }),
  fc.integer({ min: 1, max: 2 * HOUR }),
)
const jump = fc.oneof(
  fc.integer({ min: -15_000, max: 15_000 }),
  fc.integer({ min: -2 * HOUR, max: 2 * HOUR }),
  fc.integer({ min: -400 * DAY, max: 400 * DAY }),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: span.map((ms) => ({ kind: 'run' as const, ms })) },
  { weight: 1, arbitrary: span.map((ms) => ({ kind: 'sleep' as const, ms })) },
  { weight: 2, arbitrary: jump.map((ms) => ({ kind: 'set' as const, ms })) },
  { weight: 2, arbitrary: fc.constant({ kind: 'right' as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'tick' as const }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'make' as const }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'look' as const }) },
)

/** A machine whose clocks go as they like, a keyring on it, and what time it really is. */
class Machine {
  readonly keyring = new Keyring(engine, alice, engine.randomBytes(8))
  readonly made = new Map<Epoch, { readonly awakeMs: number; readonly leftMs: number }>()
  readonly wiped = new Set<Epoch>()
  readonly #clocks: ManualClock
  readonly #clock: HouseClock
  #asleepMs = 0

  constructor(hasBoot: boolean) {
    this.#clocks = new ManualClock(T0, { hasBoot })
    this.#clock = houseClock(this.#clocks)
  }

  /** How long it was awake. */
  get awakeMs(): number {
    return this.#clocks.monotonic()
  }

  get trueMs(): number {
    return T0 + this.awakeMs + this.#asleepMs
  }

  do(step: Step): void {
    switch (step.kind) {
      case 'run':
        return this.#clocks.advance(step.ms)
      case 'sleep':
        this.#asleepMs += step.ms
        return this.#clocks.suspend(step.ms)
      case 'set':
        return this.#clocks.jump(step.ms)
      case 'right':
        return this.#clocks.jump(this.trueMs - this.#clocks.now())
      case 'tick':
        if (this.#isRight) this.#clock.counted(this.#clock.late())
        return
      case 'make':
        return this.#make()
      case 'look':
        return this.#look()
    }
  }

  get #isRight(): boolean {
    return Math.abs(this.#clocks.now() - this.trueMs) <= CLOCK_WINDOW_MS
  }

  /** Keys are made by an agent that is fresh: a tick has just counted. */
  #make(): void {
    if (!this.#isRight) return
    this.#clock.counted(this.#clock.late())
    const at = { notBeforeMs: this.#clock.notBefore(), lateMs: this.#clock.late() }
    for (const epoch of epochs) {
      const isCurrent =
        epoch.notBefore - CLOCK_WINDOW_MS <= this.#clock.now() && at.notBeforeMs < epoch.notAfter
      if (!isCurrent || this.keyring.has(epoch.hash) || this.wiped.has(epoch)) continue
      this.keyring.announce(epoch, at)
      this.made.set(epoch, { awakeMs: this.awakeMs, leftMs: endOf(epoch) - at.notBeforeMs })
    }
  }

  #look(): void {
    const lateMs = this.#clock.late()
    this.keyring.destroyEnded({ latestMs: this.#clock.latest, lateMs })
    for (const epoch of this.made.keys()) if (!this.keyring.has(epoch.hash)) this.wiped.add(epoch)
  }
}

function endOf({ notAfter, graceMs }: Epoch): number {
  return notAfter + graceMs
}

const schedules = fc.array(step, { minLength: 1, maxLength: 60 }).map((steps) => [MAKE, ...steps])

describe('keys on a machine whose clocks go as they like', () => {
  it('are never there after a look when their grace has ended, and never gone before, where a boot clock tells', () => {
    let wiped = 0
    fc.assert(
      fc.property(schedules, (steps) => {
        const machine = new Machine(true)
        for (const step of steps) {
          const before = new Set(machine.wiped)
          machine.do(step)
          if (step.kind !== 'look') continue
          for (const epoch of machine.made.keys()) {
            if (machine.keyring.has(epoch.hash))
              expect(machine.trueMs).toBeLessThan(endOf(epoch) + CLOCK_WINDOW_MS + NAP_MS)
            else if (!before.has(epoch))
              expect(machine.trueMs).toBeGreaterThanOrEqual(endOf(epoch) - CLOCK_WINDOW_MS - SLEW_MS)
          }
        }
        wiped += machine.wiped.size
      }),
      { numRuns: 2000 },
    )
    expect(wiped).toBeGreaterThan(100)
  })

  it('are never there after a look when the machine was awake for as long as they had, whatever tells the time', () => {
    fc.assert(
      fc.property(schedules, (steps) => {
        const machine = new Machine(false)
        for (const step of steps) {
          machine.do(step)
          if (step.kind !== 'look') continue
          for (const [epoch, { awakeMs, leftMs }] of machine.made)
            if (machine.keyring.has(epoch.hash)) expect(machine.awakeMs - awakeMs).toBeLessThan(leftMs)
        }
      }),
      { numRuns: 2000 },
    )
  })
})
