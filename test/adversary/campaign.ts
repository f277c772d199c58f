import fc from 'fast-check'
import { startTestServer } from '../support/server.ts'
import { runSchedule } from './run-schedule.ts'
import { type Schedule, schedules } from './schedule.ts'
import { Tally } from './tally.ts'

/** Schedules that run side by side on one server. */
const SIDE_BY_SIDE = 4
/** From so many schedules on, every kind of fault must have happened. */
const ENOUGH_FOR_EVERY_FAULT = 100

/** What a campaign is told. */
export interface CampaignOptions {
  readonly schedules: number
  /** The first schedule's seed; the others have those that follow it. */
  readonly seed: number
  /** Milliseconds after which no further schedule is begun. Default: all are run. */
  readonly forMs?: number
  /** Called after each schedule. */
  readonly onProgress?: (done: number) => void
}

/** A schedule in which an invariant did not hold. */
export interface Failure {
  readonly seed: number
  readonly error: unknown
  readonly schedule: Schedule
}

/** What has come of a campaign. */
export interface Outcome {
  readonly tally: Tally
  readonly failure: Failure | undefined
  /** Why the campaign does not count although nothing was violated. */
  readonly complaint: string | undefined
  readonly ms: number
}

/** Runs schedules, several at once, until all have run or one fails. */
export async function runCampaign(options: CampaignOptions): Promise<Outcome> {
  const { schedules: wanted, seed, forMs = Number.POSITIVE_INFINITY, onProgress = () => {} } = options
  const began = performance.now()
  const server = await startTestServer()
  const tally = new Tally()
  let failure: Failure | undefined
  let next = 0
  let done = 0
  const worker = async (): Promise<void> => {
    while (next < wanted && failure === undefined && performance.now() - began < forMs) {
      const own = seed + next++
      const found = await runSeed(own, server.port, tally)
      failure ??= found
      onProgress(++done)
    }
  }
  try {
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker))
  } finally {
    await server.stop()
  }
  const missing = done >= ENOUGH_FOR_EVERY_FAULT ? tally.missingFaults : []
  const complaint = missing.length > 0 ? `these faults never happened: ${missing.join(', ')}` : undefined
  return { tally, failure, complaint, ms: performance.now() - began }
}

/** Looks for the least schedule that fails like the one of this seed, for as long as it is given. */
export async function shrink(seed: number, forMs: number): Promise<Failure | undefined> {
  const server = await startTestServer()
  try {
    return await runSeed(seed, server.port, new Tally(), { forMs })
  } finally {
    await server.stop()
  }
}

async function runSeed(
  seed: number,
  serverPort: number,
  tally: Tally,
  shrinking?: { readonly forMs: number },
): Promise<Failure | undefined> {
  const property = fc.asyncProperty(schedules, (schedule) =>
    runSchedule(schedule, { serverPort, seed, tally }),
  )
  const details = await fc.check(property, {
    seed,
    numRuns: 1,
    ...(shrinking === undefined ? { endOnFailure: true } : { interruptAfterTimeLimit: shrinking.forMs }),
  })
  const [schedule] = details.counterexample ?? []
  if (!details.failed || schedule === undefined) return undefined
  return { seed, error: details.errorInstance, schedule }
}
