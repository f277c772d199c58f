import { SubrosaError } from '../../base/errors.ts'
import type { MessagePipe } from '../pipes/pipe.ts'

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
 * @returns what resolves when both have ended, and all that belongs to them is gone: with the error of the one that ended
 *   first, if there was one
 * @throws what opening the server's end throws; the client's is left as it was
 */
export async function joinPipes({ client, server }: JoinedPipes): Promise<{
  readonly ended: Promise<Error | undefined>
}> {
  let resolveEnded: (error: Error | undefined) => void = () => {}
  const ended = new Promise<Error | undefined>((resolve) => {
    resolveEnded = resolve
  })
  let first: Error | undefined
  const sinkOf = (here: MessagePipe, there: MessagePipe) => ({
    message: (message: Uint8Array) =>
      there.send(message).catch((error: unknown) => {
        if (isEnd(error)) return
        // Somebody waits for what was not sent: nobody must wait in vain.
        first ??= error instanceof Error ? error : undefined
        void here.close(first)
      }),
    closed: (error: Error | undefined) => {
      first ??= error
      // The end that has ended by itself may have something left that is not gone yet.
      void Promise.allSettled([here.close(first), there.close(first)]).then(() => resolveEnded(first))
    },
  })
  await server.open(sinkOf(server, client))
  await client.open(sinkOf(client, server))
  return { ended }
}

/** Whether that end is reached: it says so itself, when what came before was handed on. */
function isEnd(error: unknown): boolean {
  return error instanceof SubrosaError && (error.code === 'ERR_CLOSED' || error.code === 'ERR_MCP_ENDED')
}
