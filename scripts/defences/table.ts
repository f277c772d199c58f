import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DefenceList, Row, Threat } from './list.ts'

/** The document that holds the table. */
const DOCUMENT = 'SECURITY.md'

/** Lines between which the table stands there. */
const BEGIN = '<!-- The threats, from test/defences: npm run defences -- --table -->\n'
const END = '\n<!-- End of the threats. -->'

/** The threat table as Markdown: one table for each attacker, and one of the defences that answer no threat of it. */
function threatTable({ threats, rows }: DefenceList): string {
  const attackers = [...new Set(threats.map(({ attacker }) => attacker))]
  const parts = attackers.map((attacker) => {
    const own = threats.filter((threat) => threat.attacker === attacker)
    return section(
      attacker,
      ['Attack', 'What happens', 'Shown by'],
      own.map(({ id, attack, answer, argued }) => [
        attack,
        answer,
        shownBy(
          rows.filter(({ threat }) => threat === id),
          argued,
        ),
      ]),
    )
  })
  const others = rows.filter(({ threat }) => threat === undefined)
  const further = [...new Set(others.map(({ row }) => row))].map((words) => [
    words,
    shownBy(
      others.filter(({ row }) => row === words),
      undefined,
    ),
  ])
  if (further.length > 0) parts.push(section('Further defences', ['Defence', 'Shown by'], further))
  return parts.join('')
}

/**
 * Writes the table into SECURITY.md.
 *
 * @param root the repository
 * @throws Error when the lines that mark its place are not there
 */
export function writeTable(root: string, list: DefenceList): void {
  const { before, after } = parts(root)
  writeFileSync(join(root, DOCUMENT), `${before}${threatTable(list)}${after}`)
}

/**
 * Why the table in SECURITY.md is not the one of the list, or `undefined`.
 *
 * @param root the repository
 * @throws Error when the lines that mark its place are not there
 */
export function objectionToTable(root: string, list: DefenceList): string | undefined {
  const { table } = parts(root)
  const expected = threatTable(list)
  if (table === expected) return undefined
  const written = table.split('\n')
  const wanted = expected.split('\n')
  const at = written.findIndex((text, i) => text !== wanted[i])
  return `${DOCUMENT}: the table is not what the list says (npm run defences -- --table writes it); the first line that differs: ${written[at] ?? wanted[written.length]}`
}

/** What stands before the table in SECURITY.md, the table, and what stands behind it. */
function parts(root: string) {
  const text = readFileSync(join(root, DOCUMENT), 'utf8')
  const [before, rest, ...more] = text.split(BEGIN)
  const [table, after, ...others] = (rest ?? '').split(END)
  if (before === undefined || table === undefined || after === undefined || more.length + others.length > 0)
    throw new Error(`${DOCUMENT} does not have, once each, the lines ${BEGIN.trim()} and ${END.trim()}`)
  return { before: `${before}${BEGIN}`, table, after: `${END}${after}` }
}

function section(title: string, heads: readonly string[], lines: readonly (readonly string[])[]): string {
  const all = [heads, heads.map(() => '---'), ...lines]
  return `\n### ${title}\n\n${all.map((cells) => `| ${cells.map(cell).join(' | ')} |\n`).join('')}`
}

/** Links to the tests; names of tests are in the list. */
function shownBy(rows: readonly Row[], argued: Threat['argued']): string {
  const files = [...new Set(rows.map(({ test }) => test))]
  const links = files.map((file) => `[${file.replace(/^test\/|\.test\.ts$/g, '')}](${file})`)
  return [...links, ...(argued === undefined ? [] : [`argued, not shown: ${argued}`])].join(', ')
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ')
}
