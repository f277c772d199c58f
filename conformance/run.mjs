import { parseArgs } from 'node:util'
import { REFERENCE_SERVERS, runInspector } from './inspector.mjs'
import { findNode22, install } from './lib/install.mjs'
import { World } from './lib/world.mjs'
import { FIXTURE, runSuite } from './suite.mjs'

/**
 * `npm run conformance`: the official tools of MCP against the same servers directly and through the bridge.
 *
 *   node conformance/run.mjs                    both parts
 *   node conformance/run.mjs --only suite       the conformance suite
 *   node conformance/run.mjs --only inspector   the Inspector
 */

const PARTS = {
  suite: { servers: [FIXTURE.name], run: runSuite },
  inspector: { servers: REFERENCE_SERVERS, run: runInspector },
}
const INTERRUPTED = 130

const { only } = parseArgs({ options: { only: { type: 'string' } } }).values
const parts = Object.entries(PARTS).filter(([name]) => only === undefined || only === name)
if (parts.length === 0) {
  console.error(`conformance: error: there is no part ${only}; there are ${Object.keys(PARTS).join(', ')}`)
  process.exit(2)
}

const world = new World()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => void interrupt())
try {
  install()
  const node = findNode22()
  console.log(`Node ${process.versions.node} for what is ours, Node ${node.version} for what needs it`)
  await world.start(parts.flatMap(([, { servers }]) => servers))
  const objections = []
  for (const [, { run }] of parts) objections.push(...(await run(world, node.path)))
  if (objections.length > 0) fail(objections)
  else console.log('\nconformance: everything held')
} catch (error) {
  // What is ended on request fails in many ways, of which none says anything.
  if (!world.isStopping) fail([error instanceof Error ? error.message : 'unknown'])
} finally {
  await world.stop()
}

/** @param {readonly string[]} objections */
function fail(objections) {
  for (const objection of objections) console.error(`conformance: error: ${objection}`)
  process.exitCode = 1
}

async function interrupt() {
  process.exitCode = INTERRUPTED
  await world.stop()
}
