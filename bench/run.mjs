import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeCharts } from './lib/figures.mjs'
import { installPeers } from './lib/install.mjs'
import { describeMachine, load } from './lib/machine.mjs'
import { printTargets, targetsOf } from './lib/targets.mjs'
import { bytesSuite } from './suites/bytes.mjs'
import { latencySuite } from './suites/latency.mjs'
import { mcpSuite } from './suites/mcp.mjs'
import { memorySuite } from './suites/memory.mjs'
import { pipeSuite } from './suites/pipe.mjs'
import { scaleSuite } from './suites/scale.mjs'
import { sealSuite } from './suites/seal.mjs'

/** `npm run bench`: what encryption costs. bench/README.md says what is measured and how to read it. */

const SUITES = {
  pipe: pipeSuite,
  latency: latencySuite,
  mcp: mcpSuite,
  seal: sealSuite,
  scale: scaleSuite,
  bytes: bytesSuite,
  memory: memorySuite,
}
const BUSY_SHARE = 0.5

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    json: { type: 'string' },
    charts: { type: 'string' },
    profile: { type: 'string' },
  },
})
const wanted = options.only?.split(',') ?? Object.keys(SUITES)
const unknown = wanted.filter((name) => !Object.hasOwn(SUITES, name))
if (unknown.length > 0) {
  console.error(
    `bench: error: there is no suite ${unknown.join(', ')}; there are ${Object.keys(SUITES).join(', ')}`,
  )
  process.exit(2)
}

if (wanted.includes('seal')) installPeers()
const machine = await describeMachine()
const loadAtStart = load()
const versions = (/** @type {Record<string, string>} */ packages) =>
  Object.entries(packages)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')
console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.platform}`)
console.log(
  `Node ${machine.node} (OpenSSL ${machine.openssl}), ${machine.natsServer}, subrosa ${machine.subrosa} on ${machine.engine}`,
)
console.log(versions(machine.packages))
console.log(`peers: ${versions(machine.peers)}`)
console.log(`load ${loadAtStart}${options.quick ? '; quick: shorter and noisier' : ''}`)
if (loadAtStart > machine.cores * BUSY_SHARE)
  console.log('the machine is busy: figures will be worse, and spread wider')

const start = performance.now()
/** @type {Record<string, unknown>} */
const measured = {}
/** @type {Record<string, { seconds: number, loadBefore: number, loadAfter: number }>} */
const ran = {}
for (const [name, suite] of Object.entries(SUITES)) {
  if (!wanted.includes(name)) continue
  const began = performance.now()
  const loadBefore = load()
  measured[name] = await suite({ quick: options.quick, profile: options.profile })
  ran[name] = { seconds: Math.round((performance.now() - began) / 1000), loadBefore, loadAfter: load() }
}
const results = /** @type {import('./lib/results.mjs').Results} */ (measured)
const targets = targetsOf(results)
printTargets(targets)
const seconds = Math.round((performance.now() - start) / 1000)
console.log(`\n${seconds} s, load ${loadAtStart} before and ${load()} after`)

if (options.json !== undefined) {
  const { quick } = options
  const record = { at: new Date().toISOString(), machine, quick, seconds, suites: ran, targets, results }
  writeFileSync(options.json, `${JSON.stringify(record, plain, 1)}\n`)
}
// The charts that are kept are those of a whole run.
const charts =
  options.charts ?? (options.quick ? undefined : fileURLToPath(new URL('charts', import.meta.url)))
if (charts !== undefined) console.log(`${writeCharts(results, charts).length} charts in ${charts}`)

/**
 * JSON knows no NaN, and no arrays of numbers that are none.
 *
 * @param {string} _name
 * @param {unknown} value
 */
function plain(_name, value) {
  return typeof value === 'number' && !Number.isFinite(value) ? null : value
}
