import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { isObject, type JsonObject } from '../../json/objects.ts'
import { membersOf, outlineJson } from '../../json/text.ts'

/** The id of a request. `1` and `"1"` are two. */
export type JsonRpcId = string | number

/** What every message has, whatever its kind. */
interface Read {
  /** The bytes that were read. */
  readonly raw: Uint8Array
  /** All of it, to write it anew with something changed. */
  readonly fields: JsonObject
}

/** Asks for a response with its id. */
export interface JsonRpcRequest extends Read {
  readonly kind: 'request'
  readonly id: JsonRpcId
  readonly method: string
  /** `undefined` where there are none. */
  readonly params: unknown
}

/** Asks for nothing. */
export interface JsonRpcNotification extends Read {
  readonly kind: 'notification'
  readonly method: string
  /** `undefined` where there are none. */
  readonly params: unknown
}

/** Answers a request: with a result or with an error, and the other is `undefined`. */
export interface JsonRpcResponse extends Read {
  readonly kind: 'response'
  /** `undefined` in an error that answers what could not be read. */
  readonly id: JsonRpcId | undefined
  readonly result: unknown
  readonly error: unknown
}

/** A message of JSON-RPC 2.0, as MCP has them. */
export type JsonRpcMessage = JsonRpcRequest | JsonRpcNotification | JsonRpcResponse

// JSON-RPC 2.0, section 5.1.
export const INVALID_REQUEST = -32600
export const METHOD_NOT_FOUND = -32601
export const INVALID_PARAMS = -32602
export const INTERNAL_ERROR = -32603

/** Deeper nesting is written by nobody, and takes the stack of whoever writes it anew. */
const MAX_DEPTH = 1000
const KEYS = new Set(['jsonrpc', 'id', 'method', 'params', 'result', 'error'])
const INTEGER = /^(?:0|-?[1-9][0-9]*)$/

/**
 * Reads a message, where every reader reads the same: what one would take in another way than the next is none. So it
 * must be one object in UTF-8, without a byte order mark, without repeated keys, without other keys than JSON-RPC's and
 * nested at most 1000 deep; and its id must be a string or an integer, written as one, that no reader rounds.
 *
 * @returns `undefined` where it is no such message, a batch for one
 *
 * @example
 * ```ts
 * const message = readMessage(bytes)
 * if (message?.kind === 'request') console.log(message.id, message.method)
 * ```
 */
export function readMessage(raw: Uint8Array): JsonRpcMessage | undefined {
  const fields = readFields(raw)
  if (fields === undefined) return undefined
  const { id, method, params, result, error } = fields
  if (typeof method === 'string') {
    if (result !== undefined || error !== undefined) return undefined
    if (id === undefined) return { kind: 'notification', method, params, fields, raw }
    return isId(id) ? { kind: 'request', id, method, params, fields, raw } : undefined
  }
  if (method !== undefined || params !== undefined) return undefined
  if ((result === undefined) === (error === undefined)) return undefined
  if (isId(id)) return { kind: 'response', id, result, error, fields, raw }
  const isUnread = error !== undefined && (id === undefined || id === null)
  return isUnread ? { kind: 'response', id: undefined, result, error, fields, raw } : undefined
}

/** The error that answers a request; without an id, what could not be read. */
export function errorResponse(id: JsonRpcId | undefined, code: number, message: string): Uint8Array {
  return encodeMessage({ jsonrpc: '2.0', id: id ?? null, error: { code, message } })
}

/** The bytes of a message. */
export function encodeMessage(fields: object): Uint8Array {
  return utf8(JSON.stringify(fields))
}

function readFields(raw: Uint8Array): JsonObject | undefined {
  const text = fromUtf8(raw)
  if (text === undefined) return undefined
  let fields: unknown
  try {
    fields = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!isObject(fields) || fields['jsonrpc'] !== '2.0') return undefined
  if (!Object.keys(fields).every((key) => KEYS.has(key))) return undefined
  const { depth, repeatedKey } = outlineJson(text)
  if (repeatedKey !== undefined || depth > MAX_DEPTH) return undefined
  return typeof fields['id'] === 'number' && !hasIntegerId(text) ? undefined : fields
}

/** Whether the id is written as an integer: `1.0` and `1e0` are other ids to some readers. */
function hasIntegerId(text: string): boolean {
  const id = membersOf(text, { start: 0, end: text.length }).get('id')
  return id !== undefined && INTEGER.test(text.slice(id.start, id.end))
}

function isId(value: unknown): value is JsonRpcId {
  return typeof value === 'string' || Number.isSafeInteger(value)
}
