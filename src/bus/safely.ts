import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'

/** What to do with what arrives. */
export interface Taker {
  readonly queue?: string | undefined
  readonly take: (message: NatsMessage) => void
  readonly onError: (error: unknown) => void
}

/**
 * Subscribes with a callback that cannot throw: a throw there ends the connection's read loop, for every other
 * subscription too, without a word.
 */
export function subscribeSafely(nc: NatsLike, subject: string, taker: Taker): NatsSubscription {
  const { queue, take, onError } = taker
  return nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, message) => {
      // An error of the subscription itself ends it, and shows in `closed`.
      if (error !== null) return
      try {
        take(message)
      } catch (cause) {
        onError(cause)
      }
    },
  })
}
