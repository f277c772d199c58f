import { setImmediate as turn } from 'node:timers/promises'
import { awaitAudience } from '../messages/audience.ts'
import { connectionEnded } from '../messages/deliveries.ts'
import { watchDenials } from '../realm/denials.ts'
import type { Joined } from '../realm/join.ts'
import { leave } from '../realm/realm-visit.ts'
import type { BenchClient } from './client.ts'

/** How long to wait, and beside whom. */
export interface SealedClientOptions {
  readonly timeoutMs: number
  /** How many other clients of this benchmark are instances of the same agent: they are no audience. */
  readonly siblings: number
}

/** A client that seals everything, as an instance of an agent. */
export function sealedClient({ bus, nc }: Joined, { timeoutMs, siblings }: SealedClientOptions): BenchClient {
  const assertAllowed = watchDenials(nc)
  return {
    awaitAudience: async ({ subject, to }, atLeast) => {
      const readsItself = bus.audience(subject).some(({ instance }) => instance === bus.instance)
      const others = readsItself && atLeast > 0 ? atLeast + siblings : atLeast
      await awaitAudience(bus, subject, { to, atLeast: others, timeoutMs })
    },
    publisher: ({ subject, payload, to, mode }, isBatch) => {
      const options = { mode, ...(to && { to }) }
      if (isBatch)
        return (count) => bus.publishMany(subject, new Array<Uint8Array>(count).fill(payload), options)
      return (count) => {
        for (let i = 0; i < count; i++) bus.publish(subject, payload, options)
      }
    },
    requester: ({ subject, payload, to, mode }) => {
      const options = { mode, timeout: timeoutMs, ...(to && { to }) }
      return async () => {
        try {
          return (await bus.request(subject, payload, options)).data.length
        } catch (error) {
          // That the broker denied the request tells more than that no answer came.
          assertAllowed()
          throw error
        }
      }
    },
    subscribe: ({ subject, queue, isAnswering, onMessage, onEnd }) => {
      bus.subscribe(subject, {
        ...(queue !== undefined && { queue }),
        callback: (error, message) => {
          if (error !== undefined) return onEnd(error)
          if (!isAnswering || message.respond(message.data)) onMessage(message.data.length)
        },
      })
      void bus.closed().then((cause) => onEnd(connectionEnded(cause)))
    },
    flush: async () => {
      await bus.flush()
      // A denial came before the answer to the flush, and is heard now.
      await turn()
      assertAllowed()
    },
    leave: () => leave(nc, bus),
  }
}
