import type { Failure, Outcome } from './campaign.ts'
import { FAULT_KINDS } from './faults.ts'
import { total } from './tally.ts'

/** What a campaign prints. */
export function report({ tally, ms }: Outcome, seed: number): string {
  const rate = tally.schedules / (ms / 1000)
  const lines = [
    `seed ${seed}: ${tally.schedules} schedules in ${(ms / 1000).toFixed(1)} s, ${rate.toFixed(1)} a second`,
    `sent ${total(tally.sent)}: ${listed(tally.sent)}`,
    `refused or in vain at the sender ${total(tally.failed)}: ${listed(tally.failed)}`,
    `delivered ${total(tally.delivered)}: ${listed(tally.delivered)}; ${tally.owed} of these were owed, and came`,
    `refused on arrival ${total(tally.refused)}: ${listed(tally.refused)}`,
    `faults ${total(tally.faults)}:`,
    ...FAULT_KINDS.map((kind) => `  ${kind}: ${tally.faults.get(kind) ?? 0}`),
  ]
  return lines.join('\n')
}

/** What is printed of a schedule that fails. */
export function reportFailure({ seed, error, schedule }: Failure): string {
  const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return [
    `the schedule of seed ${seed} fails:`,
    what,
    JSON.stringify(schedule, undefined, 1),
    `again: npm run adversary -- --schedules 1 --seed ${seed}`,
  ].join('\n')
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, times]) => `${name} ${times}`)
    .join(', ')
}
