import { outlineJson } from './text.ts'

/**
 * Parses JSON and refuses an object that names a key twice: `JSON.parse` keeps the last one, other readers the first,
 * and a signed token must mean one thing.
 *
 * @returns the value, or `undefined` where the text is not JSON or repeats a key.
 */
export function parseStrictJson(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return outlineJson(text).repeatedKey === undefined ? value : undefined
}
