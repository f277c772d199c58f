import type { MessageFilter } from './filter.ts'
import type { MessagePipe } from './pipe.ts'

/** Two pipes that become one. */
export interface JoinedPipes {
  /** The end at which the client speaks. */
  readonly client: MessagePipe
  /** The end at which the server speaks. */
  readonly server: MessagePipe
  /** What decides on each message on its way. */
  readonly filter?: MessageFilter | undefined
}

/**
 * Hands on what comes at one end to the other, in both directions, until one of them ends: then the other is closed.
 *
 * @returns what resolves when both have ended: with the error of the one that ended first, if there was one
 * @throws what opening the server's end throws; the client's is left as it was
 */
export async function joinPipes({ client, server, filter }: JoinedPipes): Promise<{
  readonly ended: Promise<Error | undefined>
}> {
  let resolveEnded: (error: Error | undefined) => void = () => {}
  const ended = new Promise<Error | undefined>((resolve) => {
    resolveEnded = resolve
  })
  const end = (other: MessagePipe) => (error: Error | undefined) => {
    void other.close().then(() => resolveEnded(error))
  }
  // What cannot be sent because the end was reached is told by that end.
  const pass = async (
    way: { readonly on: MessagePipe; readonly back: MessagePipe },
    { forward, answer }: { readonly forward?: Uint8Array; readonly answer?: Uint8Array },
  ): Promise<void> => {
    if (answer !== undefined) await way.back.send(answer).catch(() => {})
    if (forward !== undefined) await way.on.send(forward).catch(() => {})
  }
  await server.open({
    message: (message) =>
      pass({ on: client, back: server }, filter?.toClient(message) ?? { forward: message }),
    closed: end(client),
  })
  await client.open({
    message: (message) =>
      pass({ on: server, back: client }, filter?.toServer(message) ?? { forward: message }),
    closed: end(server),
  })
  return { ended }
}
