import { type Observation, observeRealm } from '../../bus/realm/observe-realm.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { openBroker, trustOf } from './broker.ts'
import { type BrokerOptions, givenOptions } from './broker-options.ts'

/**
 * Connects to the broker, looks at the realm, and leaves again.
 *
 * @param purpose what the broker calls the connection, where nobody says it
 * @throws what openBroker, trustOf and observeRealm throw
 */
export async function observe(
  terminal: Terminal,
  options: BrokerOptions,
  purpose: string,
): Promise<Observation> {
  const trust = await trustOf(terminal, options)
  const nc = await openBroker(terminal, options, purpose)
  try {
    return await observeRealm(nc, { trust, timeout: givenOptions(terminal, options).timeoutMs })
  } finally {
    await nc.close()
  }
}
