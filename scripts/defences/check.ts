import { objectionsToList, readList } from './list.ts'
import { objectionToTable } from './table.ts'

/**
 * Prints what is wrong with the list and with the table of SECURITY.md, one line each, or what there is.
 *
 * @param root the repository
 * @param print takes each line
 * @returns whether nothing is wrong
 */
export function checkDefences(root: string, print: (line: string) => void = console.log): boolean {
  const list = readList(root)
  const table = objectionToTable(root, list)
  const objections = [...objectionsToList(root, list), ...(table === undefined ? [] : [table])]
  for (const objection of objections) print(objection)
  if (objections.length === 0) print(`${list.threats.length} threats, ${list.rows.length} defences`)
  return objections.length === 0
}
