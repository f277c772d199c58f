import { samePublic } from '../../base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  MAX_JITTER_MS,
  NOTICE_REPORT_MS,
  PING_TOGETHER_SPREAD_MS,
} from '../../base/limits.ts'
import { ReportLimit } from '../../base/report-limit.ts'
import type { Timers } from '../../base/timers.ts'
import { deriveEpoch, type Epoch, type Epochs } from '../../keys/epochs.ts'
import { type ParsedNotice, readNotice, verifyNotice } from '../../keys/notices.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { Context } from '../context.ts'
import { randomDelay } from './random.ts'
import { StatementBudget } from './statement-budget.ts'

/**
 * What has become of an epoch that has begun: this instance waits for its moment, has announced itself, or could not and will not.
 */
type Begun = 'waiting' | 'announced' | 'refused'

/** What an epoch watch works with. */
export interface EpochWatchOptions extends Pick<Context, 'engine' | 'clock' | 'feed'> {
  readonly timers: Pick<Timers, 'after'>
  readonly epochs: Epochs
  /** The plan that is held. */
  readonly plan: () => HeldPlan | undefined
  /** Whether an epoch may begin for this instance: not by a clock that nobody confirms. */
  readonly mayBegin: () => boolean
  /** Whether this instance has keys of an epoch. */
  readonly hasKeys: (epoch: Epoch) => boolean
  /** Called when epochs have come into reach, or are forgotten. */
  readonly onChanged: () => void
  /** Called for each epoch that begins, a random time after it has begun; and again where its keys are gone too early. */
  readonly onBegun: (epoch: Epoch) => void
}

/**
 * Notices which epochs have begun and which are over. Epochs follow from the plan and the clock alone. What rotation services
 * publish of them is compared, and where it differs it is reported: nothing is believed because of it. SPEC, "Epochs".
 */
export class EpochWatch {
  readonly #options: EpochWatchOptions
  readonly #budget: StatementBudget
  readonly #reports = new ReportLimit(NOTICE_REPORT_MS)
  /** Those that have begun, so far as this was noticed. */
  readonly #begun = new Map<Epoch, Begun>()
  #known: readonly Epoch[] = []
  #cancel: () => void = () => {}

  constructor(options: EpochWatchOptions) {
    this.#options = options
    this.#budget = new StatementBudget(options.clock)
  }

  /** Looks at the clock: timers see neither a suspended machine nor a wall clock that is set. */
  look(): void {
    const { clock, epochs, onChanged } = this.#options
    const nowMs = clock.now()
    epochs.hold(nowMs)
    const all = epochs.all()
    if (all !== this.#known) {
      this.#known = all
      for (const epoch of this.#begun.keys()) if (!all.includes(epoch)) this.#begun.delete(epoch)
      onChanged()
    }
    const begun = epochs.current(nowMs).filter(({ notBefore }) => notBefore <= nowMs)
    for (const epoch of begun) this.#begin(epoch, begun)
    this.#lookInTime(nowMs)
  }

  /** The epochs for which an instance that joins announces itself, oldest first: from now on they are no news. */
  join(): readonly Epoch[] {
    const { clock, epochs } = this.#options
    const nowMs = clock.now()
    const current = epochs.current(nowMs)
    const begun = current.filter(({ notBefore }) => notBefore <= nowMs)
    // By a clock that is behind, the first epoch of a realm has not begun.
    const joined = begun.length > 0 ? begun : current
    for (const epoch of joined) this.#begun.set(epoch, 'announced')
    return [...joined].reverse()
  }

  /** A rotation service, or somebody in its name, says which epoch begins. @throws SubrosaError ERR_MALFORMED */
  notice(bytes: Uint8Array): void {
    const { engine, plan: heldPlan } = this.#options
    const parsed = readNotice(engine, bytes)
    const plan = heldPlan()
    if (plan === undefined || !plan.rotators.includes(parsed.notice.rotator)) return
    if (parsed.notice.planVersion !== plan.version || this.#isDerived(plan, parsed)) return
    this.#budget.run(() => {
      if (verifyNotice({ engine, plan }, parsed)) this.#report(parsed)
    })
  }

  #isDerived(plan: HeldPlan, { terms, epochHash }: ParsedNotice): boolean {
    const [earliest] = plan.schedules
    // One from before this plan's schedules nobody here can derive.
    if (earliest === undefined || terms.number < earliest.first) return true
    return samePublic(deriveEpoch(this.#options.engine, plan, terms.number).hash, epochHash)
  }

  #report({ notice: { rotator }, terms: { number } }: ParsedNotice): void {
    const { clock, feed } = this.#options
    if (this.#reports.take(`${rotator} ${number}`, clock.monotonic()))
      feed.emit({ type: 'epochDiffers', rotator, number })
  }

  /** Early in the overlap with the epoch before, so that a realm does not announce all at once. */
  #begin(epoch: Epoch, current: readonly Epoch[]): void {
    const { engine, timers, epochs, plan, mayBegin, hasKeys, onBegun } = this.#options
    // Keys that were wiped because a clock was wrong for a while are missing until there are others.
    const isMissing = this.#begun.get(epoch) === 'announced' && !hasKeys(epoch)
    if (this.#begun.has(epoch) && !isMissing) return
    this.#begun.set(epoch, 'waiting')
    const schedule = plan()?.schedules.findLast(({ first }) => first <= epoch.number)
    const leadMs = schedule?.leadMs ?? 0
    // Without keys nobody can reach this instance.
    const longestMs = current.some(hasKeys) ? MAX_JITTER_MS : PING_TOGETHER_SPREAD_MS
    timers.after(randomDelay(engine, Math.min(longestMs, leadMs / 4)), () => {
      this.#begun.delete(epoch)
      if (!mayBegin() || epochs.byHash(epoch.hash) !== epoch) return
      this.#begun.set(epoch, 'refused')
      onBegun(epoch)
      if (hasKeys(epoch)) this.#begun.set(epoch, 'announced')
    })
  }

  /** All that begin soon are within reach already. */
  #lookInTime(nowMs: number): void {
    const { timers } = this.#options
    const next = this.#known.findLast(({ notBefore }) => notBefore > nowMs)
    const delayMs = Math.min(CLOCK_WINDOW_MS / 2, (next?.notBefore ?? Number.POSITIVE_INFINITY) - nowMs)
    this.#cancel()
    this.#cancel = timers.after(delayMs, () => this.look())
  }
}
