import { printable } from '../../../base/printable.ts'
import { type ExactJson, ExactNumber, readExactJson } from '../../../json/exact.ts'
import { type ChangedTool, fieldsOf, type ListedTool } from '../../../mcp/pins/tool-pins.ts'

/**
 * What has changed of a tool, line by line: `-` is what was accepted, `+` what is there now. All of what differs is
 * shown, and of a list or an object that differs what stands between its first and its last difference.
 */
export function diffOfTool({ before, after, fields }: ChangedTool): readonly string[] {
  const [old, now] = [fieldsOf(before), fieldsOf(after)]
  return fields.flatMap((field) => [
    `${printable(after.name)}: ${printable(field)}`,
    ...diffOfLines(linesOf(old.get(field)), linesOf(now.get(field))),
  ])
}

/** All of a tool that is new. */
export function newTool(tool: ListedTool): readonly string[] {
  const fields = [...fieldsOf(tool)].filter(([field]) => field !== 'name')
  return fields.flatMap(([field, text]) => [
    `${printable(tool.name)}: ${printable(field)}`,
    ...diffOfLines([], linesOf(text)),
  ])
}

function diffOfLines(old: readonly string[], now: readonly string[]): readonly string[] {
  const shorter = Math.min(old.length, now.length)
  let start = 0
  while (start < shorter && old[start] === now[start]) start++
  let end = 0
  while (end < shorter - start && old.at(-1 - end) === now.at(-1 - end)) end++
  const middle = (lines: readonly string[], mark: string) =>
    lines.slice(start, lines.length - end).map((line) => `  ${mark} ${printable(line)}`)
  return [...middle(old, '-'), ...middle(now, '+')]
}

/** Of a text its own lines, of another value those of its JSON. */
function linesOf(text: string | undefined): readonly string[] {
  if (text === undefined) return []
  const value = readExactJson(text)
  return (typeof value === 'string' ? value : indented(value, '')).split('\n')
}

function indented(value: ExactJson, indent: string): string {
  if (value instanceof ExactNumber) return value.digits
  const deeper = `${indent}  `
  if (value instanceof Map) {
    const members = [...value].map(([key, member]) => `${JSON.stringify(key)}: ${indented(member, deeper)}`)
    return enclosed(members, { brackets: '{}', indent })
  }
  if (!Array.isArray(value)) return JSON.stringify(value)
  return enclosed(
    value.map((item: ExactJson) => indented(item, deeper)),
    { brackets: '[]', indent },
  )
}

function enclosed(
  parts: readonly string[],
  { brackets: [open, close], indent }: { readonly brackets: string; readonly indent: string },
): string {
  if (parts.length === 0) return `${open}${close}`
  return `${open}\n${parts.map((part) => `${indent}  ${part}`).join(',\n')}\n${indent}${close}`
}
