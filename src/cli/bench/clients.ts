import { openBroker } from '../realm/broker.ts'
import { type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { joinRealm } from '../realm/join.ts'
import { leave } from '../realm/realm-visit.ts'
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
  try {
    while (clients.length < options.clients)
      clients.push(
        await openClient(terminal, options, { purpose, opening: clients.length === 0 ? terminal : silent }),
      )
    await task(clients)
  } finally {
    await Promise.all(clients.map((client) => client.leave()))
  }
}

async function openClient(
  terminal: Terminal,
  options: ClientsOptions,
  { purpose, opening }: { readonly purpose: string; readonly opening: Terminal },
): Promise<BenchClient> {
  const { timeoutMs } = givenOptions(terminal, options)
  if (options.plain) return plainClient(await openBroker(opening, options, purpose), timeoutMs)
  const joined = await joinRealm(opening, options, purpose)
  const { bus, maxInstances } = joined
  if (options.clients > maxInstances) {
    await leave(joined.nc, bus)
    throw new RangeError(
      `each of --clients is an instance of ${bus.name}, and its token allows ${maxInstances}: have it issued anew with --max-instances`,
    )
  }
  return sealedClient(terminal, joined, { timeoutMs, siblings: options.clients - 1 })
}
