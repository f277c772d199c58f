import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'

/** What to do with what arrives. */
export interface Taker {
  readonly queue?: string | undefined
  readonly take: (message: NatsMessage) => void
  readonly onError: (error: unknown) => void
  /** The server refuses the subscription. Not every client line says so in `closed`. */
  readonly onRefused?: (error: Error) => void
}

/**
 * Subscribes with a callback that cannot throw: a throw there ends the connection's read loop, for every other
 * subscription too, without a word.
 */
export function subscribeSafely(nc: NatsLike, subject: string, taker: Taker): NatsSubscription {
  const { queue, take, onError, onRefused } = taker
  return nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, message) => {
      if (error !== null) {
        onRefused?.(error)
        return
      }
      try {
        take(message)
      } catch (cause) {
        onError(cause)
      }
    },
  })
}
