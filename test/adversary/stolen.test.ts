import { describe, expect, it } from 'vitest'
import { runCampaign } from './campaign.ts'
import { FLEETS, type Fleet, LOST_FLEETS } from './rotators.ts'
import { dividing } from './schedule.ts'

const SEED = 60_000
const SCHEDULES = 4

const named = (fleet: Fleet) => ({ ...fleet, of: dividing(fleet) })

describe('a member that was revoked, and a broker that divides the realm', () => {
  it.each(FLEETS.map(named))(
    'are borne by $count services of which $threshold must be heard and $stolen are stolen',
    async ({ of }) => {
      const { failure, tally } = await runCampaign({ schedules: SCHEDULES, seed: SEED, of })
      expect(failure?.error).toBeUndefined()
      expect([tally.schedules, tally.faults.get('divided')]).toEqual([SCHEDULES, 3 * SCHEDULES])
    },
    600_000,
  )

  it.each(LOST_FLEETS.map(named))(
    'deceive agents, and that is found, where of $count services $stolen are stolen and $threshold must be heard',
    async ({ of }) => {
      const { failure } = await runCampaign({ schedules: 8 * SCHEDULES, seed: SEED, of })
      expect(failure?.error).toMatch(/Violation: .* (got what a revoked member says|seals to eve-)/)
    },
    600_000,
  )
})
