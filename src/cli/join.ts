import type { SecureConnection } from '../bus/connection.ts'
import { secure } from '../bus/secure.ts'
import { SubrosaError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { loadIdentity } from '../identity/key-file.ts'
import { agentPaths } from '../setup/layout.ts'
import { openBroker, realmOf, trustOf } from './broker.ts'
import { type BrokerOptions, type GivenOptions, givenOptions } from './broker-options.ts'
import type { Terminal } from './terminal.ts'

/**
 * Connects to the broker and joins the realm as the agent that is named. The connection to the broker ends with the
 * sealed one.
 *
 * @param purpose what the broker calls the connection, where nobody says it
 * @throws what openBroker, trustOf, loadIdentity and secure throw, and SubrosaError ERR_SETUP when nothing says who
 *   this agent is
 */
export async function joinRealm(
  terminal: Terminal,
  options: BrokerOptions,
  purpose: string,
): Promise<SecureConnection> {
  const given = givenOptions(terminal, options)
  const identity = await identityOf(given)
  const trust = await trustOf(terminal, options)
  const nc = await openBroker(terminal, options, purpose)
  try {
    const { state } = given.all
    return await secure(nc, { identity, trust, timeout: given.timeoutMs, ...(state && { state }) })
  } catch (error) {
    await nc.close()
    throw error
  }
}

async function identityOf(given: GivenOptions): Promise<Identity> {
  const { identity, as } = given.all
  if (identity !== undefined)
    return loadIdentity(/^(file|env):/.test(identity) ? identity : `file:${identity}`)
  const realm = await realmOf(given)
  if (realm !== undefined && as !== undefined)
    return loadIdentity(`file:${agentPaths(realm.dir, as).identity}`)
  throw new SubrosaError('ERR_SETUP', 'nothing says which agent this is', {
    hint: "name an agent of the realm's folder with --as, or an identity file with --identity",
  })
}
