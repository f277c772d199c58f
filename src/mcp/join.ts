import type { MessagePipe } from './pipe.ts'

/** Two pipes that become one. */
export interface JoinedPipes {
  /** The end at which the client speaks. */
  readonly client: MessagePipe
  /** The end at which the server speaks. */
  readonly server: MessagePipe
}

/**
 * Hands on what comes at one end to the other, in both directions, until one of them ends: then the other is closed.
 *
 * @returns what resolves when both have ended: with the error of the one that ended first, if there was one
 * @throws what opening the server's end throws; the client's is left as it was
 */
export async function joinPipes({ client, server }: JoinedPipes): Promise<{
  readonly ended: Promise<Error | undefined>
}> {
  let resolveEnded: (error: Error | undefined) => void = () => {}
  const ended = new Promise<Error | undefined>((resolve) => {
    resolveEnded = resolve
  })
  const sinkOf = (other: MessagePipe) => ({
    // What cannot be sent because that end is reached is told by that end.
    message: (message: Uint8Array) => other.send(message).catch(() => {}),
    closed: (error: Error | undefined) => void other.close().finally(() => resolveEnded(error)),
  })
  await server.open(sinkOf(client))
  await client.open(sinkOf(server))
  return { ended }
}
