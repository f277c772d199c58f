import type { Clock } from './clock.ts'

/** The longest delay that timers keep: beyond it they fire at once. */
const MAX_DELAY_MS = 2_147_483_647

/** @throws RangeError that names the option, for anything but a time that can be waited for */
export function assertDelay(option: string, delayMs: number): void {
  if (!(Number.isFinite(delayMs) && delayMs > 0 && delayMs <= MAX_DELAY_MS))
    throw new RangeError(`${option} must be milliseconds above 0 and at most ${MAX_DELAY_MS}`)
}

/** Tasks that wait for their time, and end with their owner. */
export class Timers {
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #cancels = new Set<() => void>()

  constructor(clock: Clock, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#onError = onError
  }

  /** Runs `task` in so many milliseconds, once. @returns how to cancel it */
  after(delayMs: number, task: () => void): () => void {
    const stop = this.#clock.after(delayMs, () => {
      this.#cancels.delete(stop)
      try {
        task()
      } catch (error) {
        this.#onError(error)
      }
    })
    this.#cancels.add(stop)
    return () => {
      this.#cancels.delete(stop)
      stop()
    }
  }

  close(): void {
    for (const stop of this.#cancels) stop()
    this.#cancels.clear()
  }
}
