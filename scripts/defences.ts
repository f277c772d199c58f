import { randomInt } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { checkDefences } from './defences/check.ts'
import { readList } from './defences/list.ts'
import { writeTable } from './defences/table.ts'

/**
 * Shows that each defence of the list in test/defences is what makes its test pass: `npm run defences`.
 *
 *   npm run defences                    the rows of which the source or the test has changed since they were last seen
 *   npm run defences -- --all           all rows
 *   npm run defences -- --row TEXT      the rows in which the text occurs: words, file, test or threat
 *   npm run defences -- --ci [--seed N] the changed ones and ten at random, within 20 minutes; notes nothing
 *   npm run defences -- --table         writes the threat table of SECURITY.md
 *   npm run defences -- --check         what is wrong with the list and the table, without running a test
 */

const ROOT = fileURLToPath(new URL('..', import.meta.url))

const options = {
  all: { type: 'boolean', default: false },
  row: { type: 'string' },
  ci: { type: 'boolean', default: false },
  seed: { type: 'string' },
  table: { type: 'boolean', default: false },
  check: { type: 'boolean', default: false },
} as const

// Else the copy and what runs in it would stay.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))

try {
  const { values } = parseArgs({ options })
  if (values.table) writeTable(ROOT, readList(ROOT))
  if (values.table || values.check) process.exitCode = checkDefences(ROOT) ? 0 : 1
  else {
    const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed)
    // It brings the compiler, which takes longer to load than the list to check.
    const { runCommand } = await import('./defences/command.ts')
    const isShown = await runCommand(ROOT, { ...values, seed })
    process.exitCode = isShown ? 0 : 1
  }
} catch (error) {
  console.error(`defences: error: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 2
}
