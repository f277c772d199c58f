import { setImmediate as turn } from 'node:timers/promises'
import { SubrosaError } from '../../base/errors.ts'
import { Queue } from '../../base/queue.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import type { Session } from '../realm/realm-visit.ts'

/** What is received, and until when. */
export interface DeliveryOptions {
  readonly subjects: readonly string[]
  readonly queue: string | undefined
  /** Ends it when nothing has come for so many milliseconds. */
  readonly waitMs?: number | undefined
  /** Called when everything that is sent from now on is received. */
  readonly onReady: () => void
}

/**
 * What comes on several subjects, in one line, until this process is asked to end.
 *
 * @throws SubrosaError ERR_SUBSCRIBE_DENIED, ERR_CONNECTION when the broker ends it
 */
export async function* deliveries(
  { bus, interrupted }: Session,
  { subjects, queue: group, waitMs, onReady }: DeliveryOptions,
): AsyncIterable<SecureMessage> {
  const messages = new Queue<SecureMessage>()
  void bus.closed().then((cause) => messages.end(connectionEnded(cause)))
  void interrupted.then(() => {
    messages.clear()
    messages.end()
  })
  let silence: NodeJS.Timeout | undefined
  const listen = (): void => {
    clearTimeout(silence)
    if (waitMs !== undefined) silence = setTimeout(() => messages.end(), waitMs)
  }
  const subscriptions = subjects.map((subject) =>
    bus.subscribe(subject, {
      ...(group !== undefined && { queue: group }),
      callback: (error, message) => {
        if (error !== undefined) return messages.end(error)
        listen()
        messages.push(message)
      },
    }),
  )
  try {
    await Promise.race([bus.flush(), interrupted])
    // A denial came before the answer to the flush, and is heard now.
    await turn()
    if (subscriptions.every((subscription) => !subscription.isClosed())) onReady()
    listen()
    for (;;) {
      const { value, done } = await messages.next()
      if (done === true) return
      yield value
    }
  } finally {
    clearTimeout(silence)
    for (const subscription of subscriptions) subscription.unsubscribe()
  }
}

/** The broker ended the connection, and nobody here did. */
export function connectionEnded(cause: Error | undefined): SubrosaError {
  return new SubrosaError('ERR_CONNECTION', 'the broker ended the connection', {
    hint: 'the login may have expired: subrosa agent add NAME --renew',
    cause,
  })
}
