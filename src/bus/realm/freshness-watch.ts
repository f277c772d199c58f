import { STALE_AFTER_MS } from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { type HeldPlan, isExpired } from '../../keys/plan.ts'
import { TickCount } from '../../keys/tick-count.ts'
import type { Context } from '../context.ts'

/** What a freshness watch works with. */
export interface FreshnessWatchOptions extends Pick<Context, 'clock' | 'feed'> {
  readonly timers: Timers
  /**
   * Called once whenever freshness is lost, and once for each gap of the clocks: only new answers help.
   *
   * @param isGap whether the clocks have parted: what was asked before is of no use any more
   */
  readonly onLost: (isGap: boolean) => void
}

/**
 * Whether enough rotation services have answered lately, and who hears of it when they have not: SPEC, "Freshness". The clock
 * says how long ago, a suspended machine's time included, and whether it was set since. Nobody waits for a timer: staleness
 * is noticed by the first message, the first publish or the first tick that comes.
 */
export class FreshnessWatch {
  readonly #options: FreshnessWatchOptions
  #count = new TickCount()
  /** When the newest question was asked that each rotation service of the plan has answered, by the clock's `late`. */
  readonly #answered = new Map<string, number>()
  #plan: HeldPlan | undefined
  #hasCounted = false
  #wasStale = false
  /** How many gaps of the clocks have been noticed. */
  #gaps: number
  #unwatch: () => void = () => {}

  constructor(options: FreshnessWatchOptions) {
    this.#options = options
    this.#gaps = options.clock.gaps
  }

  /** Ticks of the plan before count for nothing any more; what was reached by them stands until it ends. */
  adopt(plan: HeldPlan): void {
    this.#plan = plan
    this.#count.adopt(plan)
    this.#answered.clear()
  }

  /** Whether nothing may be sealed or opened, as of the last reading of the clock. */
  get isStale(): boolean {
    return !this.#options.clock.isConfirmed || this.isPlanOver
  }

  /** Whether the plan has ended by the latest confirmed time: no rotation service counts under it. */
  get isPlanOver(): boolean {
    return this.#plan !== undefined && isExpired(this.#plan, this.#options.clock.latest)
  }

  /** When the newest question was asked that this rotation service has answered, by the clock's `late`. */
  newestOf(rotator: string): number | undefined {
    return this.#answered.get(rotator)
  }

  /** The rotation services that have answered what was asked in the last 90 s. */
  answering(): readonly string[] {
    const sinceMs = this.#options.clock.late() - STALE_AFTER_MS
    return [...this.#answered].flatMap(([rotator, askedAtMs]) => (askedAtMs >= sinceMs ? [rotator] : []))
  }

  /** Notices that freshness is lost, where it is: it is said once, and new answers are called for. */
  look(): void {
    this.#look()
  }

  /** @returns whether the clocks have parted since this was asked last */
  #look(): boolean {
    const { feed, onLost } = this.#options
    const isGapNew = this.#noticeGap()
    if (!this.#hasCounted || !this.isStale || (this.#wasStale && !isGapNew)) return isGapNew
    if (!this.#wasStale) {
      this.#wasStale = true
      feed.emit({ type: 'stale' })
    }
    onLost(isGapNew)
    return isGapNew
  }

  /**
   * Counts a tick whose revocations are all held. One that was asked for before the clocks have parted does not count, and makes
   * nothing of before count.
   *
   * @param askedAtLateMs when the question was asked that it answers: it may have been held back, or have waited
   * @returns since when enough rotation services have answered, where they have
   */
  count(rotator: string, askedAtLateMs: number): number | undefined {
    const { clock, feed } = this.#options
    if (this.#look() || askedAtLateMs < clock.gapAtLateMs) return undefined
    this.#count.count(rotator, askedAtLateMs)
    this.#answered.set(rotator, Math.max(askedAtLateMs, this.#answered.get(rotator) ?? askedAtLateMs))
    const freshFrom = this.#freshFrom()
    if (freshFrom === undefined) return undefined
    clock.counted(freshFrom)
    if (this.isStale) return undefined
    this.#hasCounted = true
    if (this.#wasStale) {
      this.#wasStale = false
      feed.emit({ type: 'fresh' })
    }
    this.#watch()
    return freshFrom
  }

  /** What this rotation service has answered counts no more: an authority has revoked it. The others may be enough. */
  discount(rotator: string): void {
    const { clock } = this.#options
    this.#count.drop(rotator)
    this.#answered.delete(rotator)
    if (clock.hasGap()) return
    clock.discount()
    const freshFrom = this.#freshFrom()
    if (freshFrom !== undefined) clock.counted(freshFrom)
    this.look()
  }

  /** What was asked before the clocks parted may have been answered then, and held back since: nothing of it counts any more. */
  #noticeGap(): boolean {
    const { clock } = this.#options
    // This reads the boot clock too: a suspended machine whose wall clock was set back shows here, with the next tick.
    clock.late()
    if (clock.gaps === this.#gaps) return false
    this.#gaps = clock.gaps
    this.#count = new TickCount()
    this.#answered.clear()
    if (this.#plan !== undefined) this.#count.adopt(this.#plan)
    return true
  }

  #freshFrom(): number | undefined {
    return this.#plan && this.#count.freshFrom(this.#plan.threshold)
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
