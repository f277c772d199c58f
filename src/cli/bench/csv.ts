import { writeFile } from 'node:fs/promises'
import { SubrosaError } from '../../base/errors.ts'
import { latencyOf } from './latency.ts'
import { type Count, perSecond, Tally } from './tally.ts'

/** The columns that `nats bench` writes, by its names, and at the end how it was sealed. */
const COLUMNS = [
  '#RunID',
  'ClientID',
  'MsgCount',
  'MsgBytes',
  'MsgsPerSec',
  'BytesPerSec',
  'DurationSecs',
  'MinLatencyMicroSecs',
  'AvgLatencyMicroSecs',
  'MaxLatencyMicroSecs',
  'P50LatencyMicroSecs',
  'P90LatencyMicroSecs',
  'P99LatencyMicroSecs',
  'P99.9LatencyMicroSecs',
  'StdDevLatencyMicroSecs',
  'Mode',
] as const

/** What a file of results is made of. */
export interface CsvResults {
  readonly runId: string
  /** How it was sealed, or `plain`. */
  readonly mode: string
  /** One for each client. */
  readonly tallies: readonly Tally[]
}

/** Results as CSV: a row for each client, and one named `all` for all of them. Latencies of requests alone. */
export function formatCsv({ runId, mode, tallies }: CsvResults): string {
  const rows = tallies.map((tally, i) => [runId, String(i + 1), ...cells(tally.count()), mode])
  const all = [runId, 'all', ...cells(Tally.total(tallies)), mode]
  return `${[COLUMNS, ...rows, all].map((row) => row.join(',')).join('\n')}\n`
}

/** Writes results to a file, over what it held. @throws SubrosaError ERR_SETUP */
export async function writeCsv(path: string, results: CsvResults): Promise<void> {
  try {
    await writeFile(path, formatCsv(results))
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot write ${path}`, {
      hint: 'choose a file for --csv in a folder that can be written',
      cause,
    })
  }
}

function cells(count: Count): readonly string[] {
  const { msgs, bytes, seconds, latencies } = count
  const latency = latencyOf(latencies)
  const { min, mean, max, p50, p90, p99, p999, stdDev } = latency ?? {}
  return [
    String(msgs),
    String(bytes),
    cell(perSecond(msgs, count), 0),
    cell(perSecond(bytes, count), 0),
    cell(seconds, 6),
    ...[min, mean, max, p50, p90, p99, p999, stdDev].map((micros) => cell(micros, 3)),
  ]
}

function cell(value: number | undefined, digits: number): string {
  return value === undefined ? '' : value.toFixed(digits)
}
