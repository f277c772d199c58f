import { checkBrowser } from './checks/browser.mjs'
import { copyTree, removeCopy } from './checks/copy.mjs'
import { checkDocs } from './checks/docs.mjs'
import { checkExamples } from './checks/examples.mjs'
import { checkLockfile } from './checks/lockfile.mjs'
import { checkBuild, checkPackage, checkPackageTypes } from './checks/package.mjs'
import { checkRooms } from './checks/rooms.mjs'
import { outcome, repository } from './checks/run.mjs'
import { checkSecurity } from './checks/security.mjs'
import { checkStyle } from './checks/style.mjs'
import { checkText } from './checks/text.mjs'
import { checkTypes } from './checks/types.mjs'
import { checkUnused } from './checks/unused.mjs'
import { selfTest } from './self-test.mjs'

/**
 * Everything but the tests: `npm run verify`. It works on a copy of the tree, so that it sees what is in the
 * repository and nothing else, and disturbs nobody's dist.
 *
 *   node scripts/verify.mjs                    all checks
 *   node scripts/verify.mjs rooms text         these checks; `build` runs first where one needs it
 *   node scripts/verify.mjs --self-test [...]  breaks the copy in every way that a check must see
 */

const build = { name: 'build', what: 'build and pack (tsc, npm)', run: checkBuild }

/**
 * In the order in which they run: what needs dist comes after `build`.
 *
 * @type {readonly import('./checks/run.mjs').Check[]}
 */
const checks = [
  { name: 'rooms', what: 'who imports whom (dependency-cruiser)', run: checkRooms },
  { name: 'style', what: 'format and lint (biome)', run: checkStyle },
  { name: 'text', what: 'secrets and paths of one machine', run: checkText },
  { name: 'security', what: 'the list of defences, and the threat table', run: checkSecurity },
  { name: 'lockfile', what: 'lockfile and install scripts', run: checkLockfile },
  { name: 'examples', what: 'the examples, and what README shows of them', run: checkExamples },
  { name: 'docs', what: 'API pages and their examples (typedoc, tsc)', run: checkDocs },
  { name: 'unused', what: 'unused files, exports, dependencies (knip)', run: checkUnused },
  build,
  { name: 'types', what: 'types (tsc)', run: checkTypes, needsBuild: true },
  { name: 'package', what: 'the packed package (publint)', run: checkPackage, needsBuild: true },
  {
    name: 'package-types',
    what: 'its types (are the types wrong)',
    run: checkPackageTypes,
    needsBuild: true,
  },
  { name: 'browser', what: 'no Node module reaches a browser', run: checkBrowser, needsBuild: true },
]

const args = process.argv.slice(2)
const wanted = args.filter((arg) => !arg.startsWith('--'))
const unknown = wanted.filter((name) => !checks.some((check) => check.name === name))
if (unknown.length > 0 || args.some((arg) => arg.startsWith('--') && arg !== '--self-test')) {
  console.error(
    `verify: error: there is no check of that name; there are ${checks.map(({ name }) => name).join(', ')}`,
  )
  process.exit(2)
}
const chosen = checks.filter(({ name }) => wanted.length === 0 || wanted.includes(name))
process.exitCode = (args.includes('--self-test') ? await selfTest(chosen, build) : await verify()) ? 0 : 1

/** Runs the chosen checks and says what came of it. */
async function verify() {
  const copy = copyTree(repository)
  try {
    const failed = []
    for (const check of withBuild()) {
      const { ok, seen, output } = await outcome(check, copy)
      console.log(`${ok ? 'ok  ' : 'FAIL'} ${check.name.padEnd(14)} ${check.what}: ${seen}`)
      if (!ok) console.log(`\n${output.replaceAll(`${copy}/`, '')}\n`.replaceAll('\n', '\n     '))
      if (!ok) failed.push(check.name)
    }
    const total = withBuild().length
    console.log(`\nverify: ${total - failed.length} of ${total} checks passed`)
    if (failed.length > 0) console.log(`verify: failed: ${failed.join(', ')}`)
    return failed.length === 0 && total > 0
  } finally {
    removeCopy(copy)
  }
}

/** The chosen checks, with `build` among them where one of them needs it. */
function withBuild() {
  const needsBuild = chosen.some((check) => check.needsBuild)
  return checks.filter((check) => chosen.includes(check) || (needsBuild && check === build))
}
