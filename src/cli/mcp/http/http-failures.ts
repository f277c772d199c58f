import { InsufficientScopeError, SdkError, SdkErrorCode, SdkHttpError } from '@modelcontextprotocol/client'
import { utf8 } from '../../../base/bytes.ts'
import { SubrosaError } from '../../../base/errors.ts'
import { isObject } from '../../../json/objects.ts'
import { readJson } from '../json.ts'
import { reasonOf, TRANSPORT_FAILED } from './http-errors.ts'

/** An error as JSON-RPC carries it. */
export interface JsonRpcError {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/**
 * What a client is told whose request got no response over HTTP: the error that the server sent with its refusal, or
 * what was in the way.
 */
export function errorOf(cause: unknown): JsonRpcError {
  const sent = cause instanceof SdkHttpError ? sentError(cause.data['text']) : undefined
  return sent ?? { code: TRANSPORT_FAILED, message: reasonOf(failureOf(cause)) }
}

/** What was in the way. It quotes nothing of what went over HTTP. */
export function failureOf(cause: unknown): SubrosaError {
  if (cause instanceof SubrosaError) return cause
  if (cause instanceof SdkHttpError) return refused(cause.data.status)
  if (cause instanceof InsufficientScopeError) return refused(403)
  if (cause instanceof SdkError && cause.code === SdkErrorCode.ClientHttpUnexpectedContent)
    return failed('the MCP server answered with neither JSON nor an event stream')
  // The system's word for it, such as ECONNREFUSED. MCP's own errors were handled above.
  if (cause instanceof Error && 'code' in cause && !(cause instanceof SdkError))
    return failed(`the connection to the MCP server failed (${String(cause.code)})`)
  return failed('the MCP server answered with what is no message of JSON-RPC')
}

function refused(status: number | undefined): SubrosaError {
  const message = `the MCP server answered with HTTP ${status}`
  if (status === 401 || status === 403)
    return failed(message, '--header HEADER=VARIABLE sends what it asks for')
  const isRedirect = status !== undefined && status >= 300 && status < 400
  return isRedirect ? failed(message, 'a redirect to another origin is not followed') : failed(message)
}

function failed(message: string, hint?: string): SubrosaError {
  return new SubrosaError('ERR_CONNECTION', message, hint === undefined ? {} : { hint })
}

function sentError(text: unknown): JsonRpcError | undefined {
  const body = typeof text === 'string' ? readJson(utf8(text))?.value : undefined
  if (!isObject(body) || !isObject(body['error'])) return undefined
  const { code, message, data } = body['error']
  if (typeof code !== 'number' || !Number.isSafeInteger(code) || typeof message !== 'string') return undefined
  return { code, message, ...(data !== undefined && { data }) }
}
