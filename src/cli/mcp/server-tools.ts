import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { isObject, type JsonObject } from '../../json/objects.ts'
import { LISTING_TIMEOUT_MS } from '../../mcp/pins/tool-check.ts'
import { listTools } from '../../mcp/pins/tool-list.ts'
import { type ListedTool, type OfferedTools, pinsOf } from '../../mcp/pins/tool-pins.ts'
import { OwnRequests } from '../../mcp/pipes/own-requests.ts'
import type { MessagePipe } from '../../mcp/pipes/pipe.ts'
import {
  encodeMessage,
  errorResponse,
  type JsonRpcResponse,
  METHOD_NOT_FOUND,
  readMessage,
} from '../../mcp/policy/json-rpc.ts'
import type { Channel } from '../../mcp/session/channel.ts'
import { packageVersion } from '../package-version.ts'

/** A session that is open, with what is known of its other end. */
export type ToolSession = MessagePipe & { readonly peer: Pick<Channel['peer'], 'identity'> }

/** What a server is asked with. */
export interface AskingOptions {
  readonly engine: CryptoEngine
  readonly clock: Clock
  readonly openSession: () => Promise<ToolSession>
}

const LEGACY = '2025-11-25'
const STATELESS = '2026-07-28'
/** For servers that know nothing of it and say nothing to what they do not know. It may take a while to start one. */
const STATELESS_TIMEOUT_MS = 5000

/**
 * The tools of a server, as hosts of both ages see them: one session begins with `initialize`, another one asks as
 * clients do since revision 2026-07-28. A tool that a server lists in two ways is there twice.
 *
 * @throws SubrosaError ERR_MALFORMED, ERR_TIMEOUT, ERR_MCP_ENDED, ERR_PIN_MISMATCH when two identities answered, and
 *   what opening a session throws
 */
export async function askForTools(options: AskingOptions): Promise<OfferedTools> {
  const legacy = await inSession(options, listAfterInitialize, LISTING_TIMEOUT_MS)
  const stateless = await inSession(options, listStateless, STATELESS_TIMEOUT_MS).catch((error: unknown) => {
    // Servers that were made before it may well say nothing, or end.
    if (legacy.tools === undefined) throw error
    return legacy
  })
  if (legacy.identity !== stateless.identity)
    throw new SubrosaError(
      'ERR_PIN_MISMATCH',
      'two identities serve under this name: their tools cannot be told apart',
    )
  if (legacy.tools === undefined && stateless.tools === undefined)
    throw new SubrosaError('ERR_MALFORMED', `the server speaks neither MCP ${LEGACY} nor ${STATELESS}`)
  const { identity } = legacy
  const forms = pinsOf({ identity, tools: [...(legacy.tools ?? []), ...(stateless.tools ?? [])] }).tools
  return { identity, tools: [...forms.values()].flat() }
}

/** A session of this command's own. */
interface Asking {
  readonly engine: CryptoEngine
  readonly ask: (method: string, params: JsonObject) => Promise<JsonRpcResponse>
  readonly tell: (method: string) => Promise<void>
}

/** The tools; `undefined` where the server does not speak this way. */
type List = (asking: Asking) => Promise<readonly ListedTool[] | undefined>

async function listAfterInitialize({ engine, ask, tell }: Asking) {
  const { result } = await ask('initialize', {
    protocolVersion: LEGACY,
    capabilities: {},
    clientInfo: clientInfo(),
  })
  if (!isObject(result)) return undefined
  await tell('notifications/initialized')
  return isObject(result['capabilities']) && isObject(result['capabilities']['tools'])
    ? listTools(engine, (params) => ask('tools/list', params))
    : []
}

async function listStateless({ engine, ask }: Asking) {
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': STATELESS,
    'io.modelcontextprotocol/clientInfo': clientInfo(),
    'io.modelcontextprotocol/clientCapabilities': {},
  }
  const { result } = await ask('server/discover', { _meta })
  const versions = isObject(result) ? result['supportedVersions'] : undefined
  if (!Array.isArray(versions) || !versions.includes(STATELESS)) return undefined
  return listTools(engine, (params) => ask('tools/list', { ...params, _meta }))
}

function clientInfo(): JsonObject {
  return { name: 'subrosa', version: packageVersion() }
}

async function inSession(
  { engine, clock, openSession }: AskingOptions,
  list: List,
  timeoutMs: number,
): Promise<{ readonly identity: string; readonly tools: readonly ListedTool[] | undefined }> {
  const session = await openSession()
  const over = new AbortController()
  const cancel = clock.after(timeoutMs, () =>
    over.abort(new SubrosaError('ERR_TIMEOUT', 'the server did not list its tools in time')),
  )
  const own = new OwnRequests(engine, (message) => session.send(message))
  try {
    await session.open({
      message: (raw) => answer(session, own, raw),
      closed: (error) =>
        over.abort(error ?? new SubrosaError('ERR_MCP_ENDED', 'the server has ended the session')),
    })
    const tools = await list({
      engine,
      ask: (method, params) => own.ask(method, params, over.signal),
      tell: (method) => session.send(encodeMessage({ jsonrpc: '2.0', method })),
    })
    return { identity: session.peer.identity, tools }
  } finally {
    cancel()
    await session.close()
  }
}

/** Takes what a server sends to a client that can do nothing. */
async function answer(session: MessagePipe, own: OwnRequests, raw: Uint8Array): Promise<void> {
  const message = readMessage(raw)
  if (message?.kind === 'response') own.take(message)
  if (message?.kind !== 'request') return
  const { id, method } = message
  const reply =
    method === 'ping'
      ? encodeMessage({ jsonrpc: '2.0', id, result: {} })
      : errorResponse(id, METHOD_NOT_FOUND, 'this client lists tools, and nothing else')
  // What cannot be sent because the end was reached is told by that end.
  await session.send(reply).catch(() => {})
}
