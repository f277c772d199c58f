import { STALE_AFTER_MS } from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { TickOrder, type TickStanding } from '../../keys/ticks.ts'
import type { Tick } from '../../wire/statements.ts'
import type { Context } from '../context.ts'

/** What a freshness watch works with. */
export interface FreshnessWatchOptions extends Pick<Context, 'clock' | 'feed'> {
  readonly timers: Timers
  /** Called once whenever freshness is lost, and once for each gap of the clocks: only a new tick helps. */
  readonly onLost: () => void
}

/**
 * Whether the rotation service was heard lately, and who hears of it when it was not: SPEC, "Freshness". The clock says
 * how long ago, a suspended machine's time included, and whether it was set since. Nobody waits for a timer: staleness is
 * noticed by the first message, the first publish or the first tick that comes.
 */
export class FreshnessWatch {
  readonly #options: FreshnessWatchOptions
  readonly #order = new TickOrder()
  #hasCounted = false
  #wasStale = false
  /** Whether the gap that voids freshness now has been noticed. */
  #isGapNoticed = false
  #unwatch: () => void = () => {}

  constructor(options: FreshnessWatchOptions) {
    this.#options = options
  }

  /** Remembers a nonce of one's own: a tick that carries it was made after it. */
  expect(nonce: Uint8Array): void {
    this.#order.expect(nonce)
  }

  /** Whether the tick answers a nonce of one's own. */
  answers(tick: Tick): boolean {
    return this.#order.answers(tick)
  }

  /** How the tick stands to those before it. After a gap one without an own nonce is old: it may be from before. */
  standing(tick: Tick, nowMs: number): TickStanding {
    const standing = this.#order.standing(tick, nowMs)
    const isUnasked = this.#options.clock.hasGap() && !this.#order.answers(tick)
    return standing === 'counts' && isUnasked ? 'old' : standing
  }

  /** Whether a tick that came then, by the clock's `late`, and waited for what it names, counts now. */
  stillCounts(tick: Tick, cameAt: number): boolean {
    const { clock } = this.#options
    return clock.late() - cameAt < STALE_AFTER_MS && this.standing(tick, clock.now()) === 'counts'
  }

  /** Whether nothing may be sealed or opened, as of the last reading of the clock. */
  get isStale(): boolean {
    return !this.#options.clock.isConfirmed
  }

  /** Notices that freshness is lost, where it is: it is said once, and a new tick is called for. */
  look(): void {
    const { clock, feed, onLost } = this.#options
    // This reads the boot clock too: a suspended machine whose wall clock was set back shows here, with the next tick.
    clock.late()
    const isGapNew = clock.hasGap() && !this.#isGapNoticed
    if (!this.#hasCounted || !this.isStale || (this.#wasStale && !isGapNew)) return
    if (isGapNew) {
      this.#isGapNoticed = true
      // What was asked before the clocks parted may have been answered then, and held back since.
      this.#order.expectNone()
    }
    if (!this.#wasStale) {
      this.#wasStale = true
      feed.emit({ type: 'stale' })
    }
    onLost()
  }

  /**
   * Counts a tick that names the epoch and the revocations that this agent holds.
   *
   * @param cameAt when it came, by the clock's `late`: it may have waited for what it names
   */
  count(tick: Tick, cameAt: number): void {
    const { clock, feed } = this.#options
    this.#order.count(tick)
    clock.counted(cameAt)
    this.#hasCounted = true
    this.#isGapNoticed = false
    if (this.#wasStale) {
      this.#wasStale = false
      feed.emit({ type: 'fresh' })
    }
    this.#watch()
  }

  /** A timer stands still with a suspended machine: this one is for an agent to which nothing comes. */
  #watch(): void {
    const { clock, timers } = this.#options
    this.#unwatch()
    this.#unwatch = timers.after(clock.confirmedFor() + 1, () => {
      this.look()
      if (!this.isStale) this.#watch()
    })
  }
}
