import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { installedPath, installedVersion } from './lib/install.mjs'
import { differences, objectionsTo, readResults, tally } from './lib/results.mjs'

/** @typedef {import('./lib/world.mjs').World} World */

const PACKAGE = '@modelcontextprotocol/conformance'
const PROGRAM = installedPath(`${PACKAGE}/dist/index.js`)
/** How many checks pass or fail in a complete run, by the version of the suite. */
const CHECKS = new Map([['0.1.16', 44]])
const TIMEOUT_MS = 300_000

/** The MCP server that has what the scenarios name. */
export const FIXTURE = {
  name: 'fixture',
  command: [process.execPath, fileURLToPath(new URL('fixture-server.mjs', import.meta.url))],
}

/**
 * The conformance suite against the fixture server: directly, and through the bridge. Prints what came of it.
 *
 * @param {World} world
 * @param {string} node a Node that the suite runs on
 * @returns {Promise<readonly string[]>} what is wrong
 */
export async function runSuite(world, node) {
  const version = installedVersion(PACKAGE)
  const checks = CHECKS.get(version)
  if (checks === undefined) return [`nobody has counted the checks of version ${version} of the suite`]
  const expected = { scenarios: await scenarios(world, node), checks }
  console.log(`\nconformance suite ${version}, ${expected.scenarios.length} scenarios\n`)

  await world.serve(FIXTURE)
  const urls = {
    directly: await world.listen('fixture-http', (port) => [...FIXTURE.command, '--http', String(port)]),
    bridged: await world.connectHttp(FIXTURE.name),
  }
  const runs = []
  for (const [name, url] of Object.entries(urls)) runs.push({ name, results: await runOnce(name, url) })

  for (const { name, results } of runs) {
    const { passed, failed, warnings } = tally([...results.values()].flat())
    console.log(`${name.padEnd(10)} ${passed} passed, ${failed} failed, ${warnings} warnings`)
  }
  const [direct, bridged] = runs
  return [
    ...runs.flatMap(({ name, results }) => objectionsTo(name, results, expected)),
    ...(direct === undefined || bridged === undefined ? ['it did not run'] : differences(direct, bridged)),
  ]

  /**
   * @param {string} name
   * @param {string} url
   */
  async function runOnce(name, url) {
    const folder = join(world.folder, `results-${name}`)
    mkdirSync(folder)
    const command = [node, PROGRAM, 'server', '--url', url, '--suite', 'all', '--output-dir', folder]
    // It ends with 1 when a check fails: the results say which.
    await world.processes.run({ name: `suite-${name}`, command, env: world.env, timeoutMs: TIMEOUT_MS })
    return readResults(folder)
  }
}

/**
 * The scenarios that the suite has for servers.
 *
 * @param {World} world
 * @param {string} node
 */
async function scenarios(world, node) {
  const out = join(world.folder, 'scenarios.txt')
  const command = [node, PROGRAM, 'list', '--server']
  const { code } = await world.processes.run({
    name: 'suite-list',
    command,
    env: world.env,
    out,
    timeoutMs: TIMEOUT_MS,
  })
  const names = [...readFileSync(out, 'utf8').matchAll(/^ {2}- (\S+)/gm)].map(([, name = '']) => name)
  if (code !== 0 || names.length === 0) throw new Error('the suite does not list its scenarios')
  return names
}
