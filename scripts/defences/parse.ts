import type { Row, Threat } from './list.ts'

const ROW_FIELDS = ['threat', 'row', 'file', 'takeOut', 'putIn', 'test', 'name']
const THREAT_FIELDS = ['id', 'attacker', 'attack', 'answer', 'argued']

/**
 * A row out of JSON.
 *
 * @param where how errors call the entry
 * @throws Error that names the entry and the field
 */
export function parseRow(value: unknown, where: string): Omit<Row, 'area'> {
  const field = fieldsOf(value, where, ROW_FIELDS)
  const row = {
    threat: field.optional('threat'),
    row: field.required('row'),
    file: field.required('file'),
    takeOut: field.required('takeOut'),
    putIn: field.text('putIn'),
    test: field.required('test'),
    name: field.required('name'),
  }
  if (!row.file.startsWith('src/')) throw new Error(`${where}: "file" is not below src/: ${row.file}`)
  if (!row.test.startsWith('test/')) throw new Error(`${where}: "test" is not below test/: ${row.test}`)
  return row
}

/**
 * A threat out of JSON.
 *
 * @param where how errors call the entry
 * @throws Error that names the entry and the field
 */
export function parseThreat(value: unknown, where: string): Threat {
  const field = fieldsOf(value, where, THREAT_FIELDS)
  return {
    id: field.required('id'),
    attacker: field.required('attacker'),
    attack: field.required('attack'),
    answer: field.required('answer'),
    argued: field.optional('argued'),
  }
}

function fieldsOf(value: unknown, where: string, known: readonly string[]) {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Error(`${where} is not an object`)
  const fields = new Map<string, unknown>(Object.entries(value))
  const unknown = [...fields.keys()].filter((name) => !known.includes(name))
  if (unknown.length > 0)
    throw new Error(`${where} has an unknown field "${unknown[0]}"; known are ${known.join(', ')}`)
  const text = (name: string): string => {
    const found = fields.get(name)
    if (typeof found !== 'string') throw new Error(`${where}: "${name}" is not a string`)
    return found
  }
  const required = (name: string): string => {
    const found = text(name)
    if (found === '') throw new Error(`${where}: "${name}" is empty`)
    return found
  }
  return { text, required, optional: (name: string) => (fields.has(name) ? required(name) : undefined) }
}
