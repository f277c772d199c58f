import { covers } from '../identity/subject.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'

/** What to do with what arrives. */
export interface Taker {
  readonly queue?: string | undefined
  readonly take: (message: NatsMessage) => void
  readonly onError: (error: unknown) => void
  /** Called for a message on a subject that the pattern does not cover. It is not taken. */
  readonly onMisrouted: (message: NatsMessage) => void
  /** The server refuses the subscription. Not every client line says so in `closed`. */
  readonly onRefused?: (error: Error) => void
}

/**
 * Subscribes, and takes only what was subscribed to. This is the one gate through which everything comes that leaves the
 * NATS client, for the protocol's own subjects too. SPEC, "Opening", step 1.
 *
 * - A server names a subject and a subscription id with each message, and clients dispatch by the id alone: a broker
 *   hands any message to any handler by writing another id. Here the subject must match the pattern, before anything
 *   is looked at.
 * - The callback cannot throw: a throw there ends the connection's read loop, for every other subscription too, without
 *   a word.
 */
export function subscribeSafely(nc: NatsLike, pattern: string, taker: Taker): NatsSubscription {
  const { queue, take, onError, onMisrouted, onRefused } = taker
  let covered: string | undefined
  return nc.subscribe(pattern, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, message) => {
      if (error !== null) {
        onRefused?.(error)
        return
      }
      try {
        const { subject } = message
        // Most messages of a subscription come on the subject of the one before.
        if (subject !== covered && !covers(pattern, subject)) return onMisrouted(message)
        covered = subject
        take(message)
      } catch (cause) {
        onError(cause)
      }
    },
  })
}
