/** What the text of JSON tells beyond its value. */
export interface JsonOutline {
  /** How deep objects and lists are nested: 0 for a value that is neither. */
  readonly depth: number
  /** The first key that an object names twice, if any does. */
  readonly repeatedKey: string | undefined
}

/** Where a value is in text. */
export interface JsonSpan {
  readonly start: number
  /** Behind its last character. */
  readonly end: number
}

/** Looks over text that is known to be JSON, once, however long its strings are. */
export function outlineJson(text: string): JsonOutline {
  // The keys of each object that is open, and none for a list.
  const scopes: (Set<string> | undefined)[] = []
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
      if (text[skipSpace(text, end)] === ':') {
        const key = readString(text, { start: at, end })
        const keys = scopes.at(-1)
        if (keys?.has(key)) repeatedKey ??= key
        keys?.add(key)
      }
      at = end - 1
    }
  }
  return { depth, repeatedKey }
}

/** Where the members of an object are, in text that is known to be JSON. Of what is no object there are none. */
export function membersOf(text: string, object: JsonSpan): ReadonlyMap<string, JsonSpan> {
  const members = new Map<string, JsonSpan>()
  let at = skipSpace(text, object.start)
  if (text[at] !== '{') return members
  at = skipSpace(text, at + 1)
  while (text[at] === '"') {
    const key = { start: at, end: endOfString(text, at) }
    const start = skipSpace(text, skipSpace(text, key.end) + 1)
    const end = endOfValue(text, start)
    members.set(readString(text, key), { start, end })
    at = skipComma(text, end)
  }
  return members
}

/** Where the items of a list are, in text that is known to be JSON. Of what is no list there are none. */
export function itemsOf(text: string, list: JsonSpan): readonly JsonSpan[] {
  const items: JsonSpan[] = []
  let at = skipSpace(text, list.start)
  if (text[at] !== '[') return items
  at = skipSpace(text, at + 1)
  while (at < list.end && text[at] !== ']') {
    const end = endOfValue(text, at)
    items.push({ start: at, end })
    at = skipComma(text, end)
  }
  return items
}

function endOfValue(text: string, start: number): number {
  let depth = 0
  let at = start
  do {
    const character = text[at]
    if (character === '"') at = endOfString(text, at)
    else if (character === '{' || character === '[') {
      depth++
      at++
    } else if (character === '}' || character === ']') {
      depth--
      at++
    } else at = depth === 0 ? endOfWord(text, at) : at + 1
  } while (depth > 0 && at < text.length)
  return at
}

/** Of a number, or of `true`, `false` and `null`. */
function endOfWord(text: string, start: number): number {
  let at = start
  while (at < text.length && !',}] \t\n\r'.includes(text[at] ?? '')) at++
  return at
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

/** The string that stands there with its quotes. */
export function readString(text: string, { start, end }: JsonSpan): string {
  const inside = text.slice(start + 1, end - 1)
  return inside.includes('\\') ? String(JSON.parse(text.slice(start, end))) : inside
}

/** Behind the space that begins here, if any does. */
export function skipSpace(text: string, start: number): number {
  let at = start
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++
  return at
}

/** To the next member or item, or to what ends them all. */
function skipComma(text: string, start: number): number {
  const at = skipSpace(text, start)
  return text[at] === ',' ? skipSpace(text, at + 1) : at
}
