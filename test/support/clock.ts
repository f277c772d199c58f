import type { Clock } from '../../src/base/clock.ts'
import { HouseClock } from '../../src/base/house-clock.ts'

interface Timer {
  readonly at: number
  readonly task: () => void
}

/** A clock that moves only when told to. Several agents can share it. */
export class ManualClock implements Clock {
  readonly #timers = new Set<Timer>()
  /** What each piece of work is measured to take, in ms. Nothing, where a test does not say otherwise. */
  workMs = 0
  readonly #hasBoot: boolean
  #work = 0
  #now: number
  #monotonic = 0
  #suspended = 0

  constructor(now = 1_800_000_000_000, { hasBoot = true }: { readonly hasBoot?: boolean } = {}) {
    this.#now = now
    this.#hasBoot = hasBoot
  }

  now(): number {
    return Math.floor(this.#now)
  }

  monotonic(): number {
    return this.#monotonic
  }

  boot(): number | undefined {
    return this.#hasBoot ? this.#monotonic + this.#suspended : undefined
  }

  /** Goes on by {@link workMs} with each look: each piece of work is begun and ended by one. */
  work(): number {
    this.#work += this.workMs
    return this.#work
  }

  after(delayMs: number, task: () => void): () => void {
    const timer = { at: this.#monotonic + Math.max(0, delayMs), task }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Moves on, running the timers that fall due in their order. */
  advance(ms: number): void {
    const target = this.#monotonic + ms
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= target).sort((a, b) => a.at - b.at)[0]
      if (due === undefined) break
      this.#timers.delete(due)
      this.#move(Math.max(due.at, this.#monotonic))
      due.task()
    }
    this.#move(target)
  }

  /** Sets the wall clock alone, as when somebody corrects it. */
  jump(ms: number): void {
    this.#now += ms
  }

  /** The machine sleeps: the wall clock goes on, and so does the boot clock, but no timer and no monotonic clock. */
  suspend(ms: number): void {
    this.#suspended += ms
    this.#now += ms
  }

  #move(monotonic: number): void {
    this.#now += monotonic - this.#monotonic
    this.#monotonic = monotonic
  }
}

/** A connection's clock over a machine's, of which no timer may throw. */
export function houseClock(machine: Clock): HouseClock {
  return new HouseClock(machine, (error) => {
    throw error
  })
}
