import { LIST, type Row, readList, SEEN } from './list.ts'
import { type Outcome, runRows } from './run-rows.ts'
import { Seen } from './seen.ts'
import { shuffled } from './shuffled.ts'

/** Wall time of a run for CI. */
const CI_LIMIT_MS = 20 * 60_000

/** Rows that a run for CI takes at random from those that have not changed. */
const CI_SAMPLE = 10

/** Which rows to run; the changed ones where nothing is said. */
export type Choice = {
  readonly all?: boolean
  /** Rows in which this text occurs, in small letters or capitals. */
  readonly row?: string | undefined
  readonly ci?: boolean
  /** Of the random choice for CI. */
  readonly seed: number
  /** Wall time of a run for CI, instead of 20 minutes. */
  readonly ciLimitMs?: number
}

/**
 * Runs the chosen rows, prints what comes of each, and writes down which were seen, but for CI.
 *
 * @param root the repository
 * @param print takes each line
 * @returns whether every row that had to be run was run and shown
 * @throws Error when the list cannot be read, or nothing of it is chosen by a text
 */
export async function runCommand(
  root: string,
  choice: Choice,
  print: (line: string) => void = console.log,
): Promise<boolean> {
  const { rows, threats } = readList(root)
  const seen = Seen.read(root, rows)
  const due = rows.filter((row) => !seen.isCurrent(row))
  const words = (row: Row) => {
    const threat = threats.find(({ id }) => id === row.threat)
    return [row.row, row.file, row.test, row.name, row.area, ...Object.values(threat ?? {})].join('\n')
  }
  const chosen = choose()
  const deadline = choice.ci
    ? performance.now() + (choice.ciLimitMs ?? CI_LIMIT_MS)
    : Number.POSITIVE_INFINITY
  const outcomes: Outcome[] = []
  await runRows(root, chosen, take, { deadline })
  return summarise()

  function take(outcome: Outcome): void {
    outcomes.push(outcome)
    print(lineOf(outcome))
    if (outcome.objection === undefined) seen.note(outcome.row)
    else seen.forget(outcome.row)
    if (!choice.ci) seen.write()
  }

  function choose(): readonly Row[] {
    if (choice.all) return rows
    if (choice.row !== undefined) {
      const text = choice.row.toLowerCase()
      const found = rows.filter((row) => words(row).toLowerCase().includes(text))
      if (found.length === 0) throw new Error(`no row of ${LIST} has the text "${choice.row}"`)
      return found
    }
    print(`${due.length} of ${rows.length} rows are new or have changed`)
    if (!choice.ci) return due
    print(`and ${CI_SAMPLE} at random, --seed ${choice.seed}`)
    const others = rows.filter((row) => !due.includes(row))
    return [...due, ...shuffled(others, choice.seed).slice(0, CI_SAMPLE)]
  }

  function summarise(): boolean {
    const failed = outcomes.filter(({ objection }) => objection !== undefined)
    const late = chosen.filter((row) => !outcomes.some((outcome) => outcome.row === row))
    const lateAndDue = late.filter((row) => due.includes(row))
    print('')
    if (late.length > 0)
      print(`${late.length} rows did not fit into the time, ${lateAndDue.length} of them changed`)
    if (lateAndDue.length > 0) print(`run npm run defences, and commit ${LIST}/${SEEN}`)
    print(`defences: ${outcomes.length - failed.length} of ${outcomes.length} shown`)
    return failed.length === 0 && lateAndDue.length === 0
  }
}

function lineOf({ row, objection, tookMs }: Outcome): string {
  const what = `${row.area.replace(/\.json$/, '')}: ${row.row} (${(tookMs / 1000).toFixed(1)} s)`
  if (objection === undefined) return `shown     ${what}`
  return `NOT SHOWN ${what}\n          ${row.file}; ${row.test}: ${row.name}\n          ${objection}`
}
