import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * What the suite found: the checks of each scenario, without those that only tell what went over the wire.
 *
 * @typedef {'SUCCESS' | 'FAILURE' | 'WARNING'} Status
 * @typedef {{ readonly id: string, readonly status: Status, readonly error: string | undefined }} Check
 * @typedef {ReadonlyMap<string, readonly Check[]>} Results
 *
 * @typedef {{ readonly passed: number, readonly failed: number, readonly warnings: number }} Tally
 *
 * @typedef {{ readonly scenarios: readonly string[], readonly checks: number }} Expected
 */

/** A folder of the suite's: `server-NAME-2026-01-31T12-00-00-000Z`. */
const FOLDER_NAME = /^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$/

/**
 * Reads what the suite wrote with `--output-dir`.
 *
 * @param {string} folder
 * @returns {Results}
 */
export function readResults(folder) {
  return new Map(
    readdirSync(folder).map((name) => {
      const scenario = FOLDER_NAME.exec(name)?.[1]
      if (scenario === undefined) throw new Error(`the suite wrote a folder of another name: ${name}`)
      const checks = JSON.parse(readFileSync(join(folder, name, 'checks.json'), 'utf8'))
      if (!Array.isArray(checks)) throw new Error(`the suite wrote no list of checks for ${scenario}`)
      return [scenario, checks.flatMap(toCheck)]
    }),
  )
}

/**
 * @param {{ readonly id?: unknown, readonly status?: unknown, readonly errorMessage?: unknown }} check
 * @returns {readonly Check[]}
 */
function toCheck({ id, status, errorMessage }) {
  if (status === 'INFO') return []
  if (status !== 'SUCCESS' && status !== 'FAILURE' && status !== 'WARNING')
    throw new Error(`the suite wrote a check with another status: ${status}`)
  return [{ id: String(id), status, error: errorMessage === undefined ? undefined : String(errorMessage) }]
}

/**
 * @param {readonly Check[]} checks
 * @returns {Tally}
 */
export function tally(checks) {
  const count = (/** @type {Status} */ wanted) => checks.filter(({ status }) => status === wanted).length
  return { passed: count('SUCCESS'), failed: count('FAILURE'), warnings: count('WARNING') }
}

/**
 * What is wrong with a run: a scenario that did not run, a check that failed, or another number of checks than there is.
 *
 * @param {string} name
 * @param {Results} results
 * @param {Expected} expected
 * @returns {readonly string[]}
 */
export function objectionsTo(name, results, { scenarios, checks }) {
  const all = [...results.values()].flat()
  const { passed, failed } = tally(all)
  const objections = scenarios
    .filter((scenario) => !results.has(scenario))
    .map((scenario) => `${name}: ${scenario} did not run`)
  for (const [scenario, found] of results)
    for (const { id, status, error } of found)
      if (status === 'FAILURE') objections.push(`${name}: ${scenario}: ${id}: ${error ?? 'failed'}`)
  if (passed + failed !== checks)
    objections.push(`${name}: ${passed + failed} checks, and the suite has ${checks}`)
  return objections
}

/**
 * Each scenario in which two runs differ.
 *
 * @param {{ readonly name: string, readonly results: Results }} one
 * @param {{ readonly name: string, readonly results: Results }} other
 * @returns {readonly string[]}
 */
export function differences(one, other) {
  const scenarios = [...new Set([...one.results.keys(), ...other.results.keys()])]
  return scenarios.flatMap((scenario) => {
    const [a, b] = [one, other].map(({ results }) => describe(results.get(scenario)))
    return a === b ? [] : [`${scenario}: ${one.name} ${a}; ${other.name} ${b}`]
  })
}

/** @param {readonly Check[] | undefined} checks */
function describe(checks) {
  if (checks === undefined) return 'did not run'
  return checks.map(({ id, status }) => `${id} ${status}`).join(', ') || 'has no check'
}
