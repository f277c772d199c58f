import { MAX_CLEAR_HEADER_BYTES } from '../base/limits.ts'
import { covers } from '../identity/subject.ts'
import { headerBytes } from './messages/headers.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'

/** Why something goes no further than the gate. */
export type GateReason = 'misrouted' | 'headers'

/** What to do with what arrives. */
export interface Taker {
  readonly queue?: string | undefined
  readonly take: (message: NatsMessage) => void
  readonly onError: (error: unknown) => void
  /**
   * Called for a message on a subject that the pattern does not cover (`misrouted`), and for one with more than 1 KiB of
   * headers in clear (`headers`). It is not taken.
   */
  readonly reject: (reason: GateReason, message: NatsMessage) => void
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
 * - Headers are parsed when they are asked for, in a time that grows with the square of their number: some 100 KB take
 *   seconds, in which nothing else runs. So a message with long ones goes no further.
 * - The callback cannot throw: a throw there ends the connection's read loop, for every other subscription too, without
 *   a word.
 */
export function subscribeSafely(nc: NatsLike, pattern: string, taker: Taker): NatsSubscription {
  const { queue, take, onError, reject, onRefused } = taker
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
        if (subject !== covered && !covers(pattern, subject)) return reject('misrouted', message)
        covered = subject
        if (headerBytes(message) > MAX_CLEAR_HEADER_BYTES) return reject('headers', message)
        take(message)
      } catch (cause) {
        onError(cause)
      }
    },
  })
}
