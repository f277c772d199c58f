import { readFile } from 'node:fs/promises'
import type { NatsConnection } from '@nats-io/transport-node'
import { expect } from 'vitest'
import { DailyRealm } from './daily-realm.ts'
import type { Outcome, RunningCommand } from './run.ts'

/** What the benchmarks of tests are about. */
export const SUBJECT = 'orders.bench'

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
]

type Row = Readonly<Record<string, string>>

/** A realm in which `subrosa bench` runs, and somebody who sees what the broker does. */
export class BenchRealm {
  readonly realm: DailyRealm
  /** Every payload that passed on the subjects of the benchmarks, as it is on the wire. */
  seen: Uint8Array[] = []
  readonly #tap: NatsConnection
  readonly #running: RunningCommand[] = []

  static async start(): Promise<BenchRealm> {
    const realm = await DailyRealm.start()
    const bench = new BenchRealm(realm, await realm.running.login({ agent: 'audit' }))
    await bench.tapped()
    return bench
  }

  private constructor(realm: DailyRealm, tap: NatsConnection) {
    this.realm = realm
    this.#tap = tap
    tap.subscribe('orders.>', { callback: (_, { data }) => void this.seen.push(data) })
  }

  /** Resolves when everything that was published before has been seen. */
  tapped(): Promise<void> {
    return this.#tap.flush()
  }

  /** Starts `subrosa bench` as an agent, in this process. */
  start(agent: string, ...argv: readonly string[]): RunningCommand {
    const command = this.realm.start(agent, ['bench', ...argv])
    this.#running.push(command)
    return command
  }

  /** Runs `subrosa bench` as orders. */
  run(...argv: readonly string[]): Promise<Outcome> {
    return this.start('orders', ...argv).outcome
  }

  /** Starts `subrosa bench sub` as billing, and resolves when it receives. */
  async receive(...argv: readonly string[]): Promise<RunningCommand> {
    const command = await this.realm.listen('billing', 'bench', 'sub', SUBJECT, ...argv)
    this.#running.push(command)
    return command
  }

  /** What both ends of a benchmark have done. */
  async both(sub: readonly string[], other: readonly string[]): Promise<readonly [Outcome, Outcome]> {
    const receiving = await this.receive(...sub)
    const outcome = await this.run(...other)
    return [await receiving.outcome, outcome]
  }

  /** Ends what a test has left running, and forgets what was seen. */
  async rest(): Promise<void> {
    for (const command of this.#running.splice(0)) {
      command.interrupt()
      await command.outcome
    }
    await this.tapped()
    this.seen = []
  }

  stop(): Promise<void> {
    return this.realm.stop()
  }
}

/** The rows of a CSV file, by the names of their columns. */
export async function rowsOf(path: string): Promise<readonly Row[]> {
  const [head = '', ...lines] = (await readFile(path, 'utf8')).trimEnd().split('\n')
  expect(head.split(',')).toEqual(COLUMNS)
  return lines.map((line) => {
    const cells = line.split(',')
    expect(cells).toHaveLength(COLUMNS.length)
    return Object.fromEntries(COLUMNS.map((name, i) => [name, cells[i] ?? '']))
  })
}

/** Who did how many messages of how many bytes, and how they were sealed. */
export function countsOf(rows: readonly Row[]) {
  return rows.map(({ ClientID, MsgCount, MsgBytes, Mode }) => [
    ClientID,
    Number(MsgCount),
    Number(MsgBytes),
    Mode,
  ])
}
