import { bootMs } from '#boot-clock'

/** Where time comes from. Everything that waits or compares times takes one, so that tests need not sleep. */
export interface Clock {
  /** Milliseconds since 1970. It may jump. */
  now(): number
  /** Milliseconds from an arbitrary start. It never goes back. */
  monotonic(): number
  /**
   * Milliseconds from an arbitrary start, those of a suspended machine among them; absent or `undefined` where no clock
   * of the machine tells.
   */
  boot?(): number | undefined
  /**
   * Milliseconds from an arbitrary start, to measure how long this process computes; absent: the machine's monotonic
   * clock. Budgets go by it, also where a test moves the other clocks.
   */
  work?(): number
  /** Runs `task` once, `delayMs` from now, and returns a function that cancels it. It keeps no process alive. */
  after(delayMs: number, task: () => void): () => void
}

/**
 * The highest confirmed time so far, in ms since 1970. What is too old is judged by it wherever it is ahead of the clock,
 * so that nothing becomes young again when the clock is set back. SPEC, "Clocks".
 */
export type Latest = () => number

/** For whoever looks once, and has nothing to go back to: the clock alone says what is too old. */
export const unconfirmed: Latest = () => 0

const MAX_TIMER_MS = 2 ** 31 - 1

/**
 * The clock of the machine: what everything uses unless it is given another.
 *
 * @example
 * ```ts
 * const late: Clock = { ...systemClock, now: () => systemClock.now() - 60_000 }
 * ```
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  boot: bootMs,
  after(delayMs, task) {
    const timer = setTimeout(task, Math.min(Math.max(delayMs, 0), MAX_TIMER_MS))
    // In browsers a timer is a number, and keeps nothing alive.
    if (typeof timer === 'object') timer.unref()
    return () => clearTimeout(timer)
  },
}
