import type { Clock } from '../base/clock.ts'
import { LineLimit } from '../base/line-limit.ts'
import type { Logger } from '../base/logger.ts'
import type { RejectReason, StatusEvent } from './status.ts'

/** Messages of errors that have lines of their own. What differs each time shares the lines of all others. */
const MAX_ERROR_KINDS = 64
const OTHER_ERRORS = ''

/**
 * Writes the events of a connection to its log. Rejections come as fast as a broker sends junk, so those of one reason
 * share lines: see {@link LineLimit}. So do errors with the same message.
 */
export class EventLog {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #rejections = new LineLimit<RejectReason, string>()
  readonly #errors = new LineLimit<string, unknown>()
  readonly #errorKinds = new Set<string>()

  constructor(log: Logger, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  /** Logs one event. A logger that throws disturbs nothing. */
  write(event: StatusEvent): void {
    this.#guard(() => {
      if (event.type === 'rejected') this.#rejected(event.reason, event.subject)
      else if (event.type === 'error') this.#failed(event.error)
      else this.#line(event)
    })
  }

  /** Logs the rejections and errors that still wait for their line. */
  end(): void {
    this.#guard(() => {
      for (const { kind, latest, count } of this.#rejections.takeWaiting())
        this.#logRejections(kind, latest, count)
      for (const { latest, count } of this.#errors.takeWaiting()) this.#logErrors(latest, count)
    })
  }

  #guard(task: () => void): void {
    try {
      task()
    } catch {
      // What cannot be logged is in the feed all the same.
    }
  }

  #rejected(reason: RejectReason, subject: string): void {
    const count = this.#rejections.admit(reason, subject, this.#clock.monotonic())
    if (count !== undefined) this.#logRejections(reason, subject, count)
  }

  #logRejections(reason: RejectReason, subject: string, count: number): void {
    this.#log.warn({ event: 'rejected', reason, subject, count }, 'arrivals were rejected')
  }

  #failed(error: unknown): void {
    const count = this.#errors.admit(this.#kindOf(error), error, this.#clock.monotonic())
    if (count !== undefined) this.#logErrors(error, count)
  }

  #logErrors(err: unknown, count: number): void {
    this.#log.error({ event: 'error', err, count }, 'an error that nobody caught')
  }

  #kindOf(error: unknown): string {
    const kind = error instanceof Error ? `${error.name}: ${error.message}` : typeof error
    if (this.#errorKinds.size < MAX_ERROR_KINDS) this.#errorKinds.add(kind)
    return this.#errorKinds.has(kind) ? kind : OTHER_ERRORS
  }

  #line(event: Exclude<StatusEvent, { readonly type: 'rejected' | 'error' }>): void {
    const log = this.#log
    switch (event.type) {
      case 'rotated':
        return log.info({ event: 'rotated', epoch: event.epoch }, 'new keys are announced')
      case 'destroyed':
        return log.info({ event: 'destroyed', epoch: event.epoch }, 'the keys of an ended epoch are wiped')
      case 'stale':
        return log.warn(
          { event: 'stale' },
          'too few rotation services have answered lately: nothing is sent and nothing is opened',
        )
      case 'fresh':
        return log.info({ event: 'fresh' }, 'enough rotation services are heard again')
      case 'revoked':
        return log.warn(
          { event: 'revoked', identity: event.identity, reason: event.reason, self: event.self },
          'an identity is revoked',
        )
      case 'nameMoved':
        return log.warn(
          { event: 'name-moved', name: event.name, from: event.from, to: event.to, why: event.why },
          'a name belongs to another identity than before',
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
      case 'plan':
        return log.info(
          { event: 'plan', version: event.version, until: event.until },
          'a newer plan of the realm is acted on',
        )
      case 'planEnding':
        return log.warn(
          { event: 'plan-ending', until: event.until },
          'the plan of the realm ends soon, and nothing is sent or opened after it: subrosa plan renew',
        )
      case 'epochDiffers':
        return log.warn(
          { event: 'epoch-differs', rotator: event.rotator, number: event.number },
          'a rotation service has published another epoch than the plan has',
        )
      case 'rollback':
        return log.error({ event: 'rollback' }, event.message)
      case 'slowConsumer':
        return log.warn(
          { event: 'slow-consumer', subject: event.subject, pending: event.pending },
          'messages of a subscription are not read',
        )
      case 'nats':
        return logConnection(log, event.status)
    }
  }
}

/** Logs what the NATS client says about its connection. */
export function logConnection(log: Logger, { type: status }: { readonly type: string }): void {
  if (status === 'disconnect') log.warn({ event: 'disconnected' }, 'the connection to the broker is lost')
  else if (status === 'reconnect') log.info({ event: 'reconnected' }, 'the broker is back')
  else log.debug({ event: 'nats', status }, 'status of the NATS connection')
}
