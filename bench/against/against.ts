import { rmSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Arguments } from '../arguments.ts'
import { loadCheckout } from '../lib/checkout.ts'
import { describeMachine, load, printMachine } from '../lib/machine.mjs'
import { type Built, prepare, Unprepared } from './checkouts.ts'
import { compareCosts } from './costs.ts'
import { Findings, printEntries } from './findings.ts'
import { comparePipes } from './pipes.ts'
import type { Pair } from './ratios.ts'
import { compareRequests } from './requests.ts'
import { QUICK, type Sitting, WHOLE } from './sitting.ts'

/** What `--against` compares: each is a suite of the benchmark, or the part of one that two checkouts can share. */
export const COMPARED = ['pipe', 'bytes', 'memory', 'latency', 'seal']

const SECTIONS = [
  { name: 'through the broker', suites: ['pipe', 'bytes', 'memory'], compare: comparePipes },
  { name: 'request and reply', suites: ['latency'], compare: compareRequests },
  { name: 'sealing and opening', suites: ['seal'], compare: compareCosts },
]

/**
 * Compares the working tree with another commit, in interleaved rounds of one run, and prints each ratio with its
 * spread. Whatever it has started or written is gone when it resolves or throws.
 *
 * @throws Unprepared where the commit is unknown or cannot be built
 */
export async function compareAgainst(ref: string, options: Arguments, signal: AbortSignal): Promise<void> {
  const start = performance.now()
  const seconds = () => `${Math.round((performance.now() - start) / 1000)} s`
  const say = (text: string) => console.log(`${seconds().padStart(6)}  ${text}`)
  const folder = await mkdtemp(join(tmpdir(), 'subrosa-against-'))
  const removal = { recursive: true, force: true, maxRetries: 5 }
  const removeAtExit = () => rmSync(folder, removal)
  process.once('exit', removeAtExit)
  try {
    printMachine(await describeMachine(), options.quick)
    const loadBefore = load()
    const built = await prepare(ref, { folder, signal, say })
    console.log(`before: ${built.before.title}\nafter:  ${built.after.title}`)
    const findings = await measure(built, { ref, options, signal, say })
    const entries = findings.entries()
    printEntries(entries)
    for (const what of findings.skipped) console.log(`skipped: ${what}`)
    console.log(`\n${seconds()}, load ${loadBefore} before and ${load()} after`)
    if (options.json !== undefined) {
      const { before, after } = built
      const record = {
        at: new Date().toISOString(),
        before: before.title,
        after: after.title,
        quick: options.quick,
        ratios: entries,
        skipped: findings.skipped,
      }
      writeFileSync(options.json, `${JSON.stringify(record, undefined, 1)}\n`)
    }
  } finally {
    await rm(folder, removal)
    process.removeListener('exit', removeAtExit)
  }
}

interface Run {
  readonly ref: string
  readonly options: Arguments
  readonly signal: AbortSignal
  readonly say: (text: string) => void
}

async function measure(
  { before, after }: Pair<Built>,
  { ref, options, signal, say }: Run,
): Promise<Findings> {
  const plan = options.quick ? QUICK : WHOLE
  const findings = new Findings()
  const shared: Omit<Sitting, 'number'> = {
    checkouts: { before: await loaded(before, ref), after: await loadCheckout(after.folder) },
    folders: { before: before.folder, after: after.folder },
    plan,
    suites: options.suites,
    findings,
    counts: new Map(),
    signal,
  }
  for (let number = 0; number < plan.sittings; number++)
    for (const { name, suites, compare } of SECTIONS) {
      if (!suites.some((suite) => options.suites.includes(suite))) continue
      signal.throwIfAborted()
      say(`sitting ${number + 1} of ${plan.sittings}: ${name}`)
      await compare({ ...shared, number })
    }
  return findings
}

async function loaded({ folder }: Built, ref: string) {
  try {
    return await loadCheckout(folder)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new Unprepared(`${ref} cannot be compared with: ${reason}`)
  }
}
