import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * What a check found: whether all is well, what it looked at, and what the tool said.
 *
 * @typedef {{ readonly ok: boolean, readonly seen: string, readonly output: string }} Result
 * @typedef {{
 *   readonly name: string, readonly what: string, readonly needsBuild?: boolean,
 *   readonly run: (directory: string) => Result | Promise<Result>,
 * }} Check
 */

/** The repository that this file stands in. Its node_modules has the tools. */
export const repository = fileURLToPath(new URL('../..', import.meta.url))

/**
 * Runs a tool of node_modules in a directory, without a terminal and without colours.
 *
 * @param {string} script its JavaScript file, below node_modules
 * @param {readonly string[]} args
 * @param {string} directory
 */
export function runTool(script, args, directory) {
  return run(process.execPath, [join(repository, 'node_modules', script), ...args], directory)
}

/**
 * Runs a program to its end.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} directory
 */
export function run(program, args, directory) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: directory,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, CI: '1' },
  })
  if (error !== undefined) throw error
  return { status: status ?? 1, stdout, stderr, output: `${stdout}${stderr}`.trim() }
}

/**
 * The files below a directory, as paths relative to `root` with forward slashes, in order.
 *
 * @param {string} root
 * @param {string} below
 * @param {(name: string) => boolean} wanted
 * @returns {readonly string[]}
 */
export function filesBelow(root, below, wanted) {
  return entriesOf(join(root, below))
    .flatMap((entry) => {
      const path = below === '' ? entry.name : `${below}/${entry.name}`
      if (entry.isDirectory()) return filesBelow(root, path, wanted)
      return entry.isFile() && wanted(entry.name) ? [path] : []
    })
    .sort()
}

/** @param {string} directory */
function entriesOf(directory) {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch {
    return []
  }
}

/**
 * A result of a check whose every objection is one line.
 *
 * @param {readonly string[]} objections
 * @param {string} seen
 * @returns {Result}
 */
export function objectionsTo(objections, seen) {
  return { ok: objections.length === 0, seen, output: objections.join('\n') }
}

/**
 * What a check says of a directory. A check that cannot run has failed.
 *
 * @param {Check} check
 * @param {string} directory
 * @returns {Promise<Result>}
 */
export async function outcome(check, directory) {
  try {
    return await check.run(directory)
  } catch (error) {
    return {
      ok: false,
      seen: 'it could not run',
      output: error instanceof Error ? error.message : String(error),
    }
  }
}
