import { covers, isPattern, overlaps } from '../../base/subject.ts'
import { allowsSomeOf, type SubjectRules } from '../../identity/permissions.ts'

/**
 * How servers rename subjects on their way: a pattern of subjects as they are published, and what subscribers see
 * instead. As in a server's `mappings`: `$1` or `{{wildcard(1)}}` is what the first `*` matched, and `>` the rest.
 */
export type SubjectMappings = Readonly<Record<string, string>>

interface Mapping {
  /** Matches what is sealed. */
  readonly source: string
  readonly target: readonly Part[]
  /** Matches whatever the mapping makes. */
  readonly pattern: string
}

/** A token as it stands, the number of a wildcard from 1, or the rest. */
type Part = { readonly text: string } | { readonly wildcard: number } | 'rest'

const HOW_TO_MAP = 'write $1 for what the first * matches, and > at the end for the rest'

/**
 * Whether a message may arrive on another subject than the one that was sealed with it: only where a mapping says so.
 * SPEC, "The subject policy".
 */
export class SubjectPolicy {
  readonly #mappings: readonly Mapping[]

  /** @throws TypeError for a mapping that is none */
  constructor(mappings: SubjectMappings = {}) {
    if (typeof mappings !== 'object' || mappings === null || Symbol.iterator in mappings)
      throw new TypeError("subjectMappings must be an object of subjects: { 'orders.>': 'b.orders.>' }")
    this.#mappings = Object.entries(mappings).map(([source, target]) => parseMapping(source, target))
  }

  /** Whether what was sealed for one subject may be delivered on another. */
  accepts(sealed: string, delivered: string): boolean {
    if (sealed === delivered) return true
    return this.#mappings.some(
      (mapping) => covers(mapping.source, sealed) && apply(mapping, sealed) === delivered,
    )
  }

  /** Whether a subscription to `pattern` can receive anything that the rules allow to read. */
  mayReceive(rules: SubjectRules, pattern: string): boolean {
    if (allowsSomeOf(rules, pattern)) return true
    return this.#mappings.some(
      (mapping) => overlaps(mapping.pattern, pattern) && allowsSomeOf(rules, mapping.source),
    )
  }
}

function parseMapping(source: string, target: string): Mapping {
  const wildcards = source.split('.').filter((token) => token === '*').length
  const hasRest = source === '>' || source.endsWith('.>')
  const parts = typeof target === 'string' ? target.split('.').map(parsePart) : []
  const isSound = parts.every((part) => {
    if (part === 'rest') return hasRest
    if ('text' in part) return part.text !== '*' && !/\{\{|\}\}/.test(part.text)
    return part.wildcard >= 1 && part.wildcard <= wildcards
  })
  const pattern = parts.map((part) => (part === 'rest' ? '>' : 'text' in part ? part.text : '*')).join('.')
  const isComplete = parts.length > 0 && parts.includes('rest') === hasRest
  if (!isPattern(source) || !isPattern(pattern) || !isSound || !isComplete)
    throw new TypeError(
      `subjectMappings: "${source}" cannot be mapped to ${JSON.stringify(target)}: ${HOW_TO_MAP}`,
    )
  return { source, target: parts, pattern }
}

function parsePart(token: string): Part {
  if (token === '>') return 'rest'
  const number = /^(?:\$(\d+)|\{\{\s*wildcard\(\s*(\d+)\s*\)\s*\}\})$/i.exec(token)
  if (number !== null) return { wildcard: Number(number[1] ?? number[2]) }
  return { text: token }
}

function apply({ source, target }: Mapping, sealed: string): string {
  const tokens = sealed.split('.')
  const pattern = source.split('.')
  const wildcards = tokens.filter((_, i) => pattern[i] === '*')
  const rest = tokens.slice(pattern.length - 1).join('.')
  return target
    .map((part) =>
      part === 'rest' ? rest : 'text' in part ? part.text : (wildcards[part.wildcard - 1] ?? ''),
    )
    .join('.')
}
