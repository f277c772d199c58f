import type { HouseClock } from '../base/house-clock.ts'
import type { Logger } from '../base/logger.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { RotationEventLog } from './event-log.ts'
import type { RotationEvent } from './events.ts'

/** Where reports go. */
export interface ReportsOptions {
  readonly log: Logger
  readonly clock: Pick<HouseClock, 'monotonic'>
  readonly onEvent: (event: RotationEvent) => void
}

/** Everything that a rotation service has to say of itself: to its log, and to whoever has started it. */
export class Reports {
  readonly eventLog: RotationEventLog
  readonly #options: ReportsOptions
  readonly #rejections = new RateLimit(1)

  constructor(options: ReportsOptions) {
    this.#options = options
    this.eventLog = new RotationEventLog(options.log, options.clock)
  }

  /** Logs an event, and hands it on. */
  tell(event: RotationEvent): void {
    this.eventLog.write(event)
    this.#handOn(event)
  }

  /** Something went wrong. */
  error(error: unknown): void {
    this.tell({ type: 'error', error })
  }

  /** What arrived on a subject cannot be taken. */
  refused(subject: string, error: unknown): void {
    this.eventLog.refused(subject, error)
    this.#handOn({ type: 'error', error })
  }

  /** What arrived was not looked at. */
  rejected(reason: 'misrouted' | 'headers', subject: string): void {
    if (this.#rejections.take(this.#options.clock.monotonic()))
      this.tell({ type: 'rejected', reason, subject })
  }

  /** A callback that throws disturbs nothing: what it was told of has happened. */
  #handOn(event: RotationEvent): void {
    try {
      this.#options.onEvent(event)
    } catch (error) {
      this.eventLog.write({ type: 'error', error })
    }
  }
}
