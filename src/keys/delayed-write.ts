import type { Clock } from '../base/clock.ts'
import { WRITE_AGAIN_MS } from '../base/limits.ts'

/** What is written, and when. */
export interface DelayedWriteOptions {
  readonly clock: Pick<Clock, 'after'>
  /** How long a change waits for others, in ms. */
  readonly delayMs: number
  readonly write: () => void
  readonly onError: (error: unknown) => void
}

/** Writes changes together, some time after the first of them, and again where that fails. */
export class DelayedWrite {
  readonly #options: DelayedWriteOptions
  #cancel: (() => void) | undefined

  constructor(options: DelayedWriteOptions) {
    this.#options = options
  }

  /** Something is to be written. */
  soon(): void {
    this.#cancel ??= this.#options.clock.after(this.#options.delayMs, () => this.#write())
  }

  /** Writes what is not written yet, now or not at all. */
  close(): void {
    if (this.#cancel === undefined) return
    this.#cancel()
    this.#write()
    this.#cancel?.()
  }

  #write(): void {
    this.#cancel = undefined
    try {
      this.#options.write()
    } catch (error) {
      this.#cancel = this.#options.clock.after(WRITE_AGAIN_MS, () => this.#write())
      this.#options.onError(error)
    }
  }
}
