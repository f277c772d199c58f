import type { Clock } from './clock.ts'
import { STALE_AFTER_MS } from './limits.ts'

/** Clocks that part by more than this between two looks make the boot clock be read. */
const PARTED_MS = 1000
/** The boot clock moves in steps of 10 ms: less than this is no suspended machine. */
const MIN_SUSPENDED_MS = 100
/** The fastest slew that kernels make, 10 %, moves a clock by 9 s in the 90 s that a tick lasts. */
const MAX_SLEW_MS = 10_000

/** What every clock of the machine said at one moment. */
interface Reading {
  readonly wallMs: number
  readonly monotonicMs: number
}

/** Where the wall clock and what has passed went together last. */
interface Mark {
  readonly wallMs: number
  readonly earlyMs: number
}

/**
 * The one clock of a connection. It reads the machine's clocks together, so that it notices when they part: a machine
 * that was suspended, and a wall clock that was set. SPEC, "Clocks".
 *
 * Nothing goes by a single clock that an attacker, or an administrator, can move:
 *
 * - What is *too new* is judged by the wall clock: {@link now}.
 * - What is *too old* is judged by {@link notBefore}: the wall clock, but never before the highest time that was seen
 *   while enough rotation services confirmed it. So what was once too old never becomes young again.
 * - What *guards against repeats* may be forgotten when {@link latest} says that the rules of time refuse the repeat.
 * - What must *end* (keys, freshness) ends by {@link late}, the most that can have passed.
 *
 * @example
 * ```ts
 * const clock = new HouseClock(systemClock, (error) => console.error(error))
 * clock.counted(clock.late())
 * clock.latest === clock.now()
 * ```
 */
export class HouseClock implements Clock {
  readonly #machine: Clock
  readonly #onError: (error: unknown) => void
  #last: Reading
  #early = 0
  #late = 0
  /** By how much the boot clock was ahead of the monotonic one, up to what is counted already. */
  #bootLead: number | undefined
  /** Where a gap is counted from: the beginning, the last answers that brought anything, or the last gap. */
  #mark: Mark
  /** When it was asked what enough rotation services have answered last: freshness is counted from there. */
  #askedAtLateMs: number | undefined
  #hasGap = false
  #gaps = 0
  #gapAtLateMs = Number.NEGATIVE_INFINITY
  #latest = 0

  /**
   * @param machine the machine's clocks. One that is a HouseClock already is wrapped all the same.
   * @param onError told of what the tasks of timers throw: in a bare timer it would end the process
   */
  constructor(machine: Clock, onError: (error: unknown) => void) {
    this.#machine = machine
    this.#onError = onError
    this.#last = { wallMs: machine.now(), monotonicMs: machine.monotonic() }
    this.#mark = { wallMs: this.#last.wallMs, earlyMs: 0 }
    const bootMs = this.boot()
    this.#bootLead = bootMs === undefined ? undefined : bootMs - this.#last.monotonicMs
  }

  /** The wall clock, in ms since 1970. It may jump. */
  now(): number {
    return this.sample()
  }

  /** Milliseconds of the monotonic clock, which stands still while the machine is suspended. */
  monotonic(): number {
    return this.#machine.monotonic()
  }

