import type { Clock } from '../base/clock.ts'
import { SubrosaError, type SubrosaErrorCode } from '../base/errors.ts'
import { LineLimit } from '../base/line-limit.ts'
import type { Logger } from '../base/logger.ts'
import { logConnection } from '../bus/event-log.ts'
import type { RotationEvent } from './service.ts'

/** A statement that was not taken. */
interface Refused {
  readonly subject: string
  readonly err: SubrosaError
}

/**
 * Writes what happens in a rotation service to its log. Anybody with a login sends it statements, so those that it
 * refuses for one reason share lines: see {@link LineLimit}. A logger that throws disturbs nothing.
 */
export class RotationEventLog {
  readonly #log: Logger
  readonly #clock: Clock
  readonly #refused = new LineLimit<SubrosaErrorCode, Refused>()

  constructor(log: Logger, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  /** Logs one event. */
  write(event: RotationEvent): void {
    guard(() => this.#line(event))
  }

  /** Logs that what arrived on a subject of the protocol's was not taken, or could not be. */
  refused(subject: string, error: unknown): void {
    guard(() => {
      if (!isRefusal(error)) return this.#line({ type: 'error', error })
      const refused = { subject, err: error }
      const count = this.#refused.admit(error.code, refused, this.#clock.monotonic())
      if (count !== undefined) this.#logRefused(refused, count)
    })
  }

  /** Logs that this replica has started, and follows another one. */
  standsBy(): void {
    guard(() => this.#log.info({ event: 'following' }, 'this replica follows: it takes over when none leads'))
  }

  /** Logs what the NATS client says about its connection. */
  connection(status: { readonly type: string }): void {
    guard(() => logConnection(this.#log, status))
  }

  /** Logs the refusals that still wait for their line. */
  end(): void {
    guard(() => {
      for (const { latest, count } of this.#refused.takeWaiting()) this.#logRefused(latest, count)
    })
  }

  #logRefused(refused: Refused, count: number): void {
    this.#log.warn({ event: 'refused', ...refused, count }, 'statements were refused')
  }

  #line(event: RotationEvent): void {
    const log = this.#log
    switch (event.type) {
      case 'epoch':
        return log.info(
          { event: 'epoch', epoch: event.number, notAfter: event.notAfter },
          'an epoch has begun',
        )
      case 'announced':
        return log.info(
          { event: 'announced', name: event.name, instance: event.instance, epoch: event.epoch },
          'an instance has announced keys',
        )
      case 'retired':
        return log.info(
          { event: 'retired', name: event.name, instance: event.instance },
          'an instance has retired',
        )
      case 'revoked':
        return log.warn(
          { event: 'revoked', identity: event.identity, reason: event.reason },
          'an identity is revoked',
        )
      case 'leading':
        return log.info({ event: 'leading' }, 'this replica leads')
      case 'following':
        return log.warn({ event: 'following' }, 'this replica leads no more')
      case 'rejected':
        return log.warn(
          { event: 'rejected', reason: event.reason, subject: event.subject },
          'an arrival was refused unread',
        )
      case 'error':
        if (event.error instanceof SubrosaError && event.error.code === 'ERR_ROLLBACK')
          return log.error({ event: 'rollback', err: event.error }, 'another history of the realm was seen')
        return log.error({ event: 'error', err: event.error }, 'an error in the rotation service')
    }
  }
}

/** Whether the fault is with what arrived. A second history and a store that cannot be written are no such faults. */
function isRefusal(error: unknown): error is SubrosaError {
  return error instanceof SubrosaError && error.code !== 'ERR_ROLLBACK' && error.code !== 'ERR_STATE'
}

function guard(task: () => void): void {
  try {
    task()
  } catch {
    // What cannot be logged must not end what it tells of.
  }
}
