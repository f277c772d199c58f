import { SubrosaError } from '../base/errors.ts'
import {
  CLOCK_WINDOW_MS,
  DEFAULT_EPOCH_PERIOD_MS,
  DEFAULT_GRACE_MS,
  DEFAULT_LEAD_MS,
  MAX_EPOCH_MS,
  MAX_GRACE_MS,
  MIN_LEAD_MS,
} from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { SUITE_X25519 } from '../envelope/keys.ts'
import type { Schedule } from '../wire/plans.ts'

const SALT_BYTES = 16

/** How epochs follow each other. */
export interface EpochTimes {
  /** From the beginning of one epoch to that of the next, in milliseconds. Default 55 minutes. */
  readonly periodMs: number
  /** For how long an epoch goes on beside the next, in milliseconds. Default 5 minutes. */
  readonly leadMs: number
  /** How long after its end messages of an epoch may arrive, in milliseconds. Default 5 minutes. */
  readonly graceMs: number
}

const DEFAULT_TIMES: EpochTimes = {
  periodMs: DEFAULT_EPOCH_PERIOD_MS,
  leadMs: DEFAULT_LEAD_MS,
  graceMs: DEFAULT_GRACE_MS,
}

/**
 * The schedule of a realm's first plan: epoch 1 begins now.
 *
 * @throws RangeError when a time is out of bounds
 */
export function firstSchedule(engine: CryptoEngine, nowMs: number, times: Partial<EpochTimes>): Schedule {
  checkTimes(times)
  const all = { ...DEFAULT_TIMES, ...times }
  return { first: 1, originMs: nowMs, ...all, suites: [SUITE_X25519], salt: engine.randomBytes(SALT_BYTES) }
}

/** Those that still matter: one is left out when no message of its epochs can come any more. */
export function withoutPast(schedules: readonly Schedule[], nowMs: number): readonly Schedule[] {
  const [first, second] = schedules
  if (first === undefined || second === undefined) return schedules
  return second.originMs + first.leadMs + first.graceMs + CLOCK_WINDOW_MS <= nowMs ? [second] : schedules
}

/**
 * The schedules of a plan that follows another one: after them one begins with a new salt, and other times where they are
 * given, at a boundary that everybody hears of in time. Where two are under way already nothing is added.
 *
 * @throws RangeError when a time is out of bounds; SubrosaError ERR_SETUP when other times are asked for and two
 *   schedules are under way
 */
export function nextSchedules(
  engine: CryptoEngine,
  former: readonly Schedule[],
  { nowMs, times }: { readonly nowMs: number; readonly times: Partial<EpochTimes> },
): readonly Schedule[] {
  const [running, pending] = withoutPast(former, nowMs)
  if (running === undefined) throw new TypeError('a plan has a schedule')
  const all = { periodMs: running.periodMs, leadMs: running.leadMs, graceMs: running.graceMs, ...times }
  checkTimes(all)
  if (pending !== undefined) {
    if (Object.keys(times).length > 0) throw underWay(running, pending)
    return [running, pending]
  }
  if (all.periodMs < running.leadMs)
    throw new RangeError(
      'an epoch must begin no sooner after the one before than the lead lasts that is now in force',
    )
  const noticeMs = Math.max(running.periodMs + running.leadMs, all.periodMs + all.leadMs)
  const { originMs, periodMs } = running
  const periods = Math.ceil((nowMs + noticeMs - originMs) / periodMs)
  const next: Schedule = {
    first: running.first + periods,
    originMs: originMs + periods * periodMs,
    ...all,
    suites: running.suites,
    salt: engine.randomBytes(SALT_BYTES),
  }
  return [running, next]
}

/** @throws RangeError when a time is out of bounds, where those that are not given are the usual ones */
export function checkTimes(times: Partial<EpochTimes>): void {
  const { periodMs, leadMs, graceMs } = { ...DEFAULT_TIMES, ...times }
  for (const time of [periodMs, leadMs, graceMs])
    if (!Number.isSafeInteger(time)) throw new RangeError('times must be whole milliseconds')
  if (leadMs < MIN_LEAD_MS || leadMs > periodMs)
    throw new RangeError('the lead must be at least 1s, and at most the time from one epoch to the next')
  if (periodMs + leadMs > MAX_EPOCH_MS)
    throw new RangeError('the time from one epoch to the next and the lead must be at most 24h together')
  if (graceMs < 0 || graceMs > MAX_GRACE_MS) throw new RangeError('the grace must be at most 15m')
}

function underWay({ leadMs, graceMs }: Schedule, { originMs }: Schedule): SubrosaError {
  const free = new Date(originMs + leadMs + graceMs + CLOCK_WINDOW_MS).toISOString()
  return new SubrosaError('ERR_SETUP', 'another schedule of epochs is under way already', {
    hint: `a plan holds two at most: change the times again after ${free}`,
  })
}
