import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Arguments } from '../arguments.ts'
import { writeCharts } from '../lib/figures.mjs'
import { installPeers } from '../lib/install.mjs'
import { describeMachine, load, printMachine } from '../lib/machine.mjs'
import type { Plan } from '../lib/plan.ts'
import { printTargets, targetsOf } from '../lib/targets.mjs'
import { bytesSuite } from './bytes.mjs'
import { floodSuite } from './flood.ts'
import { freshnessSuite } from './freshness.ts'
import { latencySuite } from './latency.mjs'
import { mcpSuite } from './mcp.mjs'
import { memorySuite } from './memory.mjs'
import { pipeSuite } from './pipe.mjs'
import { scaleSuite } from './scale.mjs'
import { sealSuite } from './seal.mjs'

const SUITES: Readonly<Record<string, (plan: Plan) => Promise<unknown>>> = {
  pipe: pipeSuite,
  latency: latencySuite,
  mcp: mcpSuite,
  seal: sealSuite,
  scale: scaleSuite,
  bytes: bytesSuite,
  memory: memorySuite,
  flood: floodSuite,
  freshness: freshnessSuite,
}

/** The names of all suites. */
export const MEASURED = Object.keys(SUITES)

/** How a suite ran. */
interface Ran {
  readonly seconds: number
  readonly loadBefore: number
  readonly loadAfter: number
}

/** Runs the suites that were asked for, prints what was reached, and writes the record and the charts. */
export async function measureSuites({ suites, quick, profile, json, charts }: Arguments): Promise<void> {
  if (suites.includes('seal')) installPeers()
  const machine = await describeMachine()
  const loadAtStart = load()
  const versions = (packages: Readonly<Record<string, string>>) =>
    Object.entries(packages)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')
  printMachine(machine, quick)
  console.log(versions(machine.packages))
  console.log(`peers: ${versions(machine.peers)}`)

  const start = performance.now()
  const results: Record<string, unknown> = {}
  const ran: Record<string, Ran> = {}
  for (const [name, suite] of Object.entries(SUITES)) {
    if (!suites.includes(name)) continue
    const began = performance.now()
    const loadBefore = load()
    results[name] = await suite({ quick, profile })
    ran[name] = { seconds: Math.round((performance.now() - began) / 1000), loadBefore, loadAfter: load() }
  }
  const targets = targetsOf(results)
  printTargets(targets)
  const seconds = Math.round((performance.now() - start) / 1000)
  console.log(`\n${seconds} s, load ${loadAtStart} before and ${load()} after`)

  if (json !== undefined) {
    const at = new Date().toISOString()
    const record = { at, machine, quick, seconds, suites: ran, targets, results }
    writeFileSync(json, `${JSON.stringify(record, plain, 1)}\n`)
  }
  // The charts that are kept are those of a whole run.
  const folder = charts ?? (quick ? undefined : fileURLToPath(new URL('../charts', import.meta.url)))
  if (folder !== undefined) console.log(`${writeCharts(results, folder).length} charts in ${folder}`)
}

/** JSON knows no NaN and no infinity. */
function plain(_name: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? null : value
}
