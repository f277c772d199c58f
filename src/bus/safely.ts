import { MAX_CLEAR_HEADER_BYTES } from '../base/limits.ts'
import { covers } from '../base/subject.ts'
import { headerBytes, type MessageHeaders } from './messages/headers.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'

/** Why something goes no further than the gate. */
type GateReason = 'misrouted' | 'headers'

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
  /**
   * The server refuses the subscription, or a broker says so: the client has ended it, and does not make it again, not
   * even after a reconnect. Not every client line says so in `closed`.
   */
  readonly onRefused: (error: Error) => void
}

/** What is published, and who hears that it could not be. */
export interface Publication {
  readonly bytes: Uint8Array
  readonly reply?: string
  readonly headers?: MessageHeaders
  readonly onError: (error: unknown) => void
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
      try {
        if (error !== null) return onRefused(error)
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

/**
 * Publishes what no call of the application waits for: statements, questions, answers, refusals and hints. The client
 * throws for what is larger than the broker says that it takes, which it may change at any time, and on a connection that
 * its owner has drained. Where that would end a timer, a loop or the process, it is reported in place of that.
 *
 * @returns whether it was published
 */
export function publishSafely(nc: NatsLike, subject: string, publication: Publication): boolean {
  const { bytes, onError, ...options } = publication
  try {
    nc.publish(subject, bytes, options)
    return true
  } catch (error) {
    onError(error)
    return false
  }
}

/** Runs one step of several, and reports what it throws: the others follow all the same. */
export function attempt(task: () => void, onError: (error: unknown) => void): void {
  try {
    task()
  } catch (error) {
    onError(error)
  }
}
