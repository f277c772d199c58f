import { availableParallelism } from 'node:os'
import { objectionToRow, type Row } from './list.ts'
import { Scratch } from './scratch.ts'
import { needsBuild } from './test-files.ts'
import { objectionAfter, objectionBefore } from './verdict.ts'
import { runTests } from './vitest-run.ts'

/** Bound of one run of vitest: a defence that is taken out can make a test hang. */
const RUN_LIMIT_MS = 180_000

/** What came of a row. */
export type Outcome = {
  readonly row: Row
  /** Why the row is not shown; `undefined` where its test passed with the defence and failed without it. */
  readonly objection: string | undefined
  readonly tookMs: number
}

/**
 * Takes each defence out in a copy of the repository and runs its test with it and without it. Rows of one test file
 * come one after the other and share the run with every defence in place; as many files are at work as there are cores,
 * each in a copy of its own.
 *
 * @param root the repository
 * @param onOutcome takes what came of each row, as it comes
 * @param options.deadline when no further run begins, on the clock of `performance.now`
 */
export async function runRows(
  root: string,
  rows: readonly Row[],
  onOutcome: (outcome: Outcome) => void,
  { deadline = Number.POSITIVE_INFINITY }: { readonly deadline?: number } = {},
): Promise<void> {
  const left = () => Math.min(RUN_LIMIT_MS, deadline - performance.now())
  const waiting = groups(rows)
  const lanes = Math.min(availableParallelism(), waiting.length)
  await Promise.all(Array.from({ length: lanes }, runLane))

  async function runLane(): Promise<void> {
    const scratch = new Scratch(root)
    const remove = (): void => scratch.remove()
    process.once('exit', remove)
    try {
      for (let group = waiting.shift(); group !== undefined && left() > 0; group = waiting.shift())
        for await (const outcome of runGroup(scratch, group, left)) onOutcome(outcome)
    } finally {
      process.off('exit', remove)
      remove()
    }
  }
}

async function* runGroup(
  scratch: Scratch,
  rows: readonly [Row, ...Row[]],
  left: () => number,
): AsyncGenerator<Outcome> {
  const { folder } = scratch
  const [{ test }] = rows
  const anchored = rows.filter((row) => objectionToRow(folder, row) === undefined)
  for (const row of rows) {
    const objection = objectionToRow(folder, row)
    if (objection !== undefined) yield { row, objection, tookMs: 0 }
  }
  if (anchored.length === 0) return
  const began = performance.now()
  if (needsBuild(folder, test)) scratch.build()
  const names = [...new Set(anchored.map(({ name }) => name))]
  const before = await runTests(folder, { test, names, limitMs: left() })
  const shareMs = (performance.now() - began) / anchored.length
  for (const row of anchored) {
    const limitMs = left()
    if (limitMs <= 0) return
    const from = performance.now()
    const objection = objectionBefore(before, row) ?? (await withoutDefence(scratch, row, limitMs))
    // What the deadline has cut off says nothing of the row.
    if (objection !== undefined && left() <= 0) return
    yield { row, objection, tookMs: performance.now() - from + shareMs }
  }
}

async function withoutDefence(scratch: Scratch, row: Row, limitMs: number): Promise<string | undefined> {
  const { folder } = scratch
  const { test, name } = row
  let restore: () => void
  try {
    restore = scratch.takeOut(row)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  try {
    const after = await runTests(folder, { test, names: [name], limitMs })
    return objectionAfter(after, { name, test, folder })
  } finally {
    restore()
  }
}

/** Rows that share a test file, in the order in which these first come. */
function groups(rows: readonly Row[]): [Row, ...Row[]][] {
  const byTest = new Map<string, [Row, ...Row[]]>()
  for (const row of rows) {
    const group = byTest.get(row.test)
    if (group === undefined) byTest.set(row.test, [row])
    else group.push(row)
  }
  return [...byTest.values()]
}
