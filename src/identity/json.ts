/** What the text of JSON tells beyond its value. */
export interface JsonOutline {
  /** How deep objects and lists are nested: 0 for a value that is neither. */
  readonly depth: number
  /** The first key that an object names twice, if any does. */
  readonly repeatedKey: string | undefined
  /** Where in the text the value of each key of the outermost object begins. */
  readonly memberStarts: ReadonlyMap<string, number>
}

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

/** Looks over text that is known to be JSON, once, however long its strings are. */
export function outlineJson(text: string): JsonOutline {
  // The keys of each object that is open, and none for a list.
  const scopes: (Set<string> | undefined)[] = []
  const memberStarts = new Map<string, number>()
  let depth = 0
  let repeatedKey: string | undefined
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '{' || character === '[') {
      scopes.push(character === '{' ? new Set() : undefined)
      depth = Math.max(depth, scopes.length)
    } else if (character === '}' || character === ']') scopes.pop()
    else if (character === '"') {
      const end = endOfString(text, at)
      const next = skipSpace(text, end)
      if (text[next] === ':') {
        const key = readString(text, at, end)
        const keys = scopes.at(-1)
        if (keys?.has(key)) repeatedKey ??= key
        keys?.add(key)
        if (scopes.length === 1) memberStarts.set(key, skipSpace(text, next + 1))
      }
      at = end - 1
    }
  }
  return { depth, repeatedKey, memberStarts }
}

/** Behind the quote that ends the string. A quote ends it when an even number of backslashes is before it. */
export function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    if (quote < 0) return text.length
    let first = quote
    while (text[first - 1] === '\\') first--
    if ((quote - first) % 2 === 0) return quote + 1
  }
}

/** The string that stands between these two places of the text, with its quotes. */
export function readString(text: string, start: number, end: number): string {
  const inside = text.slice(start + 1, end - 1)
  return inside.includes('\\') ? String(JSON.parse(text.slice(start, end))) : inside
}

/** Behind the space that begins here, if any does. */
export function skipSpace(text: string, start: number): number {
  let at = start
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++
  return at
}
