import { availableParallelism } from 'node:os'
import { expect, it } from 'vitest'
import { complaintAbout } from './campaign.ts'
import { runCrew } from './crew.ts'
import { report, reportFailure } from './report.ts'

const SCHEDULES = 30
const SEED = 20_000

it('30 random schedules against a hostile broker break no invariant, and hit every kind of fault', async () => {
  const outcome = await runCrew({ schedules: SCHEDULES, seed: SEED, processes: availableParallelism() })
  console.log(report(outcome, SEED))
  expect(outcome.failure === undefined ? undefined : reportFailure(outcome.failure)).toBeUndefined()
  expect(complaintAbout(outcome.tally, SCHEDULES)).toBeUndefined()
}, 900_000)
