/** A pattern without regular expressions: the pieces of text between its asterisks. */
export type Pattern = readonly string[]

/** Reads a pattern: `*` stands for any characters, none among them, and all else for itself. */
export function patternOf(text: string): Pattern {
  return text.split('*')
}

/** Whether the pattern covers all of the text. It looks for each piece once, behind the one before, and never turns back. */
export function matches(pattern: Pattern, text: string): boolean {
  const [first = '', ...others] = pattern
  const last = others.pop()
  if (last === undefined) return text === first
  if (!text.startsWith(first)) return false
  let at = first.length
  for (const piece of others) {
    const found = text.indexOf(piece, at)
    if (found < 0) return false
    at = found + piece.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}
