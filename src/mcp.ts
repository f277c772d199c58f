export type { OpenOptions } from './mcp/session/client.ts'
export { listenSealed, type SealedListener } from './mcp/session/listen.ts'
export type { ListenOptions } from './mcp/session/listener.ts'
export type { McpPeer } from './mcp/session/peer.ts'
export {
  type JsonRpcMessage,
  type SealedAuthInfo,
  type SealedMessageExtra,
  SealedTransport,
} from './mcp/session/transport.ts'
