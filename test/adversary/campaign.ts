import fc from 'fast-check'
import { startTestServer } from '../support/server.ts'
import { runSchedule, type Stage } from './run-schedule.ts'
import { type Schedule, schedules } from './schedule.ts'
import { Tally } from './tally.ts'

/** Schedules that run side by side on one server. */
const SIDE_BY_SIDE = 4
/** From so many schedules on, every kind of fault must have happened. */
const ENOUGH_FOR_EVERY_FAULT = 30
/** Deliveries that each schedule owes, on average, lest it be an idle run. */
const OWED_BY_EACH = 20
/** A schedule takes a second or two of computing. One that is not over after this time, on whatever machine, hangs. */
export const MAX_SCHEDULE_MS = 300_000

/** Which schedules run. */
export interface CampaignOptions {
  readonly schedules: number
  /** The first schedule's seed; the others have those that follow it. */
  readonly seed: number
  /** From one seed to the next: a process of several takes every so-manieth. Default 1. */
  readonly step?: number
  /** Milliseconds after which no further schedule is begun. Default: all are run. */
  readonly forMs?: number
  /** What is run. Default: any schedules, of fleets that bear what happens. */
  readonly of?: fc.Arbitrary<Schedule>
  /** Called before each schedule. */
  readonly onBegin?: (seed: number) => void
  /** Called after each schedule. */
  readonly onEnd?: (seed: number) => void
}

/** A schedule in which an invariant did not hold. It can be sent to another process. */
export interface Failure {
  readonly seed: number
  /** What was violated, or the stack of what was thrown. */
  readonly error: string
  /** `undefined` where the process did not live to tell. */
  readonly schedule: Schedule | undefined
}

/** What has come of a campaign. It can be sent to another process. */
export interface Outcome {
  readonly tally: Tally
  readonly failure: Failure | undefined
  readonly ms: number
  /** Of computing, in ms. */
  readonly cpuMs: number
}

/** Runs schedules, several at once, until all have run or one fails. */
export async function runCampaign(options: CampaignOptions): Promise<Outcome> {
  const { schedules: wanted, seed, step = 1, forMs = Number.POSITIVE_INFINITY } = options
  const { of = schedules, onBegin = () => {}, onEnd = () => {} } = options
  const began = performance.now()
  const cpuBegan = process.cpuUsage()
  const server = await startTestServer()
  const tally = new Tally()
  let failure: Failure | undefined
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < wanted && failure === undefined && performance.now() - began < forMs) {
      const own = seed + step * next++
      onBegin(own)
      failure ??= await runSeed(own, { of, serverPort: server.port, tally })
      onEnd(own)
    }
  }
  try {
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, worker))
  } finally {
    await server.stop()
  }
  const { user, system } = process.cpuUsage(cpuBegan)
  return { tally, failure, ms: performance.now() - began, cpuMs: (user + system) / 1000 }
}

/**
 * Why a campaign does not count although nothing was violated.
 *
 * @param atLeast how many schedules must have run
 */
export function complaintAbout(tally: Tally, atLeast: number): string | undefined {
  const { schedules: done, missingFaults, owed } = tally
  if (done < atLeast) return `only ${done} schedules have run, and ${atLeast} were asked for`
  if (done < ENOUGH_FOR_EVERY_FAULT) return undefined
  if (missingFaults.length > 0) return `these faults never happened: ${missingFaults.join(', ')}`
  if (owed < done * OWED_BY_EACH) return `an idle run: only ${owed} deliveries were owed`
  return undefined
}

/** Looks for the least schedule that fails like the one of this seed, for as long as it is given. */
export async function shrink(seed: number, forMs: number): Promise<Failure | undefined> {
  const server = await startTestServer()
  try {
    return await runSeed(seed, { of: schedules, serverPort: server.port, tally: new Tally() }, { forMs })
  } finally {
    await server.stop()
  }
}

async function runSeed(
  seed: number,
  { of, serverPort, tally }: Omit<Stage, 'seed'> & { readonly of: fc.Arbitrary<Schedule> },
  shrinking?: { readonly forMs: number },
): Promise<Failure | undefined> {
  const property = fc.asyncProperty(of, (schedule) =>
    inTime(runSchedule(schedule, { serverPort, seed, tally })),
  )
  const details = await fc.check(property, {
    seed,
    numRuns: 1,
    ...(shrinking === undefined ? { endOnFailure: true } : { interruptAfterTimeLimit: shrinking.forMs }),
  })
  const [schedule] = details.counterexample ?? []
  if (!details.failed || schedule === undefined) return undefined
  const { errorInstance: error } = details
  return { seed, error: error instanceof Error ? (error.stack ?? error.message) : String(error), schedule }
}

/** @throws Error when the schedule hangs */
async function inTime(schedule: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`the schedule is not over after ${MAX_SCHEDULE_MS / 1000} s of real time`)),
      MAX_SCHEDULE_MS,
    )
  })
  try {
    await Promise.race([schedule, late])
  } finally {
    clearTimeout(timer)
  }
}
