import { printable } from '../../base/printable.ts'
import { formatTable } from '../terminal/table.ts'
import type { Anatomy, Shown } from './anatomy.ts'

const INDENT = '  '

/** The lines that show an anatomy to a person. */
export function outline(anatomy: Anatomy): readonly string[] {
  return formatTable(rowsOf(anatomy, ''))
}

function rowsOf(anatomy: Anatomy, indent: string): readonly (readonly string[])[] {
  return Object.entries(anatomy).flatMap(([field, value]) =>
    value === undefined ? [] : fieldRows(indent + labelOf(field), value, indent),
  )
}

function fieldRows(label: string, value: Shown, indent: string): readonly (readonly string[])[] {
  if (!isList(value)) {
    return isPart(value) ? [[label], ...rowsOf(value, indent + INDENT)] : [[label, printable(String(value))]]
  }
  if (value.length === 0) return [[label, '-']]
  return value.flatMap((item, i) =>
    isPart(item)
      ? [[`${label} ${i + 1}`], ...rowsOf(item, indent + INDENT)]
      : [[i === 0 ? label : '', printable(String(item))]],
  )
}

function isList(value: Shown): value is readonly (string | number)[] | readonly Anatomy[] {
  return Array.isArray(value)
}

function isPart(value: string | number | boolean | Anatomy): value is Anatomy {
  return typeof value === 'object'
}

/** `notBefore` as `not before`. */
function labelOf(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}
