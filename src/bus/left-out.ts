import type { LeftOutReason } from '../envelope/keys.ts'
import type { Context } from './context.ts'

/** Why nothing is sealed to an instance: what it announced, or that its agent has started too many instances lately. */
export type WhyLeftOut = LeftOutReason | 'too many newcomers'

/** Interval between reports of one agent for one reason, in ms: it can announce itself as often as it likes. */
const REPORTED_EVERY_MS = 60_000
const MAX_REMEMBERED = 4096

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
  /** When an agent was reported for a reason, by both. */
  readonly #reported = new Map<string, number>()

  constructor({ clock, feed }: Pick<Context, 'clock' | 'feed'>) {
    this.#clock = clock
    this.#feed = feed
  }

  /** Emits a `leftOut` event, at most once a minute for each agent and reason, whatever instances it names. */
  report({ name, instance, why }: Instance & { readonly why: WhyLeftOut }): void {
    const nowMs = this.#clock.monotonic()
    const key = `${name} ${why}`
    const reportedAt = this.#reported.get(key)
    if (reportedAt !== undefined && nowMs - reportedAt < REPORTED_EVERY_MS) return
    if (this.#reported.size >= MAX_REMEMBERED) this.#reported.clear()
    this.#reported.set(key, nowMs)
    this.#feed.emit({ type: 'leftOut', name, instance, why })
  }
}
