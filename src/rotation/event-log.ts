import type { Clock } from '../base/clock.ts'
import { SubrosaError, type SubrosaErrorCode } from '../base/errors.ts'
import { LineLimit } from '../base/line-limit.ts'
import type { Logger } from '../base/logger.ts'
import { logConnection } from '../bus/event-log.ts'
import type { RotationEvent } from './events.ts'

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
  readonly #clock: Pick<Clock, 'monotonic'>
  readonly #refused = new LineLimit<SubrosaErrorCode, Refused>()

  constructor(log: Logger, clock: Pick<Clock, 'monotonic'>) {
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
      case 'standing':
        return event.standing === 1
          ? log.info(
              { event: 'standing', standing: 1, plan: event.planVersion },
              'this rotation service counts',
            )
          : log.warn(
              { event: 'standing', standing: 0, plan: event.planVersion },
              'this rotation service counts for nobody: it hands over what it holds',
            )
      case 'plan':
        return log.info(
          { event: 'plan', plan: event.version, until: event.until },
          'a newer plan was taken up',
        )
      case 'planEnding':
        return log.warn(
          { event: 'planEnding', plan: event.version, until: event.until },
          'the plan ends soon: subrosa plan renew',
        )
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
      case 'ordered':
        return log.info({ event: 'ordered', epoch: event.epoch }, 'fresh keys were ordered')
      case 'peerDiffers':
        return log.warn(
          { event: 'peerDiffers', rotator: event.rotator, what: event.what },
          `another rotation service goes by another ${event.what}`,
        )
      case 'rejected':
        return log.warn(
          { event: 'rejected', reason: event.reason, subject: event.subject },
          'an arrival was refused unread',
        )
      case 'error':
        return log.error({ event: 'error', err: event.error }, 'an error in the rotation service')
    }
  }
}

/** Whether the fault is with what arrived. Two plans of one version and a record that cannot be written are no such faults. */
function isRefusal(error: unknown): error is SubrosaError {
  return error instanceof SubrosaError && error.code !== 'ERR_PLAN_CONFLICT' && error.code !== 'ERR_STATE'
}

function guard(task: () => void): void {
  try {
    task()
  } catch {
    // What cannot be logged must not end what it tells of.
  }
}
