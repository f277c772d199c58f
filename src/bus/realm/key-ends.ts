import type { Timers } from '../../base/timers.ts'
import type { Keyring } from '../../keys/keyring.ts'
import type { Context } from '../context.ts'

/** What keys are wiped with. */
export interface KeyEndsOptions extends Pick<Context, 'clock' | 'feed'> {
  readonly timers: Pick<Timers, 'after'>
  readonly keyring: Pick<Keyring, 'destroyEnded' | 'endsAtLateMs'>
  /** Called each time, once keys are wiped. */
  readonly onTime: () => void
  /** Called when no keys of some epoch are left: nothing is sealed in it any more. */
  readonly onDestroyed: () => void
}

/** Wipes own keys when their time is over, by whichever clock is first: SPEC, "Destroying keys". */
export class KeyEnds {
  readonly #options: KeyEndsOptions
  #cancel: () => void = () => {}

  constructor(options: KeyEndsOptions) {
    this.#options = options
  }

  /** Wipes what is over. What others do at that time, and throw, keeps no key alive, and takes no timer away. */
  look(): void {
    const { clock, feed, keyring, onTime, onDestroyed } = this.#options
    const lateMs = clock.late()
    const destroyed = keyring.destroyEnded({ latestMs: clock.latest, lateMs })
    this.lookInTime()
    for (const epoch of destroyed) feed.emit({ type: 'destroyed', epoch })
    try {
      onTime()
    } finally {
      if (destroyed.length > 0) onDestroyed()
    }
  }

  /** Sets the timer for the next keys that end, again each time: one that fires while a clock is behind is not the last. */
  lookInTime(): void {
    const { clock, timers, keyring } = this.#options
    const endsAtLateMs = keyring.endsAtLateMs
    this.#cancel()
    if (endsAtLateMs === undefined) return
    // A millisecond later: timers may fire early.
    const delayMs = Math.max(0, endsAtLateMs - clock.late()) + 1
    this.#cancel = timers.after(delayMs, () => this.look())
  }
}
