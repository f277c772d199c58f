import { SubrosaError } from '../../base/errors.ts'
import { isAgentName } from '../../identity/token.ts'
import { isObject, type JsonObject } from '../../json/objects.ts'
import { outlineJson } from '../../json/text.ts'
import type { MessageFilter } from '../pipes/filter.ts'
import { isPlainText } from '../pipes/plain-text.ts'
import { type AgentRules, policyFilter } from './policy-filter.ts'
import { nameJudge, type Rules, uriJudge } from './rules.ts'
import { readUri } from './uri.ts'

/** What each agent may see and do of one MCP server. */
export interface ServerPolicy {
  /** The filter for all messages of this agent's sessions; `undefined` for an agent that may not open one. */
  filterFor(agent: string): MessageFilter | undefined
}

const EVERYONE_ELSE = '*'
const MAX_PATTERN_LENGTH = 1024
/** How much of a key that is wrong is quoted. */
const MAX_QUOTED = 64

/**
 * Reads a policy: JSON that says which tools, prompts and resources of an MCP server each agent sees and may use. Agents
 * go by the name that is verified with their identity, and `*` is everyone who is not named. `*` in a pattern stands for
 * any characters. What is not allowed is not there for the agent, and deny wins over allow. SPEC, "MCP".
 *
 * @throws SubrosaError ERR_SETUP that names the place that is wrong
 *
 * @example
 * ```ts
 * const policy = readPolicy(`{
 *   "agents": {
 *     "laptop": { "tools": { "allow": ["read_*", "list_*"], "deny": ["read_secret"] }, "resources": ["file:///srv/*"] },
 *     "*": { "prompts": ["*"] }
 *   }
 * }`)
 * const filter = policy.filterFor(session.peer.name)
 * ```
 */
export function readPolicy(text: string): ServerPolicy {
  const { agents } = objectAt('', parse(text), ['agents'])
  if (agents === undefined) throw invalid('', 'does not say "agents"')
  if (!isObject(agents)) throw invalid('agents', 'is no object')
  const filters = new Map(
    Object.entries(agents).map(([name, entry]) => {
      if (name !== EVERYONE_ELSE && !isAgentName(name))
        throw invalid('agents', `names ${quote(name)}, which is neither the name of an agent nor "*"`)
      return [name, policyFilter(rulesAt(`agents.${name}`, entry))]
    }),
  )
  return { filterFor: (agent) => filters.get(agent) ?? filters.get(EVERYONE_ELSE) }
}

function parse(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid('', 'is no JSON')
  }
  const { repeatedKey } = outlineJson(text)
  if (repeatedKey !== undefined) throw invalid('', `names ${quote(repeatedKey)} twice in one object`)
  return value
}

function rulesAt(place: string, entry: unknown): AgentRules {
  const { tools, prompts, resources } = objectAt(place, entry, ['tools', 'prompts', 'resources'])
  return {
    tools: nameJudge(patternsAt(`${place}.tools`, tools, namePattern)),
    prompts: nameJudge(patternsAt(`${place}.prompts`, prompts, namePattern)),
    resources: uriJudge(patternsAt(`${place}.resources`, resources, readUri)),
  }
}

/** A list is what is allowed. */
function patternsAt<Written>(
  place: string,
  value: unknown,
  read: (pattern: string) => Written | undefined,
): Rules<Written> {
  if (value === undefined) return { allow: [], deny: [] }
  if (Array.isArray(value)) return { allow: listAt(place, value, read), deny: [] }
  const { allow = [], deny = [] } = objectAt(place, value, ['allow', 'deny'])
  return { allow: listAt(`${place}.allow`, allow, read), deny: listAt(`${place}.deny`, deny, read) }
}

function listAt<Written>(
  place: string,
  value: unknown,
  read: (pattern: string) => Written | undefined,
): readonly Written[] {
  if (!Array.isArray(value)) throw invalid(place, 'is no list of patterns')
  return value.map((pattern: unknown, index) => {
    const here = `${place}[${index}]`
    if (typeof pattern !== 'string') throw invalid(here, 'is no text')
    if (pattern.length > MAX_PATTERN_LENGTH)
      throw invalid(here, `is longer than ${MAX_PATTERN_LENGTH} characters`)
    const written = pattern === '' ? undefined : read(pattern)
    if (written === undefined) throw invalid(here, 'can match nothing that is let through')
    return written
  })
}

function namePattern(pattern: string): string | undefined {
  return isPlainText(pattern) ? pattern : undefined
}

function objectAt(place: string, value: unknown, keys: readonly string[]): JsonObject {
  if (!isObject(value)) throw invalid(place, 'is no object')
  const unknown = Object.keys(value).find((key) => !keys.includes(key))
  if (unknown !== undefined) throw invalid(place, `has a key ${quote(unknown)} that is not known`)
  return value
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, MAX_QUOTED))
}

function invalid(place: string, fault: string): SubrosaError {
  const where = place === '' ? 'the policy' : `the policy at ${place}`
  return new SubrosaError('ERR_SETUP', `${where} ${fault}`, {
    hint: 'a policy looks like {"agents": {"laptop": {"tools": {"allow": ["read_*"], "deny": ["read_secret"]}}}}',
  })
}
