import type { Filtered, MessageFilter } from './filter.ts'
import type { MessagePipe } from './pipe.ts'

type Give = (message: Uint8Array) => void | Promise<void>

/** A pipe to a server with a filter in front of it, which decides on each message on its way. */
export function filteredPipe(server: MessagePipe, filter: MessageFilter): MessagePipe {
  // What cannot be said to the server because it is gone is told by its end.
  const toServer: Give = (message) => server.send(message).catch(() => {})
  let toClient: Give = () => {}
  return {
    async open(sink) {
      toClient = sink.message
      await server.open({
        message: (message) => handOn(filter.toClient(message), toClient, toServer),
        closed: sink.closed,
      })
    },
    send: (message) => handOn(filter.toServer(message), (forward) => server.send(forward), toClient),
    close: (error) => server.close(error),
  }
}

async function handOn({ forward, answer }: Filtered, onward: Give, back: Give): Promise<void> {
  if (answer !== undefined) await back(answer)
  if (forward !== undefined) await onward(forward)
}
