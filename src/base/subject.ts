import { utf8 } from './bytes.ts'
import { MAX_SUBJECT_BYTES } from './limits.ts'

/** What most subjects look like: nothing else is asked of these. */
const USUAL = /^[\w$-]+(?:\.[\w$-]+)*$/
/** An empty token, white space, or a control character. SPEC, "Permissions". */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
const UNFIT = /^\.|\.\.|\.$|[\s\u0000-\u001f\u007f-\u009f]/
const WILDCARD = /(?:^|\.)[*>](?:\.|$)/
/** `>` before other tokens. */
const EARLY_REST = /(?:^|\.)>\./

/**
 * Whether `subject` may be published to: dot-separated tokens, none empty, no wildcards, no white space and no control
 * characters. A NATS client writes it into a line of its protocol as it is.
 */
export function isSubject(subject: string): boolean {
  if (isTooLong(subject)) return false
  return USUAL.test(subject) || (hasForm(subject) && !WILDCARD.test(subject))
}

/** Whether `pattern` may be subscribed to: as a subject, with `*` for a token and `>` for the rest. */
export function isPattern(pattern: string): boolean {
  return !isTooLong(pattern) && hasForm(pattern) && !EARLY_REST.test(pattern)
}

function hasForm(text: string): boolean {
  return text.length > 0 && !UNFIT.test(text)
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
