import { SubrosaError, type SubrosaErrorCode } from '../base/errors.ts'
import type { HouseClock } from '../base/house-clock.ts'
import { LineLimit } from '../base/line-limit.ts'
import type { Logger } from '../base/logger.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { logConnection } from '../bus/event-log.ts'
import type { RotationEvent } from './events.ts'

/** A statement that was not taken. */
interface Refused {
  readonly subject: string
  readonly err: SubrosaError
}

/** Where events go. */
export interface RotationEventLogOptions {
  readonly log: Logger
  readonly clock: Pick<HouseClock, 'monotonic'>
  readonly onEvent?: (event: RotationEvent) => void
}

/**
 * What happens in a rotation service: written to its log, and handed on to whoever has started it. Anybody with a login sends it
 * statements, so those that it refuses for one reason share lines: see {@link LineLimit}. A logger or a callback that throws
 * disturbs nothing: what it was told of has happened.
 */
export class RotationEventLog {
  readonly #options: RotationEventLogOptions
  readonly #refused = new LineLimit<SubrosaErrorCode, Refused>()
  readonly #rejections = new RateLimit(1)

  constructor(options: RotationEventLogOptions) {
    this.#options = options
  }

  /** Logs an event, and hands it on. */
  tell(event: RotationEvent): void {
    guard(() => this.#line(event))
    this.#handOn(event)
  }

  /** Something went wrong. */
  error(error: unknown): void {
    this.tell({ type: 'error', error })
  }

  /** What arrived on a subject of the protocol's was not taken, or could not be. */
  refused(subject: string, error: unknown): void {
    if (!isRefusal(error)) return this.error(error)
    const refused = { subject, err: error }
    const count = this.#refused.admit(error.code, refused, this.#options.clock.monotonic())
    if (count !== undefined) guard(() => this.#logRefused(refused, count))
    this.#handOn({ type: 'error', error })
  }

  /** What arrived was not looked at: that is said once a second. */
  rejected(reason: 'misrouted' | 'headers', subject: string): void {
    if (this.#rejections.take(this.#options.clock.monotonic()))
      this.tell({ type: 'rejected', reason, subject })
  }

  /** Logs what the NATS client says about its connection. */
  connection(status: { readonly type: string }): void {
    guard(() => logConnection(this.#options.log, status))
  }

  /** Logs the refusals that still wait for their line. */
  end(): void {
    for (const { latest, count } of this.#refused.takeWaiting()) guard(() => this.#logRefused(latest, count))
  }

  #handOn(event: RotationEvent): void {
    try {
      this.#options.onEvent?.(event)
    } catch (error) {
      guard(() => this.#line({ type: 'error', error }))
    }
  }

  #logRefused(refused: Refused, count: number): void {
    this.#options.log.warn({ event: 'refused', ...refused, count }, 'statements were refused')
  }

  #line(told: RotationEvent): void {
    const { log } = this.#options
    if (told.type === 'error')
      return log.error({ event: 'error', err: told.error }, 'an error in the rotation service')
    const { type, ...fields } = told
    const isBad = BAD.has(type) || (told.type === 'standing' && told.standing === 0)
    log[isBad ? 'warn' : 'info']({ event: type, ...fields }, TEXTS[type])
  }
}

/** What an operator should look at. That this service counts for nobody is bad too. */
const BAD: ReadonlySet<RotationEvent['type']> = new Set(['planEnding', 'revoked', 'peerDiffers', 'rejected'])

const TEXTS: Readonly<Record<Exclude<RotationEvent['type'], 'error'>, string>> = {
  standing: 'whether this rotation service counts (1), or only hands over what it holds (0)',
  plan: 'a newer plan was taken up',
  planEnding: 'the plan ends soon: subrosa plan renew',
  epoch: 'an epoch has begun',
  announced: 'an instance has announced keys',
  retired: 'an instance has retired',
  revoked: 'an identity is revoked',
  ordered: 'fresh keys were ordered',
  peerDiffers: 'another rotation service has another directory, or an older plan',
  rejected: 'an arrival was refused unread',
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
