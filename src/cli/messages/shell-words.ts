/**
 * The words of a command line, as a shell would split it: quotes and backslashes keep words together. Nothing is
 * expanded, and no shell is ever asked.
 *
 * @throws RangeError when a quote is not closed, or there is no word
 *
 * @example
 * ```ts
 * splitWords("jq -r '.items[0]'")   // ['jq', '-r', '.items[0]']
 * ```
 */
export function splitWords(text: string): readonly string[] {
  const words: string[] = []
  let word: string | undefined
  let rest = text
  while (rest !== '') {
    const [piece = '', space, single, double, escaped] = PIECE.exec(rest) ?? []
    if (piece === '') throw new RangeError('a quote in the command is not closed')
    rest = rest.slice(piece.length)
    if (space !== undefined) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + (single ?? double?.replace(/\\(["\\$`])/g, '$1') ?? escaped ?? piece)
  }
  if (word !== undefined) words.push(word)
  if (words.length === 0) throw new RangeError('the command is empty')
  return words
}

/** White space, a single-quoted piece, a double-quoted one, one character after a backslash, or plain text. */
const PIECE = /^(?:(\s+)|'([^']*)'|"((?:[^"\\]|\\[\s\S])*)"|\\([\s\S])|[^\s'"\\]+)/
