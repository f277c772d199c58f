export type { OpenOptions } from './mcp/client.ts'
export { listenSealed, type SealedListener } from './mcp/listen.ts'
export type { ListenOptions } from './mcp/listener.ts'
export type { McpPeer } from './mcp/peer.ts'
export {
  type JsonRpcMessage,
  type SealedAuthInfo,
  type SealedMessageExtra,
  SealedTransport,
} from './mcp/transport.ts'
