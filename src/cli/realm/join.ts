import type { NatsConnection } from '@nats-io/transport-node'
import { SubrosaError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import { secure } from '../../bus/secure.ts'
import type { Identity } from '../../identity/identity.ts'
import { loadIdentity } from '../../identity/keyfiles/key-file.ts'
import type { TrustOptions } from '../../identity/trust.ts'
import type { KeptPlan } from '../../keys/plan-book.ts'
import { agentPaths } from '../../setup/layout.ts'
import { findPlan } from '../../setup/plan-records.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { openBroker, trustOf } from './broker.ts'
import { type BrokerOptions, type GivenOptions, givenOptions } from './broker-options.ts'
import { findRealm } from './find-realm.ts'

/** An agent in its realm, and the connection that it is on. */
export interface Joined {
  readonly bus: SecureConnection
  readonly nc: NatsConnection
  /** How many instances of the agent the others seal to. */
  readonly maxInstances: number
}

/**
 * Connects to the broker and joins the realm as the agent that is named.
 *
 * @param purpose what the broker calls the connection, where nobody says it
 * @param log where what happens to it is logged
 * @throws what openBroker, trustOf, loadIdentity and secure throw, and SubrosaError ERR_SETUP when nothing says who
 *   this agent is
 */
export async function joinRealm(
  terminal: Terminal,
  options: BrokerOptions,
  { purpose, log }: { readonly purpose: string; readonly log: Logger },
): Promise<Joined> {
  const given = givenOptions(terminal, options)
  const trust = await trustOf(terminal, options)
  const identity = await identityOf(terminal, given, trust)
  const nc = await openBroker(terminal, options, purpose)
  try {
    const { state } = given.all
    const timeout = given.joinTimeoutMs
    const plan = await knownPlan(terminal, given, trust)
    const bus = await secure(nc, {
      identity,
      trust,
      timeout,
      log,
      ...(state && { state }),
      ...(plan && { plan }),
    })
    return { bus, nc, maxInstances: identity.claims.maxInstances }
  } catch (error) {
    await nc.close()
    throw error
  }
}

/** The newest plan of the realm's folder, or of the bundle that was installed. */
async function knownPlan(
  terminal: Terminal,
  given: GivenOptions,
  trust: TrustOptions,
): Promise<KeptPlan | undefined> {
  const { realm } = (await findRealm(terminal, given)) ?? {}
  const isOfRealm = realm !== undefined && 'authority' in trust && trust.authority[0] === realm.key
  return isOfRealm ? (await findPlan(realm))?.kept : undefined
}

async function identityOf(terminal: Terminal, given: GivenOptions, trust: TrustOptions): Promise<Identity> {
  const { as: name, ...texts } = given.all
  const { passphrase } = given
  const key = texts.identity && toSource(texts.identity)
  const token = texts.identityToken && toSource(texts.identityToken)
  const secret = passphrase === undefined ? {} : { passphrase }
  if (key && token) return loadIdentity({ key, token }, secret)
  if (key && name && 'pins' in trust) return loadIdentity({ key, name, realm: trust.realm }, secret)
  if (key) return loadIdentity(key, secret)
  const { realm, agent } = (await findRealm(terminal, given)) ?? {}
  if (realm !== undefined && agent !== undefined)
    return loadIdentity(`file:${agentPaths(realm.dir, agent).identity}`)
  throw new SubrosaError('ERR_SETUP', 'nothing says which agent this is', {
    hint: "name an agent of the realm's folder with --as, or an identity file with --identity",
  })
}

function toSource(text: string): string {
  return /^(file|env):/.test(text) ? text : `file:${text}`
}
