import {
  DEFAULT_EPOCH_MS,
  DEFAULT_GRACE_MS,
  DEFAULT_LEAD_MS,
  DEFAULT_TICK_MS,
  MAX_EPOCH_MS,
  MAX_GRACE_MS,
  STALE_AFTER_MS,
} from '../base/limits.ts'

/** The times of a rotation service, in milliseconds. */
export interface RotationTimes {
  /** How long an epoch lasts. Default 1 hour, at most 24. */
  readonly epochMs: number
  /** How long an epoch overlaps with the next. Default 5 minutes. */
  readonly leadMs: number
  /** How long after an epoch's end its messages may still arrive. Default 5 minutes, at most 15. */
  readonly graceMs: number
  /** Between ticks. Default 15,000. Agents are stale after 90,000 without one. */
  readonly tickMs: number
}

/** The times that are given, and defaults for the others. @throws RangeError when one is out of its bounds */
export function rotationTimes(given: Partial<RotationTimes>): RotationTimes {
  const {
    epochMs = DEFAULT_EPOCH_MS,
    leadMs = DEFAULT_LEAD_MS,
    graceMs = DEFAULT_GRACE_MS,
    tickMs = DEFAULT_TICK_MS,
  } = given
  for (const [name, value] of Object.entries({ epochMs, leadMs, graceMs, tickMs })) {
    if (!Number.isInteger(value)) throw new RangeError(`${name} must be a whole number of milliseconds`)
  }
  if (!(epochMs > 0 && epochMs <= MAX_EPOCH_MS))
    throw new RangeError('epochMs must be above 0 and at most 24 hours')
  if (!(leadMs > 0 && leadMs < epochMs)) throw new RangeError('leadMs must be above 0 and below epochMs')
  if (!(graceMs >= 0 && graceMs <= MAX_GRACE_MS))
    throw new RangeError('graceMs must be at least 0 and at most 15 minutes')
  if (!(tickMs > 0 && tickMs < STALE_AFTER_MS))
    throw new RangeError('tickMs must be above 0 and below 90 seconds')
  return { epochMs, leadMs, graceMs, tickMs }
}
