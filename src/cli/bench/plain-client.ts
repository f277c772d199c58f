import { setImmediate as turn } from 'node:timers/promises'
import { errors, type NatsConnection } from '@nats-io/transport-node'
import { SubrosaError } from '../../base/errors.ts'
import { connectionEnded } from '../messages/deliveries.ts'
import { watchDenials } from '../realm/denials.ts'
import { leave } from '../realm/realm-visit.ts'
import type { BenchClient } from './client.ts'

/** A client that seals nothing, for comparison: what it publishes is filler, and everybody on the way can read it. */
export function plainClient(nc: NatsConnection, timeoutMs: number): BenchClient {
  const assertAllowed = watchDenials(nc)
  return {
    awaitAudience: async () => {},
    publisher:
      ({ subject, payload }) =>
      (count) => {
        for (let i = 0; i < count; i++) nc.publish(subject, payload)
      },
    requester:
      ({ subject, payload }) =>
      async () => {
        try {
          return (await nc.request(subject, payload, { timeout: timeoutMs })).data.length
        } catch (error) {
          assertAllowed()
          throw requestError(error, subject, timeoutMs)
        }
      },
    subscribe: ({ subject, queue, isAnswering, onMessage, onEnd }) => {
      nc.subscribe(subject, {
        ...(queue !== undefined && { queue }),
        callback: (error, message) => {
          if (error !== null) return onEnd(error)
          if (!isAnswering || message.respond(message.data)) onMessage(message.data.length)
        },
      })
      void nc.closed().then((cause) => onEnd(connectionEnded(cause instanceof Error ? cause : undefined)))
    },
    flush: async () => {
      await nc.flush()
      // A denial came before the answer to the flush, and is heard now.
      await turn()
      assertAllowed()
    },
    leave: () => leave(nc),
  }
}

/** The errors of a sealed request, for the same exit codes. */
function requestError(error: unknown, subject: string, timeoutMs: number): unknown {
  if (error instanceof errors.TimeoutError)
    return new SubrosaError('ERR_TIMEOUT', `no response within ${timeoutMs} ms`)
  if (error instanceof errors.RequestError && error.isNoResponders())
    return new SubrosaError('ERR_NO_RESPONDERS', `nobody subscribes to "${subject}"`)
  return error
}
