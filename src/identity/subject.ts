import { utf8 } from '../base/bytes.ts'
import { MAX_SUBJECT_BYTES } from '../base/limits.ts'

/** Whether `subject` may be published to: dot-separated tokens, none empty, no wildcards and no white space. */
export function isSubject(subject: string): boolean {
  return isPattern(subject) && subject.split('.').every((token) => token !== '*' && token !== '>')
}

/** Whether `pattern` may be subscribed to: as a subject, with `*` for a token and `>` for the rest. */
export function isPattern(pattern: string): boolean {
  if (pattern.length === 0 || isTooLong(pattern)) return false
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\s\u0000-\u001f\u007f]/.test(pattern)) return false
  const tokens = pattern.split('.')
  return tokens.every((token, i) => token.length > 0 && (token !== '>' || i === tokens.length - 1))
}

/** A UTF-16 unit takes at most three bytes: most subjects need no encoding to see that they fit. */
function isTooLong(pattern: string): boolean {
  return pattern.length * 3 > MAX_SUBJECT_BYTES && utf8(pattern).length > MAX_SUBJECT_BYTES
}

/** Whether every subject that `inner` matches is matched by `outer`. A plain subject is a pattern too. */
export function covers(outer: string, inner: string): boolean {
  const outerTokens = outer.split('.')
  const innerTokens = inner.split('.')
  for (let i = 0; i < outerTokens.length; i++) {
    const wanted = outerTokens[i]
    const token = innerTokens[i]
    if (token === undefined) return false
    if (wanted === '>') return true
    if (token === '>' || (wanted !== '*' && wanted !== token)) return false
  }
  return outerTokens.length === innerTokens.length
}

/** Whether some subject is matched by both patterns. */
export function overlaps(a: string, b: string): boolean {
  const tokensA = a.split('.')
  const tokensB = b.split('.')
  for (let i = 0; ; i++) {
    const tokenA = tokensA[i]
    const tokenB = tokensB[i]
    if (tokenA === undefined || tokenB === undefined) return tokenA === tokenB
    if (tokenA === '>' || tokenB === '>') return true
    if (tokenA !== tokenB && tokenA !== '*' && tokenB !== '*') return false
  }
}