  after(delayMs: number, task: () => void): () => void {
    return this.#machine.after(delayMs, () => {
      try {
        task()
      } catch (error) {
        this.#onError(error)
      }
    })
  }

  /** Milliseconds, to measure work by. */
  work(): number {
    return this.#machine.work?.() ?? performance.now()
  }

  boot(): number | undefined {
    return this.#machine.boot?.()
  }

  /**
   * Reads the clocks together, and takes note of what has happened to them since the last time. Every reading of the wall
   * clock is one, so a suspended machine is noticed by the first message after it, before any timer runs.
   *
   * @returns the wall clock, in ms since 1970
   */
  sample(): number {
    const wallMs = this.#machine.now()
    const monotonicMs = this.#machine.monotonic()
    const wall = wallMs - this.#last.wallMs
    const monotonic = Math.max(0, monotonicMs - this.#last.monotonicMs)
    this.#early += monotonic
    this.#late += monotonic
    this.#last = { wallMs, monotonicMs }
    if (Math.abs(wall - monotonic) > PARTED_MS && !this.#countSuspended())
      this.#late += Math.max(0, wall - monotonic)
    this.#judge(wallMs)
    return wallMs
  }

  /** Highest wall time that was seen while fresh, in ms since 1970; 0 before the first. It never goes back. */
  get latest(): number {
    return this.#latest
  }

  /**
   * Whether enough rotation services have answered what was asked within the last 90 s, by the most that can have passed,
   * and no gap has come since. It is as of the last reading: each costs about as much as anything else that is done for
   * a message.
   */
  get isConfirmed(): boolean {
    return !this.#hasGap && this.#left() >= 0
  }

  /** For how much longer what was answered last is good, in ms; 0 where it is not good any more, or nothing was answered. */
  confirmedFor(): number {
    this.sample()
    return this.isConfirmed ? this.#left() : 0
  }

  /** The time that it is at least, in ms since 1970: by it is judged what is too old. */
  notBefore(): number {
    return this.moment().notBeforeMs
  }

  /** One reading for both: {@link now} and {@link notBefore}. */
  moment(): { readonly nowMs: number; readonly notBeforeMs: number } {
    const nowMs = this.sample()
    return { nowMs, notBeforeMs: Math.max(nowMs, this.#latest) }
  }

  /** The least time that can have passed since this clock was made, in ms. */
  early(): number {
    this.sample()
    return this.#early
  }

  /**
   * The most time that can have passed since this clock was made, in ms: a suspended machine's time is in it, also where
   * the wall clock was set back by as much. It costs a few microseconds, and is not for every message.
   */
  late(): number {
    const wallMs = this.sample()
    this.#countSuspended()
    this.#judge(wallMs)
    return this.#late
  }

  /**
   * Enough rotation services have just answered: the wall clock is confirmed, as far as the bounds of their ticks go. What was
   * asked before the newest gap confirms nothing, whoever says that it counts: its answers were judged by another wall clock.
   *
   * @param askedAtLateMs when the oldest of what they have answered was asked, as {@link late} said then: an answer that was
   *   held back is good for no longer. What was reached before stands, unless a gap has come since.
   */
  counted(askedAtLateMs: number): void {
    this.late()
    if (askedAtLateMs < this.#gapAtLateMs) return
    const reached = this.#hasGap ? undefined : this.#askedAtLateMs
    if (reached !== undefined && askedAtLateMs <= reached) return
    this.#askedAtLateMs = askedAtLateMs
    this.#hasGap = false
    this.#mark = { wallMs: this.#last.wallMs, earlyMs: this.#early }
    this.#judge(this.#last.wallMs)
  }

  /** What was answered counts no more: a rotation service that has answered is revoked. */
  discount(): void {
    this.#askedAtLateMs = undefined
  }

  /** Whether wall clock and elapsed time have parted since enough rotation services had answered: freshness is void. */
  hasGap(): boolean {
    this.sample()
    return this.#hasGap
  }

  /**
   * When the newest gap was noticed, by {@link late}, as of the last reading: what was asked before counts for nothing, for good.
   * Below every time where there was none.
   */
  get gapAtLateMs(): number {
    return this.#gapAtLateMs
  }

  /** How many gaps there were so far, as of the last reading. */
  get gaps(): number {
    return this.#gaps
  }

  #judge(wallMs: number): void {
    const wall = wallMs - this.#mark.wallMs
    if (Math.abs(wall - (this.#early - this.#mark.earlyMs)) > MAX_SLEW_MS) {
      this.#hasGap = true
      this.#gaps++
      this.#gapAtLateMs = this.#late
      // One more may come while this one lasts.
      this.#mark = { wallMs, earlyMs: this.#early }
    }
    if (this.isConfirmed && wallMs > this.#latest) this.#latest = wallMs
  }

  /** Milliseconds until what was answered last was asked too long ago; below 0 once it was, and where nothing was answered. */
  #left(): number {
    return this.#askedAtLateMs === undefined ? -1 : this.#askedAtLateMs + STALE_AFTER_MS - this.#late
  }

  /**
   * Adds the time for which the machine was suspended since this was last done.
   *
   * @returns `false` where no clock tells
   */
  #countSuspended(): boolean {
    const bootMs = this.boot()
    if (bootMs === undefined || this.#bootLead === undefined) return false
    const suspended = bootMs - this.#last.monotonicMs - this.#bootLead
    if (suspended >= MIN_SUSPENDED_MS) {
      this.#early += suspended
      this.#late += suspended
      this.#bootLead += suspended
    }
    return true
  }
}
