import type { Failure, Outcome } from './campaign.ts'
import { FAULT_KINDS } from './faults.ts'
import { total } from './tally.ts'
import { RECOVERY_MS } from './world.ts'

/** What a campaign prints. */
export function report({ tally, ms, cpuMs }: Outcome, seed: number): string {
  const { schedules } = tally
  const seconds = (ms / 1000).toFixed(1)
  const rate = (schedules / (ms / 1000)).toFixed(1)
  const cpu = (cpuMs / 1000 / Math.max(1, schedules)).toFixed(2)
  const lines = [
    `seed ${seed}: ${schedules} schedules in ${seconds} s, ${rate} a second, ${cpu} s of computing each`,
    `sent ${total(tally.sent)}: ${listed(tally.sent)}`,
    `refused or in vain at the sender ${total(tally.failed)}: ${listed(tally.failed)}`,
    `delivered ${total(tally.delivered)}: ${listed(tally.delivered)}; ${tally.owed} of these were owed, and came`,
    `agents are to be well ${RECOVERY_MS / 1000} s after the faults stop; where a clock was wrong, after the next epoch`,
    `refused on arrival ${total(tally.refused)}: ${listed(tally.refused)}`,
    `faults ${total(tally.faults)}:`,
    ...FAULT_KINDS.map((kind) => {
      const aims = [...tally.aims].filter(([name]) => name.startsWith(`${kind}: `))
      const words = listed(new Map(aims.map(([name, times]) => [name.slice(kind.length + 2), times])))
      return `  ${kind}: ${tally.faults.get(kind) ?? 0}${words === '' ? '' : ` (${words})`}`
    }),
  ]
  return lines.join('\n')
}

/** What is printed of a schedule that fails. */
export function reportFailure({ seed, error, schedule }: Failure): string {
  return [
    `the schedule of seed ${seed} fails:`,
    error,
    ...(schedule === undefined ? [] : [JSON.stringify(schedule, undefined, 1)]),
    `again: npm run adversary -- --schedules 1 --seed ${seed}`,
    'A real server decides what comes first where two clients speak at once: where it passes, repeat it ten times.',
  ].join('\n')
}

function listed(counts: ReadonlyMap<string, number>): string {
  return [...counts]
    .sort(([, a], [, b]) => b - a)
    .map(([name, times]) => `${name} ${times}`)
    .join(', ')
}
