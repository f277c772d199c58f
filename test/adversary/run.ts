// npm run adversary -- --schedules N --seed S --minutes M --at-least K --processes P --shrink SECONDS
// npm run adversary -- --dividing: schedules in which a member is revoked and a realm of three services divided.
// npm run adversary -- --prove: takes defences out of a copy, and sees that it is noticed.
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Scratch } from '../../scripts/defences/scratch.ts'
import { complaintAbout, shrink } from './campaign.ts'
import { runCrew } from './crew.ts'
import { PROOFS, prove } from './proofs.ts'
import { report, reportFailure } from './report.ts'

const MAX_SEED = 2 ** 31

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '500' },
    seed: { type: 'string' },
    minutes: { type: 'string', default: '60' },
    'at-least': { type: 'string' },
    shrink: { type: 'string', default: '60' },
    prove: { type: 'boolean', default: false },
    dividing: { type: 'boolean', default: false },
    processes: { type: 'string', default: String(availableParallelism()) },
  },
})
if (values.prove) proveAll()
else await run()

async function run(): Promise<void> {
  const schedules = whole('schedules', values.schedules, 1)
  // A run that is cut off before it has done what it was asked for proves less than it says, unless it was told how much is enough.
  const atLeast = whole('at-least', values['at-least'] ?? values.schedules, 1)
  const seed =
    values.seed === undefined ? Math.floor(Math.random() * MAX_SEED) : whole('seed', values.seed, 0)
  const minutes = whole('minutes', values.minutes, 1)
  const processes = whole('processes', values.processes, 1)
  const shrinkMs = 1000 * whole('shrink', values.shrink, 0)

  console.log(`seed ${seed}`)
  const outcome = await runCrew({
    schedules,
    seed,
    processes,
    forMs: minutes * 60_000,
    isDividing: values.dividing,
  })
  const { tally, failure } = outcome
  const isCutOff = tally.schedules < schedules && failure === undefined
  console.log(
    `${tally.schedules} of ${schedules} schedules${isCutOff ? `: cut off after ${minutes} minutes` : ''}`,
  )
  console.log(report(outcome, seed))
  if (failure === undefined) {
    const complaint = values.dividing ? undefined : complaintAbout(tally, Math.min(atLeast, schedules))
    if (complaint !== undefined) {
      console.error(`adversary: error: ${complaint}`)
      process.exitCode = 1
    }
  } else {
    console.error(`adversary: error: the schedule of seed ${failure.seed} fails: ${failure.error}`)
    const mayShrink = failure.schedule !== undefined && shrinkMs > 0 && !values.dividing
    if (mayShrink) console.error('looking for a smaller schedule …')
    const least = mayShrink ? await shrink(failure.seed, shrinkMs) : undefined
    console.error(reportFailure(least ?? failure))
    process.exitCode = 1
  }
}

function proveAll(): void {
  const scratch = new Scratch(fileURLToPath(new URL('../..', import.meta.url)))
  try {
    for (const proof of PROOFS) {
      const found = prove(proof, scratch)
      console.log(
        `${found === undefined ? 'NOT SEEN' : 'seen'}: ${proof.defence} (${proof.within}): ${found ?? ''}`,
      )
      if (found === undefined) process.exitCode = 1
    }
  } finally {
    scratch.remove()
  }
}

function whole(name: string, text: string, least: number): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least)
    throw new RangeError(`--${name} must be a whole number of at least ${least}, and is ${text}`)
  return value
}
