import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { copyTree, removeCopy } from './copy.mjs'
import { objectionsTo, runTool } from './run.mjs'

const UNUSED_FILE = 'src/wire/nobody-imports-this.ts'
const UNUSED_EXPORT = 'nobodyUsesThis'

/**
 * Files, exports and dependencies that nothing uses: knip, on a copy in which an unused file and an unused export were
 * planted. Exactly those two must be found, so a knip that looks at nothing does not pass.
 *
 * @param {string} directory
 */
export function checkUnused(directory) {
  const copy = copyTree(directory)
  try {
    writeFileSync(join(copy, UNUSED_FILE), 'export const planted = true\n')
    appendFileSync(join(copy, 'src/base/bytes.ts'), `export const ${UNUSED_EXPORT} = 1\n`)
    const { stdout, output } = runTool(
      'knip/bin/knip.js',
      ['--no-progress', '--reporter', 'json', '--no-config-hints'],
      copy,
    )
    const found = parse(stdout)
    if (found === undefined) return objectionsTo([output || 'knip said nothing'], 'nothing')
    return objectionsTo(judge(found), 'a planted file and a planted export were found')
  } finally {
    removeCopy(copy)
  }
}

/**
 * @param {string} json
 * @returns {readonly string[] | undefined} one line for each thing that knip reports
 */
function parse(json) {
  try {
    const { issues } = JSON.parse(json)
    return issues.flatMap(linesOf)
  } catch {
    return undefined
  }
}

/**
 * @param {Record<string, unknown>} issue what knip says of one file: a list for each kind of issue
 * @returns {readonly string[]}
 */
function linesOf(issue) {
  return Object.entries(issue).flatMap(([kind, found]) =>
    Array.isArray(found)
      ? found.map((one) => `${issue['file']}: ${kind}: ${one.name ?? JSON.stringify(one)}`)
      : [],
  )
}

/** @param {readonly string[]} found */
function judge(found) {
  const isPlanted = (/** @type {string} */ line) =>
    line.startsWith(`${UNUSED_FILE}: files: `) || line === `src/base/bytes.ts: exports: ${UNUSED_EXPORT}`
  const objections = found.filter((line) => !isPlanted(line))
  const planted = found.length - objections.length
  if (planted !== 2) objections.push(`knip found ${planted} of the 2 unused things that were planted`)
  return objections
}
