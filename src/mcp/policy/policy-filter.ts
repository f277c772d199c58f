import { editMessage, type JsonEdit } from '../../json/edit.ts'
import { hasLookAlike } from '../../json/look-alikes.ts'
import { isObject, type JsonObject } from '../../json/objects.ts'
import type { Filtered, MessageFilter } from '../pipes/filter.ts'
import { onOneLine } from '../pipes/one-line.ts'
import {
  errorResponse,
  INVALID_PARAMS,
  INVALID_REQUEST,
  type JsonRpcNotification,
  type JsonRpcRequest,
  METHOD_NOT_FOUND,
  readMessage,
} from './json-rpc.ts'
import type { Judge } from './rules.ts'

/** What one agent may see and use of a server. */
export interface AgentRules {
  /** By name. */
  readonly tools: Judge
  /** By name. */
  readonly prompts: Judge
  /** By URI, and templates by their text. */
  readonly resources: Judge
}

/** Why a message of the client's goes no further. */
interface Refusal {
  readonly code: number
  readonly message: string
}

const UNREADABLE: Refusal = {
  code: INVALID_REQUEST,
  message: 'not one message that every reader reads alike',
}
const UNKNOWN_METHOD: Refusal = {
  code: METHOD_NOT_FOUND,
  message: 'the method is not available to this agent',
}
const AMBIGUOUS: Refusal = { code: INVALID_PARAMS, message: 'the params can be read in more than one way' }
const NO_PARAMS: Refusal = { code: INVALID_PARAMS, message: 'the params are no object' }

// A name that is not allowed and one that the server does not know look alike, so that nobody finds out which there are.
const UNAVAILABLE: Readonly<Record<keyof AgentRules, Refusal>> = {
  tools: { code: INVALID_PARAMS, message: 'the tool is not available to this agent' },
  prompts: { code: INVALID_PARAMS, message: 'the prompt is not available to this agent' },
  resources: { code: INVALID_PARAMS, message: 'the resource is not available to this agent' },
}

/** Methods that name nothing of what a policy is about. */
const FREE_REQUESTS = new Set([
  'initialize',
  'ping',
  'server/discover',
  'logging/setLevel',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'tasks/get',
  'tasks/result',
  'tasks/list',
  'tasks/cancel',
])
const FREE_NOTIFICATIONS = new Set([
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
  'notifications/roots/list_changed',
  'notifications/tasks/status',
])

/** What is in the way of a request with these params. */
type ParamsJudge = (params: JsonObject, rules: AgentRules) => Refusal | undefined

/** Methods that name something. */
const JUDGED = new Map<string, ParamsJudge>([
  ['tools/call', judgeBy('tools', 'name')],
  ['prompts/get', judgeBy('prompts', 'name')],
  ['resources/read', judgeBy('resources', 'uri')],
  ['resources/subscribe', judgeBy('resources', 'uri')],
  ['resources/unsubscribe', judgeBy('resources', 'uri')],
  ['subscriptions/listen', judgeListen],
  ['completion/complete', judgeCompletion],
])

/** The lists of results, and which key of an entry is judged. */
const LISTS = [
  { list: 'tools', kind: 'tools', key: 'name' },
  { list: 'prompts', kind: 'prompts', key: 'name' },
  { list: 'resources', kind: 'resources', key: 'uri' },
  { list: 'resourceTemplates', kind: 'resources', key: 'uriTemplate' },
] as const

/**
 * The filter for the messages of one agent's sessions. A request that the rules do not allow is answered with an error,
 * what they do not let the agent see is taken out of lists, and what cannot be judged goes no further in either direction.
 *
 * It knows lists by their names in a result, and not by the requests that they answer: so nothing is to be remembered,
 * and a client that uses an id twice gains nothing.
 */
export function policyFilter(rules: AgentRules): MessageFilter {
  return {
    toServer: (message) => toServer(rules, message),
    toClient: (message) => toClient(rules, message),
  }
}

