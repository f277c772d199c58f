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
  return repeatsKey(text) ? undefined : value
}

/** Scans text that is known to be JSON. A string is a key where a colon follows it. */
function repeatsKey(text: string): boolean {
  const scopes: Set<string>[] = []
  const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g
  for (const [token, colon] of text.matchAll(tokens)) {
    if (token === '{') scopes.push(new Set())
    else if (token === '}') scopes.pop()
    else if (colon !== undefined) {
      const key: unknown = JSON.parse(token.slice(0, token.length - colon.length))
      const keys = scopes.at(-1)
      if (typeof key !== 'string' || keys === undefined || keys.has(key)) return true
      keys.add(key)
    }
  }
  return false
}
