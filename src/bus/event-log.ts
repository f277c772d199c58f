import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { RejectReason, StatusEvent } from './status.ts'

/** Interval between log lines about rejections for one reason, in ms. The first is logged at once. */
const REJECTIONS_LOGGED_EVERY_MS = 10_000

/**
 * Writes the events of a connection to its log. Rejections come as fast as a broker sends junk, so those of one reason
 * share a line: the first is logged at once, and those that follow as one count every ten seconds.
 */
export class EventLog {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #rejections = new Map<RejectReason, { loggedAt: number; unlogged: number }>()

  constructor(log: Logger, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  /** Logs one event. A logger that throws disturbs nothing. */
  write(event: StatusEvent): void {
    try {
      if (event.type === 'rejected') this.#rejected(event.reason, event.subject)
      else this.#line(event)
    } catch {
      // What cannot be logged is in the feed all the same.
    }
  }

  #rejected(reason: RejectReason, subject: string): void {
    const nowMs = this.#clock.monotonic()
    const known = this.#rejections.get(reason)
    if (known !== undefined && nowMs - known.loggedAt < REJECTIONS_LOGGED_EVERY_MS) {
      known.unlogged++
      return
    }
    const count = (known?.unlogged ?? 0) + 1
    this.#rejections.set(reason, { loggedAt: nowMs, unlogged: 0 })
    this.#log.warn({ event: 'rejected', reason, subject, count }, 'arrivals were rejected')
  }

  #line(event: Exclude<StatusEvent, { readonly type: 'rejected' }>): void {
    const log = this.#log
    switch (event.type) {
      case 'rotated':
        return log.info({ event: 'rotated', epoch: event.epoch }, 'new keys are announced')
      case 'destroyed':
        return log.info({ event: 'destroyed', epoch: event.epoch }, 'the keys of an ended epoch are wiped')
      case 'stale':
        return log.warn(
          { event: 'stale' },
          'no word from the rotation service: nothing is sent and nothing is opened',
        )
      case 'fresh':
        return log.info({ event: 'fresh' }, 'the rotation service is heard again')
      case 'revoked':
        return log.warn(
          { event: 'revoked', identity: event.identity, reason: event.reason, self: event.self },
          'an identity is revoked',
        )
      case 'clone':
        return log.warn(
          { event: 'clone', name: event.name, instance: event.instance },
          'two processes share one instance',
        )
      case 'leftOut':
        return log.warn(
          { event: 'left-out', name: event.name, instance: event.instance, why: event.why },
          'nothing is sealed to an instance',
        )
      case 'sessionRefused':
        return log.warn(
          { event: 'session-refused', by: event.by, instance: event.instance, reason: event.reason },
          'a recipient takes no frames of a session',
        )
      case 'refusedSession':
        return log.warn(
          { event: 'refused-session', sender: event.sender, reason: event.reason },
          'a session of another agent is refused',
        )
      case 'rollback':
        return log.error({ event: 'rollback' }, event.message)
      case 'slowConsumer':
        return log.warn(
          { event: 'slow-consumer', subject: event.subject, pending: event.pending },
          'messages of a subscription are not read',
        )
      case 'error':
        return log.error({ event: 'error', err: event.error }, 'an error that nobody caught')
      case 'nats':
        return log.debug({ event: 'nats', status: event.status.type }, 'status of the NATS connection')
    }
  }
}
