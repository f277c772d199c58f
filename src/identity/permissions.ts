import { SubrosaError } from '../base/errors.ts'
import { covers, isPattern, overlaps } from '../base/subject.ts'

/** What one direction allows. Patterns have NATS's wildcards; deny wins; an empty allow list allows nothing. */
export interface SubjectRules {
  readonly allow: readonly string[]
  readonly deny: readonly string[]
}

/** What an agent may publish and read, as its identity token says. It binds the subject inside the seal. */
export interface Permissions {
  readonly pub: SubjectRules
  readonly sub: SubjectRules
}

// Most tokens leave one direction or the other empty, and many of them are held at once: they share what says so.
const NO_PATTERNS: readonly string[] = Object.freeze([])
const NOTHING: SubjectRules = Object.freeze({ allow: NO_PATTERNS, deny: NO_PATTERNS })

/** Whether the rules allow this subject. */
export function allows(rules: SubjectRules, subject: string): boolean {
  if (rules.deny.some((pattern) => covers(pattern, subject))) return false
  return rules.allow.some((pattern) => covers(pattern, subject))
}

/** Whether a subscription to `pattern` could receive anything under the rules. */
export function allowsSomeOf(rules: SubjectRules, pattern: string): boolean {
  if (rules.deny.some((denied) => covers(denied, pattern))) return false
  return rules.allow.some((allowed) => overlaps(allowed, pattern))
}

/**
 * Reads one direction's rules from a token's claim or a configuration.
 *
 * @throws SubrosaError ERR_TOKEN_INVALID for anything but lists of patterns, among them entries with a queue name.
 */
export function parseRules(value: unknown): SubjectRules {
  if (value === undefined) return NOTHING
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalidRules()
  const { allow, deny, ...rest } = value as Record<string, unknown>
  if (Object.keys(rest).length > 0) throw invalidRules()
  const rules = { allow: parsePatterns(allow), deny: parsePatterns(deny) }
  return rules.allow.length + rules.deny.length === 0 ? NOTHING : rules
}

function parsePatterns(value: unknown): readonly string[] {
  if (value === undefined) return NO_PATTERNS
  if (!Array.isArray(value)) throw invalidRules()
  if (value.length === 0) return NO_PATTERNS
  return value.map((pattern: unknown) => {
    if (typeof pattern !== 'string' || !isPattern(pattern)) throw invalidRules()
    return pattern
  })
}

function invalidRules(): SubrosaError {
  return new SubrosaError('ERR_TOKEN_INVALID', 'permissions are not lists of subject patterns', {
    hint: 'use {"allow": ["orders.>"], "deny": []}; entries with a queue name are not supported',
  })
}
