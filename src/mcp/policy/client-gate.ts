import { editMessage, type JsonEdit } from '../../json/edit.ts'
import { hasLookAlike } from '../../json/look-alikes.ts'
import { isObject, type JsonObject } from '../../json/objects.ts'
import type { Filtered, MessageFilter } from '../pipes/filter.ts'
import { onOneLine } from '../pipes/one-line.ts'
import {
  errorResponse,
  INVALID_REQUEST,
  type JsonRpcId,
  type JsonRpcResponse,
  METHOD_NOT_FOUND,
  readMessage,
} from './json-rpc.ts'

/** What a server can ask a client for, and all of it. */
export const SERVER_REQUEST_KINDS = ['sampling', 'elicitation', 'roots', 'all'] as const

/** What a client refuses to be asked for. `all` is every request but `ping`, those of later revisions among them. */
export type ServerRequestKind = (typeof SERVER_REQUEST_KINDS)[number]

/** Where a request of revision 2026-07-28 says what the client can. */
const CAPABILITIES_META = 'io.modelcontextprotocol/clientCapabilities'
/** The error by which a server sends a user to a web page: revision 2025-11-25, "URL mode elicitation". */
const URL_ELICITATION_REQUIRED = -32042
/** The server needs what the client said that it cannot: revision 2026-07-28, "MissingRequiredClientCapability". */
const MISSING_CAPABILITY = -32021

const UNREADABLE = 'not one message that every reader reads alike'
const REFUSED = 'the client refuses such requests'
/** Capabilities of a client that let a server send it requests. */
const ASKING = new Set(['sampling', 'elicitation', 'roots', 'tasks'])

/**
 * The filter of a client that a server is not to ask for some things. The server does not learn that the client can do
 * them; where it asks all the same, it gets an error, and the client gets an error in place of a result that asks. What
 * is not refused goes through, also what no revision of MCP knows yet: whether to answer that is up to the client.
 *
 * @example
 * ```ts
 * const gate = clientGate(['sampling', 'elicitation'])
 * ```
 */
export function clientGate(refused: readonly ServerRequestKind[]): MessageFilter {
  const refuses = refusalOf(new Set(refused))
  return {
    toServer: (message) => toServer(refuses, message),
    toClient: (message) => toClient(refuses, message),
  }
}

/** What is refused. */
interface Refusals {
  /** Whether this method of a server's is. */
  readonly method: (method: string) => boolean
  /** Whether what a client says that it can is. */
  readonly capability: (name: string) => boolean
}

function refusalOf(kinds: ReadonlySet<string>): Refusals {
  if (kinds.has('all'))
    return { method: (method) => method !== 'ping', capability: (name) => ASKING.has(name) }
  // Whatever a later revision adds to a kind is of that kind.
  return {
    method: (method) => kinds.has(method.split('/', 1)[0] ?? ''),
    capability: (name) => kinds.has(name),
  }
}

function toServer(refuses: Refusals, raw: Uint8Array): Filtered {
  const message = readMessage(raw)
  if (message === undefined) return { answer: errorResponse(undefined, INVALID_REQUEST, UNREADABLE) }
  if (message.kind === 'response') return { forward: raw }
  if (message.method === 'notifications/roots/list_changed' && refuses.method('roots/list')) return {}
  const edits = hiding(refuses, message.method, message.params)
  return { forward: edits.length === 0 ? raw : editMessage(raw, edits) }
}

/** What takes the refused capabilities out of a message. */
function hiding(refuses: Refusals, method: string, params: unknown): readonly JsonEdit[] {
  if (!isObject(params)) return []
  const meta = isObject(params['_meta']) ? params['_meta'] : {}
  const places = [{ path: ['params', '_meta', CAPABILITIES_META], capabilities: meta[CAPABILITIES_META] }]
  if (method === 'initialize')
    places.push({ path: ['params', 'capabilities'], capabilities: params['capabilities'] })
  return places.flatMap(({ path, capabilities }) => {
    const value = isObject(capabilities) ? withoutRefused(refuses, capabilities) : undefined
    return value === undefined ? [] : [{ path, change: { value } }]
  })
}

/** `undefined` where there is nothing to take out. */
function withoutRefused(refuses: Refusals, capabilities: JsonObject): JsonObject | undefined {
  const names = Object.keys(capabilities)
  if (!names.some((name) => name === 'tasks' || refuses.capability(name))) return undefined
  const left = Object.entries(capabilities).filter(([name]) => !refuses.capability(name))
  return Object.fromEntries(
    left.map(([name, value]) => [name, name === 'tasks' ? withoutRefusedTasks(refuses, value) : value]),
  )
}

/** A client that runs requests of the server's as tasks says for each kind that it does. */
function withoutRefusedTasks(refuses: Refusals, tasks: unknown): unknown {
  if (!isObject(tasks) || !isObject(tasks['requests'])) return tasks
  const left = Object.entries(tasks['requests']).filter(([kind]) => !refuses.capability(kind))
  return { ...tasks, requests: Object.fromEntries(left) }
}

function toClient(refuses: Refusals, raw: Uint8Array): Filtered {
  const message = readMessage(raw)
  if (message === undefined) return {}
  if (message.kind === 'response')
    return { forward: asks(refuses, message) ? refusedInput(message.id) : onOneLine(raw) }
  // A request without an id is none, but a client might take it for one.
  const isNotification = message.kind === 'notification' && message.method.startsWith('notifications/')
  if (isNotification || !refuses.method(message.method)) return { forward: onOneLine(raw) }
  return message.kind === 'request' ? { answer: errorResponse(message.id, METHOD_NOT_FOUND, REFUSED) } : {}
}

/** Whether a response asks for input that is refused, or may do so to some reader. */
function asks(refuses: Refusals, { result, error }: JsonRpcResponse): boolean {
  if (isObject(error)) {
    const asksForUrl = hasLookAlike(error, ['code']) || error['code'] === URL_ELICITATION_REQUIRED
    return asksForUrl && refuses.method('elicitation/create')
  }
  if (!isObject(result)) return false
  if (hasLookAlike(result, ['resultType', 'inputRequests'])) return true
  const { inputRequests } = result
  if (inputRequests === undefined) return false
  return (
    !isObject(inputRequests) || Object.values(inputRequests).some((input) => !isLetThrough(refuses, input))
  )
}

function isLetThrough(refuses: Refusals, input: unknown): boolean {
  if (!isObject(input) || hasLookAlike(input, ['method'])) return false
  return typeof input['method'] === 'string' && !refuses.method(input['method'])
}

function refusedInput(id: JsonRpcId | undefined): Uint8Array {
  return errorResponse(id, MISSING_CAPABILITY, 'the server asks for input that is refused here')
}