function toServer(rules: AgentRules, raw: Uint8Array): Filtered {
  const message = readMessage(raw)
  if (message === undefined) return { answer: errorResponse(undefined, UNREADABLE.code, UNREADABLE.message) }
  const refusal = message.kind === 'response' ? undefined : judge(rules, message)
  if (refusal === undefined) return { forward: onOneLine(raw) }
  return message.kind === 'request'
    ? { answer: errorResponse(message.id, refusal.code, refusal.message) }
    : {}
}

function judge(rules: AgentRules, message: JsonRpcRequest | JsonRpcNotification): Refusal | undefined {
  const { kind, method, params = {} } = message
  if (!isObject(params)) return NO_PARAMS
  const judged = JUDGED.get(method)
  if (judged !== undefined) return judged(params, rules)
  const isFree = FREE_REQUESTS.has(method) || (kind === 'notification' && FREE_NOTIFICATIONS.has(method))
  return isFree ? undefined : UNKNOWN_METHOD
}

function judgeBy(kind: keyof AgentRules, key: string): ParamsJudge {
  return (params, rules) => {
    if (hasLookAlike(params, [key])) return AMBIGUOUS
    return rules[kind](params[key]) ? undefined : UNAVAILABLE[kind]
  }
}

function judgeListen(params: JsonObject, { resources }: AgentRules): Refusal | undefined {
  const { notifications = {} } = params
  if (!isObject(notifications)) return AMBIGUOUS
  if (hasLookAlike(params, ['notifications'])) return AMBIGUOUS
  if (hasLookAlike(notifications, ['resourceSubscriptions'])) return AMBIGUOUS
  const { resourceSubscriptions: uris = [] } = notifications
  return Array.isArray(uris) && uris.every(resources) ? undefined : UNAVAILABLE.resources
}

function judgeCompletion(params: JsonObject, { prompts, resources }: AgentRules): Refusal | undefined {
  const { ref } = params
  if (!isObject(ref) || hasLookAlike(params, ['ref'])) return AMBIGUOUS
  const { type, name, uri } = ref
  // What is of one kind says nothing of the other: some servers do not look at the type.
  if (hasLookAlike(ref, ['type', 'name', 'uri']) || (name !== undefined && uri !== undefined))
    return AMBIGUOUS
  if (type === 'ref/prompt') return prompts(name) ? undefined : UNAVAILABLE.prompts
  if (type === 'ref/resource') return resources(uri) ? undefined : UNAVAILABLE.resources
  return AMBIGUOUS
}

function toClient(rules: AgentRules, raw: Uint8Array): Filtered {
  const message = readMessage(raw)
  if (message === undefined) return {}
  if (message.kind === 'notification' && message.method === 'notifications/resources/updated') {
    const { params } = message
    return isObject(params) && rules.resources(params['uri']) ? { forward: raw } : {}
  }
  if (message.kind !== 'response' || !isObject(message.result)) return { forward: raw }
  const edits = hiding(rules, message.result)
  return { forward: edits.length === 0 ? raw : editMessage(raw, edits) }
}

/** What takes out of a result what the agent does not see: nothing where it sees everything. */
function hiding(rules: AgentRules, result: JsonObject): readonly JsonEdit[] {
  const edits: JsonEdit[] = []
  for (const { list, kind, key } of LISTS) {
    const entries = result[list]
    if (entries === undefined) continue
    const path = ['result', list]
    const seen = Array.isArray(entries)
      ? entries.map((entry) => isObject(entry) && rules[kind](entry[key]))
      : []
    if (!Array.isArray(entries)) edits.push({ path, change: { value: [] } })
    else if (seen.includes(false)) edits.push({ path, change: { keep: (item) => seen[item] === true } })
  }
  // Since revision 2026-07-28 a list may be said to be the same for everyone. This one is not.
  if (edits.length > 0) edits.push({ path: ['result', 'cacheScope'], change: { value: 'private' } })
  return edits
}
