import type { LeftOut } from '../keys/announcement-store.ts'
import type { Context } from './context.ts'

/** Interval between reports of one agent for one reason, in ms: it can announce itself as often as it likes. */
const REPORTED_EVERY_MS = 60_000
const MAX_REMEMBERED = 4096

/**
 * Reports the instances to which nothing is sealed because of what they announced: what one member announces fails no
 * message to others. SPEC, "Publishing".
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
  report({ name, instance, why }: LeftOut): void {
    const nowMs = this.#clock.monotonic()
    const key = `${name} ${why}`
    const reportedAt = this.#reported.get(key)
    if (reportedAt !== undefined && nowMs - reportedAt < REPORTED_EVERY_MS) return
    if (this.#reported.size >= MAX_REMEMBERED) this.#reported.clear()
    this.#reported.set(key, nowMs)
    this.#feed.emit({ type: 'leftOut', name, instance, why })
  }
}
