import type { NatsConnection } from '@nats-io/transport-node'
import { SubrosaError } from '../../base/errors.ts'

/**
 * Listens for errors of the broker: it denies a publish in no other way.
 *
 * @returns what throws the first one that has come, if any: SubrosaError ERR_CONNECTION
 *
 * @example
 * ```ts
 * const assertAllowed = watchDenials(nc)
 * await nc.flush()
 * assertAllowed()
 * ```
 */
export function watchDenials(nc: NatsConnection): () => void {
  let denial: Error | undefined
  void (async () => {
    for await (const status of nc.status()) if (status.type === 'error') denial ??= status.error
  })()
  return () => {
    if (denial !== undefined) throw deniedByBroker(denial)
  }
}

function deniedByBroker(error: Error): SubrosaError {
  return new SubrosaError('ERR_CONNECTION', `the broker has sent an error: ${error.message}`, {
    hint: 'the login may allow less than the identity does: issue both anew with subrosa agent add NAME --renew',
  })
}
