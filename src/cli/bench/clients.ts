import type { Logger } from '../../base/logger.ts'
import { openBroker } from '../realm/broker.ts'
import { type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { joinRealm } from '../realm/join.ts'
import { leave } from '../realm/realm-visit.ts'
import { openLog } from '../terminal/log.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { BenchClient } from './client.ts'
import { plainClient } from './plain-client.ts'
import { sealedClient } from './sealed-client.ts'

/** Which clients, and what for. */
export interface ClientsOptions extends BrokerOptions {
  readonly clients: number
  readonly plain?: true
}

/**
 * Opens the clients of a benchmark, does the task, and closes them. Each is a connection of its own, and where it seals
 * an instance of its own of the agent.
 *
 * @param purpose what the broker calls the connections, where nobody says it
 * @throws what joinRealm, openBroker and the task throw, RangeError for more clients than the token allows instances
 */
export async function withClients(
  terminal: Terminal,
  options: ClientsOptions,
  {
    purpose,
    task,
  }: { readonly purpose: string; readonly task: (clients: readonly BenchClient[]) => Promise<void> },
): Promise<void> {
  const clients: BenchClient[] = []
  // What there is to say about the way to the broker is the same for all.
  const silent = { ...terminal, say: () => {} }
  const log = await openLog(terminal, options)
  try {
    while (clients.length < options.clients)
      clients.push(await openClient(clients.length === 0 ? terminal : silent, options, { purpose, log }))
    await task(clients)
  } finally {
    await Promise.all(clients.map((client) => client.leave()))
  }
}

async function openClient(
  terminal: Terminal,
  options: ClientsOptions,
  { purpose, log }: { readonly purpose: string; readonly log: Logger },
): Promise<BenchClient> {
  const { timeoutMs } = givenOptions(terminal, options)
  if (options.plain) return plainClient(await openBroker(terminal, options, purpose), timeoutMs)
  const joined = await joinRealm(terminal, options, { purpose, log })
  const { bus, maxInstances } = joined
  if (options.clients > maxInstances) {
    await leave(joined.nc, bus)
    throw new RangeError(
      `each of --clients is an instance of ${bus.name}, and its token allows ${maxInstances}: have it issued anew with --max-instances`,
    )
  }
  return sealedClient(joined, { timeoutMs, siblings: options.clients - 1 })
}
