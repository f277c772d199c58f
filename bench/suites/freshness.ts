import { availableParallelism } from 'node:os'
import type { Hour, HourPlan } from '../lib/freshness/hour.ts'
import type { Plan } from '../lib/plan.ts'
import { startWorker } from '../lib/process.mjs'
import { digits, note, table } from '../lib/report.ts'

const SERVICES = [1, 3]
/**
 * Each with the minutes of the hour that pass. In a whole hour an epoch begins, in less none does: then every agent verifies the
 * announcements of all others, a million of 1,000.
 */
const REALMS: readonly Omit<HourPlan, 'services'>[] = [
  { agents: 10, as: 'whole', minutes: 60 },
  { agents: 10, as: 'parts', minutes: 60 },
  { agents: 100, as: 'whole', minutes: 60 },
  { agents: 1000, as: 'whole', minutes: 9 },
  { agents: 1000, as: 'parts', minutes: 9 },
  { agents: 10_000, as: 'parts', minutes: 9 },
  { agents: 100_000, as: 'parts', minutes: 3 },
]
/** Of these there are realms of both kinds: by them it shows that parts ask and are answered as whole agents are. */
const MAX_APART = 0.05
/** Each takes up to several gigabytes. */
const MAX_AT_ONCE = 2
const MAX_HEAP_MIB = 8192
const KIB = 1024
const SECOND_MS = 1000

/**
 * What freshness costs: real rotation services and real agents on a line in memory, where an hour takes no hour. Whoever is not fresh
 * throughout, or acts on a revocation too late, ends the run.
 */
export async function freshnessSuite({ quick }: Plan) {
  const realms = quick ? REALMS.filter(({ agents }) => agents === 10) : REALMS
  const plans = realms.flatMap((realm) => SERVICES.map((services) => ({ ...realm, services })))
  const rows = await measureAll(plans)
  checkParts(rows)
  print(rows)
  return { rows }
}

/** Two at once, where there are two cores: neither bytes nor signatures depend on what else the machine does. */
async function measureAll(plans: readonly HourPlan[]): Promise<readonly Hour[]> {
  const hours = new Map<HourPlan, Hour>()
  const left = [...plans]
  const work = async (): Promise<void> => {
    for (let plan = left.shift(); plan !== undefined; plan = left.shift())
      hours.set(plan, await measured(plan))
  }
  await Promise.all(Array.from({ length: Math.min(MAX_AT_ONCE, availableParallelism()) }, work))
  return plans.flatMap((plan) => hours.get(plan) ?? [])
}

async function measured(plan: HourPlan): Promise<Hour> {
  const worker = startWorker('freshness.ts', { maxHeapMiB: MAX_HEAP_MIB })
  try {
    return await worker.call('measure', plan)
  } finally {
    await worker.stop()
  }
}

/** @throws Error where realms of whole agents and of parts differ in what makes them fresh */
function checkParts(rows: readonly Hour[]): void {
  for (const whole of rows.filter(({ as }) => as === 'whole')) {
    const parts = rows.find((row) => row.as === 'parts' && isLike(row, whole))
    if (parts === undefined) continue
    for (const what of ['pings', 'answers', 'broadcasts'] as const)
      if (Math.abs(parts.bytes[what] / whole.bytes[what] - 1) > MAX_APART)
        throw new Error(
          `${what} of ${whole.agents} agents at ${whole.services} services: ${whole.bytes[what]} B, and ${parts.bytes[what]} B in parts`,
        )
  }
}

function isLike(a: HourPlan, b: HourPlan): boolean {
  return a.agents === b.agents && a.services === b.services
}

function print(rows: readonly Hour[]): void {
  const kib = (bytes: number): string => digits(bytes / KIB)
  table(
    'freshness: KiB an agent and hour, on its own line in both directions',
    [
      'agents',
      'services',
      'nonces/s',
      'signatures/s',
      'answer',
      'pings',
      'answers',
      'broadcasts',
      'all three',
      'directory',
    ],
    rows.map(
      ({ agents, services, as, minutes, noncesPerSecond, signaturesPerSecond, answerBytes, bytes }) => [
        `${agents.toLocaleString('en')}${as === 'whole' ? '' : ' in parts'}`,
        `${services}`,
        digits(noncesPerSecond),
        digits(signaturesPerSecond),
        `${Math.round(answerBytes)} B`,
        kib(bytes.pings),
        kib(bytes.answers),
        kib(bytes.broadcasts),
        kib(bytes.pings + bytes.answers + bytes.broadcasts),
        as === 'whole' && minutes === 60 ? kib(bytes.directory) : '–',
      ],
    ),
  )
  table(
    'freshness: who was fresh throughout, and when the last agent acted on a revocation, from its confirmation',
    ['agents', 'services', 'minutes', 'fresh', 'published', 'withheld', 'took'],
    rows.map(({ agents, services, as, minutes, shareFresh, acted, seconds }) => [
      `${agents.toLocaleString('en')}${as === 'whole' ? '' : ' in parts'}`,
      `${services}`,
      `${minutes}`,
      `${digits(shareFresh * 100)} %`,
      `${digits(acted.heardMs / SECOND_MS)} s`,
      `${digits(acted.withheldMs / SECOND_MS)} s`,
      `${digits(seconds)} s`,
    ]),
  )
  note('signatures: of one service; answer: on the line, in the mean; of 3 services 2 must answer')
  note('services are real. Agents are whole, or in parts: what makes them fresh, without keys and directory')
  note('withheld: no revocation and no broadcast reaches an agent, only answers to what it asks')
}
