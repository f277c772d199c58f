import type { SecureMessage } from '../../bus/messages/message.ts'

/** Who is at the other end of an MCP session: an instance of an agent, verified. */
export interface McpPeer {
  /** The agent's name. */
  readonly name: string
  /** Which of its instances, in hexadecimal. */
  readonly instance: string
  /** The agent's public identity key, `U…`. */
  readonly identity: string
  /** Until when its identity token is good, in seconds since 1970. */
  readonly expiresAt: number
}

/** Whoever sealed this message. */
export function peerOf({ sender, claims }: SecureMessage): McpPeer {
  const { identity, expiresAt } = claims
  return Object.freeze({ name: sender.name, instance: sender.instance, identity, expiresAt })
}

/** How an instance is named in `to`, and what sessions are kept under. */
export function addressOf({ name, instance }: Pick<McpPeer, 'name' | 'instance'>): string {
  return `${name}/${instance}`
}
