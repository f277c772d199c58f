import type { ChildProcess } from 'node:child_process'
import type { Clock } from '../../../base/clock.ts'
import type { Guardian } from './guardian.ts'

/** How long a process may take to end by itself when its standard input has ended. */
const EOF_MS = 2000
/** How long it may take after SIGTERM. */
const TERM_MS = 3000
/** How long the system may take after SIGKILL. What is still there then cannot be ended by anybody. */
const KILL_MS = 1000
const POLL_MS = 20

/**
 * A child process and those that it has started, but for those that have left its process group. The child leads the
 * group: it was spawned with `detached`.
 */
export class ProcessGroup {
  readonly #leader: ChildProcess
  readonly #id: number
  readonly #clock: Clock
  readonly #release: () => void
  #wake = (): void => {}
  #ending: Promise<void> | undefined

  /** @param id the number of the leader and of the group */
  constructor(
    leader: ChildProcess,
    id: number,
    { guardian, clock }: { readonly guardian: Guardian; readonly clock: Clock },
  ) {
    this.#leader = leader
    this.#id = id
    this.#clock = clock
    this.#release = guardian.guard(id)
    leader.once('exit', () => this.#wake())
  }

  /**
   * Waits until all are gone, whose standard input has ended: asks them with SIGTERM after 2 s, and ends them with
   * SIGKILL after 3 s more.
   */
  end(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #end(): Promise<void> {
    if (!(await this.#areGoneWithin(EOF_MS))) {
      this.#signal('SIGTERM')
      if (!(await this.#areGoneWithin(TERM_MS))) {
        this.#signal('SIGKILL')
        await this.#areGoneWithin(KILL_MS)
      }
    }
    this.#release()
  }

  async #areGoneWithin(limitMs: number): Promise<boolean> {
    const deadline = this.#clock.monotonic() + limitMs
    while (!this.#areGone()) {
      const left = deadline - this.#clock.monotonic()
      if (left <= 0) return false
      await this.#pause(Math.min(left, POLL_MS))
    }
    return true
  }

  #areGone(): boolean {
    const { exitCode, signalCode } = this.#leader
    // While the leader is not reaped, and while others are in the group, no other process gets this number.
    return (exitCode !== null || signalCode !== null) && !this.#signal(0)
  }

  /** Until then, or until the leader exits. */
  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(delayMs, resolve)
      this.#wake = () => {
        cancel()
        resolve()
      }
    })
  }

  /** @returns whether there is somebody to get it. With 0 nothing is sent. */
  #signal(signal: NodeJS.Signals | 0): boolean {
    try {
      return process.kill(-this.#id, signal)
    } catch {
      return false
    }
  }
}
