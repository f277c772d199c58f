import type { Clock } from '../base/clock.ts'
import { Timers } from '../base/timers.ts'
import type { Lease } from './log.ts'

/** What leadership depends on, and whom it tells. */
export interface LeadershipOptions {
  readonly lease: Lease
  readonly clock: Clock
  readonly onTaken: () => void
  readonly onLost: () => void
  readonly onError: (error: unknown) => void
}

const RENEWALS_PER_LEASE = 3
const ATTEMPTS_PER_LEASE = 6
/** How much earlier than on the server a lease ends here: clocks differ, and what was said is on its way. */
const MARGIN = 1 / 6

/**
 * Holds the lease, or tries to. Whether it is held is judged by the own clocks alone, and from before it was asked
 * for: it has ended here before anybody else can have it, however long this process stood still.
 */
export class Leadership {
  readonly #options: LeadershipOptions
  readonly #timers: Timers
  /** By both clocks: the monotonic one does not see a suspended machine, and the other one can be set back. */
  #until: { readonly monotonic: number; readonly now: number } | undefined
  /** Whether {@link LeadershipOptions.onTaken} was called last. */
  #isTold = false
  #isFailing = false
  #isClosed = false
  #attempt: Promise<void> = Promise.resolve()
  #cancelAttempt = (): void => {}
  #cancelEnd = (): void => {}

  constructor(options: LeadershipOptions) {
    this.#options = options
    this.#timers = new Timers(options.clock, options.onError)
  }

  /** Whether this replica, and no other, may speak for all of them now. */
  get isHeld(): boolean {
    const { clock } = this.#options
    const until = this.#until
    return until !== undefined && clock.monotonic() < until.monotonic && clock.now() < until.now
  }

  /** Tries at once, and goes on. Resolves after the first attempt. */
  async start(): Promise<void> {
    await this.#try()
  }

  /** Gives the lease back, and leaves it to others for the time of one. */
  async giveUp(): Promise<void> {
    this.#cancelAttempt()
    await this.#attempt
    await this.#giveBack()
    this.#again(this.#options.lease.durationMs)
  }

  /** Gives the lease back at once. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timers.close()
    await this.#attempt
    await this.#giveBack()
  }

  #try(): Promise<void> {
    this.#attempt = this.#take()
    return this.#attempt
  }

  async #take(): Promise<void> {
    const { lease, clock, onError } = this.#options
    const asked = { monotonic: clock.monotonic(), now: clock.now() }
    try {
      const isTaken = await lease.take()
      this.#isFailing = false
      // It may have ended while this process stood still, and another one may have held it since.
      if (!isTaken || !this.isHeld) this.#lose()
      if (isTaken && !this.#isClosed) this.#extend(asked)
    } catch (error) {
      // What is held stays held until it ends. One word for an outage is enough.
      if (!this.#isFailing) onError(error)
      this.#isFailing = true
    }
    const isRenewal = this.isHeld && !this.#isFailing
    this.#again(lease.durationMs / (isRenewal ? RENEWALS_PER_LEASE : ATTEMPTS_PER_LEASE))
  }

  #extend(asked: { readonly monotonic: number; readonly now: number }): void {
    const { lease, clock, onTaken } = this.#options
    const lastsMs = lease.durationMs * (1 - MARGIN)
    this.#until = { monotonic: asked.monotonic + lastsMs, now: asked.now + lastsMs }
    if (!this.isHeld) {
      this.#lose()
      return
    }
    this.#cancelEnd()
    this.#cancelEnd = this.#timers.after(this.#until.monotonic - clock.monotonic(), () => this.#lose())
    if (this.#isTold) return
    this.#isTold = true
    onTaken()
  }

  #lose(): void {
    this.#cancelEnd()
    this.#until = undefined
    if (!this.#isTold) return
    this.#isTold = false
    this.#options.onLost()
  }

  async #giveBack(): Promise<void> {
    this.#lose()
    // Where it cannot be given back it ends by itself.
    await this.#options.lease.giveBack().catch(() => {})
  }

  #again(delayMs: number): void {
    this.#cancelAttempt()
    if (!this.#isClosed) this.#cancelAttempt = this.#timers.after(delayMs, () => void this.#try())
  }
}
