import type { JSONRPCErrorResponse, RequestId } from '@modelcontextprotocol/server'
import { SubrosaError } from '../../../base/errors.ts'

/** What went wrong outside of JSON-RPC: the code of MCP's own packages for it. */
export const TRANSPORT_FAILED = -32000
/** A session that is not, or is no more. MCP's own packages use it with HTTP 404. */
export const SESSION_NOT_FOUND = -32001
export const INTERNAL_ERROR = -32603
export const PARSE_ERROR = -32700

/** The error that answers this request. */
export function errorAnswer(id: RequestId, code: number, message: string): JSONRPCErrorResponse {
  return { jsonrpc: '2.0', id, error: { code, message } }
}

/** An HTTP answer that carries an error of JSON-RPC; to which request, where that is known. */
export function httpError(
  status: number,
  error: { readonly code: number; readonly message: string },
  id: RequestId | null = null,
): Response {
  return Response.json({ jsonrpc: '2.0', id, error }, { status })
}

/** What a client is told of a failure. Only the package's own messages are known to hold no secrets. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof SubrosaError)) return 'the connection to the MCP server failed'
  return error.hint === undefined ? error.message : `${error.message}: ${error.hint}`
}
