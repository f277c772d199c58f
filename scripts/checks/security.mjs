import { objectionsTo, runTool } from './run.mjs'

const MIN_THREATS = 60
const MIN_DEFENCES = 80

/**
 * The list of defences: each text to take out occurs once, each test file exists, every threat is shown by a row, and
 * the table in SECURITY.md is the one of the list. Whether the tests fail without their defences is for
 * `npm run defences`.
 *
 * @param {string} directory
 */
export function checkSecurity(directory) {
  const { status, output } = runTool('tsx/dist/cli.mjs', ['scripts/defences.ts', '--check'], directory)
  if (status !== 0) return objectionsTo([output || `defences ended with ${status}`], 'nothing')
  const [seen, threats, defences] = /^(\d+) threats, (\d+) defences$/.exec(output) ?? []
  const objections = []
  if (Number(threats ?? 0) < MIN_THREATS)
    objections.push(`${threats ?? 0} threats were read; fewer than ${MIN_THREATS} cannot be right`)
  if (Number(defences ?? 0) < MIN_DEFENCES)
    objections.push(`${defences ?? 0} defences were read; fewer than ${MIN_DEFENCES} cannot be right`)
  return objectionsTo(objections, seen ?? 'nothing')
}
