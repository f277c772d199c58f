import type { HouseClock } from './house-clock.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** As much of the time between two looks counts as looked at. */
const MAX_LOOK_MS = HOUR_MS / 4

interface Reading {
  /** Of the time that was looked at. */
  readonly hour: number
  /** By how much the wall clock was ahead of the elapsed time, at least, in that hour. */
  leadMs: number
}

/**
 * The time by which a rotation service forgets: what its wall clock has shown for a whole day in which it was looked at. A clock that is
 * ahead for less than that has nothing forgotten by it, also where it is when a machine wakes; one that was behind has it forgotten a day
 * later.
 *
 * @example
 * ```ts
 * const steady = new SteadyTime(clock)
 * steady.look()
 * directory.prune(steady.lowest())
 * ```
 */
export class SteadyTime {
  readonly #clock: Pick<HouseClock, 'now' | 'early'>
  /** Of the last day, oldest first. */
  #readings: readonly Reading[] = []
  #lookedAtMs: number
  /** What has passed between looks. While a machine is suspended nobody looks. */
  #lookedMs = 0

  constructor(clock: Pick<HouseClock, 'now' | 'early'>) {
    this.#clock = clock
    this.#lookedAtMs = clock.early()
    this.look()
  }

  /** Reads the clocks. It is to be called again and again. */
  look(): void {
    const elapsedMs = this.#clock.early()
    const leadMs = this.#clock.now() - elapsedMs
    this.#lookedMs += Math.min(elapsedMs - this.#lookedAtMs, MAX_LOOK_MS)
    this.#lookedAtMs = elapsedMs
    const hour = Math.floor(this.#lookedMs / HOUR_MS)
    const readings = this.#readings.filter((reading) => reading.hour > hour - DAY_MS / HOUR_MS - 1)
    const last = readings.at(-1)
    if (last?.hour === hour) last.leadMs = Math.min(last.leadMs, leadMs)
    else readings.push({ hour, leadMs })
    this.#readings = readings
  }

  /** The lowest time that the wall clock has shown in the last day, or since the start, carried on to now. */
  lowest(): number {
    return this.#clock.early() + Math.min(...this.#readings.map(({ leadMs }) => leadMs))
  }

  /** The same, once the clock was looked at for a day. */
  ofWholeDay(): number | undefined {
    return this.#lookedMs >= DAY_MS ? this.lowest() : undefined
  }
}
