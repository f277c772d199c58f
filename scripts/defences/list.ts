import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseRow, parseThreat } from './parse.ts'

/** Folder of the list, below the root of the repository. */
export const LIST = 'test/defences'

/** File of the threats in {@link LIST}, in the order of the table in SECURITY.md. */
const THREATS = 'threats.json'

/** File in {@link LIST} that the command writes. */
export const SEEN = 'seen.json'

/** One defence: the text of the source that is taken out, and the test that fails without it. */
export type Row = {
  /** The `id` of the threat that it answers; a row without one stands in the table's last part. */
  readonly threat: string | undefined
  /** The defence in words. */
  readonly row: string
  /** Source file, below the root. */
  readonly file: string
  /** Text that occurs exactly once in `file`. */
  readonly takeOut: string
  /** What replaces it; it compiles. */
  readonly putIn: string
  /** Test file, below the root. */
  readonly test: string
  /** Full name of the test: the titles of its `describe` blocks and its own, joined by spaces. */
  readonly name: string
  /** File of the list that holds the row. */
  readonly area: string
}

/** One row of the threat table of SECURITY.md. */
export type Threat = {
  readonly id: string
  readonly attacker: string
  readonly attack: string
  /** What happens instead. */
  readonly answer: string
  /** Why no test shows it, where it cannot be shown by taking text out. */
  readonly argued: string | undefined
}

/** What {@link LIST} holds. */
export type DefenceList = { readonly threats: readonly Threat[]; readonly rows: readonly Row[] }

/**
 * Reads the list.
 *
 * @param root the repository
 * @throws Error that names the file and what is wrong in it
 */
export function readList(root: string): DefenceList {
  const files = readdirSync(join(root, LIST))
    .filter((name) => name.endsWith('.json') && name !== SEEN && name !== THREATS)
    .sort()
  const threats = readArray(root, THREATS).map((value, i) => parseThreat(value, `${THREATS}, entry ${i + 1}`))
  const rows = files.flatMap((area) =>
    readArray(root, area).map((value, i) => ({ ...parseRow(value, `${area}, entry ${i + 1}`), area })),
  )
  return { threats, rows }
}

/**
 * What is wrong with the list as it stands, without running a test: an anchor that does not occur exactly once, a test
 * file that does not exist, a threat that nothing shows, a row that names no threat of the table.
 *
 * @param root the repository
 * @returns one sentence for each
 */
export function objectionsToList(root: string, { threats, rows }: DefenceList): readonly string[] {
  const ids = threats.map(({ id }) => id)
  const same = (row: Row) => JSON.stringify([row.file, row.takeOut, row.putIn, row.test, row.name])
  return [
    ...repeated(ids).map((id) => `${THREATS}: the id ${id} occurs more than once`),
    ...repeated(rows.map(same)).map((row) => `one row occurs more than once: ${row}`),
    ...rows.flatMap((row) => {
      const objection = objectionToRow(root, row)
      return [
        ...(objection === undefined ? [] : [`${row.area}: ${row.row}: ${objection}`]),
        ...(row.threat === undefined || ids.includes(row.threat)
          ? []
          : [`${row.area}: ${row.row}: ${THREATS} has no threat ${row.threat}`]),
      ]
    }),
    ...threats
      .filter(({ id, argued }) => argued === undefined && !rows.some(({ threat }) => threat === id))
      .map(({ id }) => `${THREATS}: nothing shows ${id}; add a row, or say in "argued" why there is none`),
  ]
}

/**
 * Why the text of a row cannot be taken out, or its test not be run; `undefined` where they can.
 *
 * @param root the repository or a copy of it
 */
export function objectionToRow(root: string, { file, takeOut, putIn, test }: Row): string | undefined {
  if (!existsSync(join(root, test))) return `${test} does not exist`
  if (!existsSync(join(root, file))) return `${file} does not exist`
  const count = readFileSync(join(root, file), 'utf8').split(takeOut).length - 1
  if (count !== 1) return `the text to take out occurs ${count} times in ${file}; it must occur exactly once`
  return putIn === takeOut ? 'the replacement is the text that it replaces' : undefined
}

function readArray(root: string, name: string): readonly unknown[] {
  const path = `${LIST}/${name}`
  let value: unknown
  try {
    value = JSON.parse(readFileSync(join(root, path), 'utf8'))
  } catch (cause) {
    throw new Error(`${path} cannot be read as JSON: ${cause instanceof Error ? cause.message : cause}`)
  }
  if (!Array.isArray(value)) throw new Error(`${path} is not an array`)
  return value
}

function repeated(values: readonly string[]): readonly string[] {
  return [...new Set(values.filter((value, i) => values.indexOf(value) !== i))]
}
