import { ReportLimit } from '../base/report-limit.ts'
import type { LeftOutReason } from '../envelope/keys.ts'
import type { Context } from './context.ts'

/**
 * Why nothing is sealed to an instance: what it announced, that its agent has started too many instances lately, or that no
 * rotation service has heard of it for minutes.
 */
export type WhyLeftOut = LeftOutReason | 'too many newcomers' | 'silent'

/** Interval between reports of one agent for one reason, in ms: it can announce itself as often as it likes. */
const REPORTED_EVERY_MS = 60_000

interface Instance {
  readonly name: string
  /** In hexadecimal. */
  readonly instance: string
}

/**
 * Reports the instances to which nothing is sealed, because of what they announced or because they are too many: what one
 * member does fails no message to others. SPEC, "Publishing".
 */
export class LeftOutReports {
  readonly #clock: Context['clock']
  readonly #feed: Context['feed']
  /** By agents and reasons. */
  readonly #limit = new ReportLimit(REPORTED_EVERY_MS)

  constructor({ clock, feed }: Pick<Context, 'clock' | 'feed'>) {
    this.#clock = clock
    this.#feed = feed
  }

  /** Emits a `leftOut` event, at most once a minute for each agent and reason, whatever instances it names. */
  report({ name, instance, why }: Instance & { readonly why: WhyLeftOut }): void {
    if (!this.#limit.take(`${name} ${why}`, this.#clock.monotonic())) return
    this.#feed.emit({ type: 'leftOut', name, instance, why })
  }
}
