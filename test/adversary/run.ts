// npm run adversary -- --schedules N --seed S --minutes M
import { parseArgs } from 'node:util'
import { runCampaign, shrink } from './campaign.ts'
import { report, reportFailure } from './report.ts'

const SHRINK_MS = 60_000
const MAX_SEED = 2 ** 31

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: '500' },
    seed: { type: 'string' },
    minutes: { type: 'string', default: '60' },
  },
})
const schedules = whole('schedules', values.schedules, 1)
const seed = values.seed === undefined ? Math.floor(Math.random() * MAX_SEED) : whole('seed', values.seed, 0)

console.log(`seed ${seed}`)
const minutes = whole('minutes', values.minutes, 1)
let done = 0
const outcome = await runCampaign({
  schedules,
  seed,
  forMs: minutes * 60_000,
  onProgress: (count) => {
    done = count
  },
})
console.log(`${done} of ${schedules} schedules`)
console.log(report(outcome, seed))
if (outcome.complaint !== undefined) console.error(`adversary: error: ${outcome.complaint}`)
if (outcome.failure !== undefined) {
  const { failure } = outcome
  console.error(`adversary: error: ${String(failure.error)}\nlooking for a smaller schedule …`)
  console.error(reportFailure((await shrink(failure.seed, SHRINK_MS)) ?? failure))
}
process.exitCode = outcome.failure === undefined && outcome.complaint === undefined ? 0 : 1

function whole(name: string, text: string, least: number): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least)
    throw new RangeError(`--${name} must be a whole number of at least ${least}, and is ${text}`)
  return value
}
