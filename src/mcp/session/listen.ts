import type { SecureConnection } from '../../bus/connection.ts'
import { Listener, type ListenOptions } from './listener.ts'
import { SealedTransport } from './transport.ts'

/** A server that takes sealed sessions. Made by {@link listenSealed}. */
export interface SealedListener {
  /** How many sessions there are. */
  readonly sessions: number
  /** Takes no more sessions, and ends those that there are. The bus stays open. */
  close(): void
}

/**
 * Serves MCP under the name of the agent: calls `accept` with a transport for each client that opens a session. Give
 * each one a server of its own, which is then connected before the session is answered; `transport.peer` says who it
 * is. Several instances of the agent are replicas: a session is opened with one of them, and stays with it.
 *
 * @throws SubrosaError ERR_SUBSCRIBE_DENIED when the agent's identity token does not let it serve (`subrosa agent add
 *   NAME --mcp-serve`), ERR_CLOSED
 *
 * @example
 * ```ts
 * import { McpServer } from '@modelcontextprotocol/server'
 * import { listenSealed } from 'subrosa/mcp'
 *
 * const listener = await listenSealed(bus, async (transport) => {
 *   const server = new McpServer({ name: 'greeter', version: '1.0.0' })
 *   server.registerTool('greet', {}, async (extra) => ({ content: [{ type: 'text', text: 'hello' }] }))
 *   await server.connect(transport)
 * })
 * ```
 */
export async function listenSealed(
  bus: SecureConnection,
  accept: (transport: SealedTransport) => Promise<void>,
  options: ListenOptions = {},
): Promise<SealedListener> {
  return Listener.start(bus, (channel) => accept(new SealedTransport(channel)), options)
}
