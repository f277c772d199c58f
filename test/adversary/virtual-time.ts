import type { Clock } from '../../src/base/clock.ts'
import { drawingAsNow } from './watched-engine.ts'

/** What a piece of work takes, about as long as a key agreement does. */
const WORK_MS = 0.1
/** When every schedule begins. */
const START_MS = 1_800_000_000_000

/**
 * The true time of one schedule, which stands still until it is told to move on. The clocks of agents and services
 * hang on it, each with its own errors.
 */
export class VirtualTime {
  readonly #clocks: AgentClock[] = []
  #nowMs = START_MS

  /** Milliseconds since 1970. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** A clock that is right until somebody tampers with it. */
  newClock(): AgentClock {
    const clock = new AgentClock(this)
    this.#clocks.push(clock)
    return clock
  }

  /** When the next timer of any clock is due; `Infinity` where none is set. */
  get nextTimerMs(): number {
    return this.#clocks.reduce((next, clock) => Math.min(next, clock.nextTimerMs), Number.POSITIVE_INFINITY)
  }

  /** Moves on, running the timers that fall due in their order. */
  advanceTo(targetMs: number): void {
    for (;;) {
      const due = this.#clocks.reduce<AgentClock | undefined>(
        (first, clock) =>
          clock.nextTimerMs < (first?.nextTimerMs ?? Number.POSITIVE_INFINITY) ? clock : first,
        undefined,
      )
      if (due === undefined || due.nextTimerMs > targetMs) break
      this.#nowMs = Math.max(this.#nowMs, due.nextTimerMs)
      due.runNext()
    }
    this.#nowMs = Math.max(this.#nowMs, targetMs)
  }
}

interface Timer {
  /** On this clock's monotonic time. */
  readonly atMs: number
  readonly task: () => void
}

/** The clock of one machine: its wall clock can be set, and it can be suspended. */
export class AgentClock implements Clock {
  readonly #time: VirtualTime
  readonly #timers = new Set<Timer>()
  #offsetMs = 0
  #wasWrong = false
  #workMs = 0
  /** True time that has passed in suspends, which are over or not. */
  #sleptMs = 0
  #asleepSinceMs: number | undefined

  /** @internal Made by {@link VirtualTime.newClock}. */
  constructor(time: VirtualTime) {
    this.#time = time
  }

  now(): number {
    return Math.floor(this.#time.nowMs + this.#offsetMs)
  }

  monotonic(): number {
    return (this.#asleepSinceMs ?? this.#time.nowMs) - START_MS - this.#sleptMs
  }

  /** Every piece of work takes the same time, on whatever machine: budgets are spent alike in each run. */
  work(): number {
    this.#workMs += WORK_MS
    return this.#workMs
  }

  boot(): number {
    return this.#time.nowMs - START_MS
  }

  after(delayMs: number, task: () => void): () => void {
    // It runs as what its owner does, not as what moves time on.
    const timer = { atMs: this.monotonic() + Math.max(0, delayMs), task: drawingAsNow(task) }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Sets the wall clock, as somebody does who is wrong: it then differs from the true time by so much. */
  setError(offsetMs: number): void {
    this.#offsetMs = offsetMs
    if (offsetMs !== 0) this.#wasWrong = true
  }

  /** Whether it has ever been wrong. */
  get wasWrong(): boolean {
    return this.#wasWrong
  }

  get isAsleep(): boolean {
    return this.#asleepSinceMs !== undefined
  }

  /** The machine sleeps: no timer runs and the monotonic clock stands still, until {@link wake}. */
  sleep(): void {
    this.#asleepSinceMs ??= this.#time.nowMs
  }

  wake(): void {
    if (this.#asleepSinceMs === undefined) return
    this.#sleptMs += this.#time.nowMs - this.#asleepSinceMs
    this.#asleepSinceMs = undefined
  }

  /** In true time. */
  get nextTimerMs(): number {
    const next = this.isAsleep ? undefined : this.#next()
    return next === undefined ? Number.POSITIVE_INFINITY : next.atMs + START_MS + this.#sleptMs
  }

  /** Runs the timer that is due first. */
  runNext(): void {
    const next = this.#next()
    if (next === undefined) return
    this.#timers.delete(next)
    next.task()
  }

  #next(): Timer | undefined {
    let next: Timer | undefined
    for (const timer of this.#timers) if (next === undefined || timer.atMs < next.atMs) next = timer
    return next
  }
}
