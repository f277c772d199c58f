import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { Sender } from '../../bus/messages/message.ts'
import { decodeMcpPresence, type McpPresence } from './frames.ts'
import { addressOf } from './peer.ts'
import { mcpSubjects } from './subjects.ts'

/** One instance of a server: what it said when it was asked, or why it said nothing. */
export type ServerPresence = Sender &
  (
    | { readonly there: true; readonly presence: McpPresence; readonly rttMs: number }
    | { readonly there: false; readonly error: Error }
  )

/** Every instance of every server that this agent may use, as far as they have announced themselves. */
export function knownServers(bus: SecureConnection): readonly Sender[] {
  const names = new Set(bus.agents().map(({ name }) => name))
  return [...names].sort().flatMap((name) => instancesOf(bus, name))
}

/** The instances of one server. */
export function instancesOf(bus: SecureConnection, server: string): readonly Sender[] {
  return bus.audience(mcpSubjects(server).presence).filter(({ name }) => name === server)
}

/**
 * Asks one instance of a server whether it is there, sealed to it alone. Who is not admitted by its policy gets no
 * answer.
 */
export async function askPresence(
  bus: SecureConnection,
  instance: Sender,
  { timeoutMs, clock }: { readonly timeoutMs: number; readonly clock: Clock },
): Promise<ServerPresence> {
  const { presence } = mcpSubjects(instance.name)
  const askedAt = clock.monotonic()
  try {
    const { data } = await bus.request(presence, undefined, {
      to: [addressOf(instance)],
      timeout: timeoutMs,
    })
    const rttMs = clock.monotonic() - askedAt
    return { ...instance, there: true, presence: decodeMcpPresence(data), rttMs }
  } catch (error) {
    if (!(error instanceof SubrosaError)) throw error
    return { ...instance, there: false, error }
  }
}
