import { bytes } from '../lib/report.ts'
import { REQUESTS, startRequests } from '../lib/requests.ts'
import type { Metric } from './findings.ts'
import type { Sitting } from './sitting.ts'
import { inTurns, startBoth } from './turns.ts'

const SIZE = 128
const P50: Metric = { name: 'p50', unit: 'µs', better: 'lower' }
const SEALED = REQUESTS.filter(({ mode }) => mode === 'session' || mode === 'channel')

/** Request and reply between two processes: the request in the middle. */
export async function compareRequests(sitting: Sitting): Promise<void> {
  const { checkouts, plan, number, findings, signal } = sitting
  const ends = await startBoth(checkouts, (checkout) =>
    startRequests(SIZE, { checkout, variants: SEALED, warmUp: plan.firstRequests, signal }),
  )
  try {
    const turns = { rounds: plan.rounds, warmUp: plan.warmUp, first: number }
    const measured = await inTurns(SEALED, turns, (one, side) => ends[side].request(one, plan.requests))
    for (const [{ name: row }, pairs] of measured)
      findings.add(
        { title: `request and reply of ${bytes(SIZE)}`, row, metric: P50 },
        pairs.map(({ before, after }) => ({ before: before.p50, after: after.p50 })),
      )
  } finally {
    await ends.stop()
  }
}
