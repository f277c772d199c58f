import { randomBytes, randomUUID } from 'node:crypto'
import { Interrupted } from '../terminal/failure.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import type { BenchClient } from './client.ts'
import { withClients } from './clients.ts'
import { writeCsv } from './csv.ts'
import type { BenchOptions } from './options.ts'
import { showProgress } from './progress.ts'
import { formatResults } from './results.ts'
import { Tally } from './tally.ts'

/** A client, and what it has done so far. */
export interface Measured {
  readonly client: BenchClient
  readonly tally: Tally
}

/** What a benchmark works with. */
export interface Running {
  readonly measured: readonly Measured[]
  /** Ends it before it is done: it was interrupted, or another client has failed. */
  readonly signal: AbortSignal
}

/** What is measured. */
export interface Bench {
  /** What the broker calls the connections. */
  readonly purpose: string
  /** How it is sealed. */
  readonly mode: string
  /** How many messages all clients have done in the end. */
  readonly wanted: number
  /** Does it, and ends early where the signal says so. */
  readonly work: (running: Running) => Promise<void>
}

/**
 * Runs a benchmark and prints its results, also those of one that was interrupted or has failed.
 *
 * @throws what the work throws, Interrupted, SubrosaError ERR_SETUP when results cannot be written
 */
export async function runBench(terminal: Terminal, options: BenchOptions, bench: Bench): Promise<void> {
  if (options.plain)
    note(
      terminal,
      'warning: --plain seals nothing: whoever is in between can read these payloads, random bytes',
    )
  await withClients(terminal, options, {
    purpose: bench.purpose,
    task: (clients) => measure(terminal, options, { ...bench, clients }),
  })
}

/** Bytes to send. They carry nothing. */
export function filler(size: number): Uint8Array {
  return randomBytes(size)
}

/**
 * Lets all clients work at the same time. Where one fails, the others end early.
 *
 * @throws what the first of them threw that failed
 */
export async function together(
  { measured, signal }: Running,
  work: (
    measured: Measured,
    share: { readonly index: number; readonly signal: AbortSignal },
  ) => Promise<void>,
): Promise<void> {
  const failed = new AbortController()
  const either = AbortSignal.any([signal, failed.signal])
  const outcomes = await Promise.allSettled(
    measured.map(async (each, index) => {
      try {
        await work(each, { index, signal: either })
      } catch (error) {
        failed.abort(error)
        throw error
      }
    }),
  )
  if (outcomes.some(({ status }) => status === 'rejected')) throw failed.signal.reason
}

/** Resolves when the task is done or the signal ends it. @throws what the task throws before that */
export async function untilAborted(signal: AbortSignal, task: Promise<void>): Promise<void> {
  let end = (): void => {}
  const aborted = new Promise<void>((resolve) => {
    end = resolve
  })
  if (signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  try {
    await Promise.race([task, aborted])
  } finally {
    signal.removeEventListener('abort', end)
  }
}

/** How many of so many messages a client does. */
export function shareOf(msgs: number, clients: number, index: number): number {
  return Math.floor(msgs / clients) + (index < msgs % clients ? 1 : 0)
}

async function measure(
  terminal: Terminal,
  { csv, progress }: BenchOptions,
  { clients, mode, wanted, work }: Bench & { readonly clients: readonly BenchClient[] },
): Promise<void> {
  const measured = clients.map((client) => ({ client, tally: new Tally() }))
  const tallies = measured.map(({ tally }) => tally)
  const done = (): number => tallies.reduce((sum, { msgs }) => sum + msgs, 0)
  const stop = new AbortController()
  void terminal.interrupted().then(() => stop.abort())
  const hideProgress = progress ? showProgress(terminal, { done, wanted }) : () => {}
  try {
    await work({ measured, signal: stop.signal })
    if (stop.signal.aborted && done() < wanted) throw new Interrupted()
  } finally {
    hideProgress()
    // What failed before it began has no results.
    if (done() > 0 || stop.signal.aborted) {
      for (const line of formatResults(tallies, wanted)) terminal.data(line)
      if (csv !== undefined) await writeCsv(csv, { runId: randomUUID(), mode, tallies })
    }
  }
}
