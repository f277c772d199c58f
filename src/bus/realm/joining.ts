import type { Clock } from '../../base/clock.ts'
import type { SubrosaError } from '../../base/errors.ts'

/** A join that is under way: it succeeds, fails at once, or runs out of time and says what stood in the way. */
export class Joining {
  readonly #clock: Pick<Clock, 'after'>
  #isJoined = false
  #trouble: SubrosaError | undefined
  #settle: (error?: SubrosaError) => void = () => {}

  constructor(clock: Pick<Clock, 'after'>) {
    this.#clock = clock
  }

  get isJoined(): boolean {
    return this.#isJoined
  }

  /**
   * Waits until it is over.
   *
   * @param explain the error for a join that runs out of time, where nothing is known that stood in the way
   */
  wait(timeoutMs: number, explain: () => SubrosaError): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const cancel = this.#clock.after(timeoutMs, () => this.#settle(this.#trouble ?? explain()))
      this.#settle = (error) => {
        this.#settle = () => {}
        cancel()
        if (error === undefined) resolve()
        else reject(error)
      }
    })
  }

  /** Something stands in the way; it may go. */
  hinderedBy(error: SubrosaError): void {
    this.#trouble = error
  }

  /** What stood in the way is gone. */
  goesOn(): void {
    this.#trouble = undefined
  }

  /** It cannot succeed any more. */
  fail(error: SubrosaError): void {
    if (!this.#isJoined) this.#settle(error)
  }

  /** It is done. */
  succeed(): void {
    this.#isJoined = true
    this.#trouble = undefined
    this.#settle()
  }
}
