import type { NatsConnection } from '@nats-io/transport-node'
import { SubrosaError } from '../../base/errors.ts'
import { loadPins } from '../../identity/keyfiles/key-file.ts'
import type { TrustOptions } from '../../identity/trust.ts'
import { agentPaths, realmLayout } from '../../setup/layout.ts'
import type { Realm } from '../../setup/realm.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { type BrokerOptions, type GivenOptions, givenOptions } from './broker-options.ts'
import { loadContext, type NatsContext, selectedContext } from './contexts.ts'
import { dialBroker, type TlsSettings } from './dial.ts'
import { findRealm, namesRealm } from './find-realm.ts'
import { type LoginParts, loginOf } from './logins.ts'
import { DEFAULT_SERVER, parseServers, type ServerAddress } from './server-address.ts'

/** Where a command gets what nobody has said outright. */
interface Sources {
  readonly given: GivenOptions
  readonly context: NatsContext | undefined
  readonly realm: Realm | undefined
  /** The agent of the realm's folder. */
  readonly agent: string | undefined
}

/**
 * Connects to the broker that the command line, the environment, a context or the realm's folder says, in this order.
 *
 * @param purpose what the broker calls the connection, where nobody says it
 * @throws SubrosaError ERR_CONNECTION, ERR_SETUP, ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS, ERR_KEY_INVALID
 * @throws RangeError for a variable that is none
 */
export async function openBroker(
  terminal: Terminal,
  options: BrokerOptions,
  purpose: string,
): Promise<NatsConnection> {
  refuseProxy(terminal)
  const sources = await findSources(terminal, options)
  const { given, context } = sources
  const address = addressOf(sources)
  const servers = parseServers(address.text)
  const authenticator = await findLogin(sources, servers)
  const tls = tlsOf(sources, address.origin, servers)
  if (authenticator !== undefined && !tls.isRequired) warnOfClearLogin(terminal, servers)
  return dialBroker({
    servers: servers.map(({ host }) => host),
    authenticator,
    tls,
    name: given.connectionName ?? purpose,
    timeoutMs: given.joinTimeoutMs,
    reconnect: true,
    inboxPrefix: given.all.inboxPrefix ?? context?.inboxPrefix,
  })
}

/**
 * Whom to trust: the authority or the pins that are given, else the authority of the realm's folder.
 *
 * @throws SubrosaError ERR_SETUP when nothing says it
 * @throws RangeError when both are given
 */
export async function trustOf(terminal: Terminal, options: BrokerOptions): Promise<TrustOptions> {
  const { given, realm } = await findSources(terminal, { ...options, context: false })
  const { authority, pins } = given.all
  if (authority && pins) throw new RangeError('trust is by --authority or by --pins, not by both')
  if (authority) return { authority: authority.split(/[\s,]+/).filter((key) => key !== '') }
  if (pins) return loadPins(pins)
  if (realm !== undefined) return { authority: realm.authority }
  throw new SubrosaError('ERR_SETUP', 'nothing says whom to trust', {
    hint: "install a bundle with: subrosa use FILE; or name the realm's folder with --realm, the authority's public key with --authority, or pins with --pins",
  })
}

async function findSources(terminal: Terminal, options: BrokerOptions): Promise<Sources> {
  const given = givenOptions(terminal, options)
  const found = await findRealm(terminal, given)
  return {
    given,
    context: await contextOf(terminal, given),
    realm: found?.realm,
    agent: found?.agent,
  }
}

/**
 * A context that is named, or the one that is selected. The selected one does not count where a realm or an agent is
 * named: who names a realm means its broker.
 */
async function contextOf(terminal: Terminal, given: GivenOptions): Promise<NatsContext | undefined> {
  if (!given.mayUseContext) return undefined
  const name = given.all.context ?? (namesRealm(given) ? undefined : await selectedContext(terminal.env))
  if (name === undefined) return undefined
  const context = await loadContext(terminal.env, name)
  if (context.unknown.length > 0)
    note(
      terminal,
      `the context ${context.path} has fields that are not known here: ${context.unknown.join(', ')}`,
    )
  return context
}

interface Address {
  readonly text: string
  readonly origin: 'given' | 'context' | 'realm' | 'default'
}

function addressOf({ given, context, realm }: Sources): Address {
  if (given.all.server !== undefined) return { text: given.all.server, origin: 'given' }
  if (context?.url !== undefined) return { text: context.url, origin: 'context' }
  if (realm !== undefined) return { text: realm.server, origin: 'realm' }
  return { text: DEFAULT_SERVER, origin: 'default' }
}

async function findLogin({ given, context, realm, agent }: Sources, servers: readonly ServerAddress[]) {
  const { flags, env, all } = given
  const written = servers.find(({ login }) => login !== undefined)?.login
  const places: readonly LoginParts[] = [
    // A script keeps the password out of the command line: a user from there goes with a password from here.
    { ...flags, password: flags.password ?? env.password },
    env,
    { ...written },
    context === undefined ? {} : contextLogin(context),
    realm === undefined || agent === undefined || all.pins !== undefined
      ? {}
      : { creds: agentPaths(realm.dir, agent).creds },
  ]
  for (const place of places) {
    const login = await loginOf(place)
    if (login !== undefined) return login
  }
  return undefined
}

function contextLogin({ userJwt: jwt, userSeed: seed, ...context }: NatsContext): LoginParts {
  const { user, password, creds, nkey, token } = context
  return { user, password, creds, nkey, token, jwt, seed }
}

/**
 * Where a certificate authority is known, TLS is required. Else it depends on the address: `tls://` asks for it,
 * `nats://` takes what the server offers, and without either only this machine itself may go without.
 */
function tlsOf(
  { given, context, realm }: Sources,
  origin: Address['origin'],
  servers: readonly ServerAddress[],
): TlsSettings {
  const { tlsca, tlscert: certPath = context?.cert, tlskey: keyPath = context?.key } = given.all
  const realmCa = realm && realmLayout(realm.dir).caCertificate
  const known = { given: context?.ca ?? realmCa, context: context?.ca, realm: realmCa, default: undefined }
  const caPath = tlsca ?? known[origin]
  const isFirst = given.tlsFirst || context?.tlsFirst === true
  const mayBeClear = ({ scheme, isLoopback }: ServerAddress): boolean =>
    scheme === 'nats' || (scheme === undefined && isLoopback)
  const isAsked = caPath !== undefined || certPath !== undefined || isFirst
  return { isRequired: isAsked || !servers.every(mayBeClear), caPath, certPath, keyPath, isFirst }
}

/** To connect without the proxy that was asked for could show to others what it should hide. */
function refuseProxy({ env }: Terminal): void {
  if (!env['NATS_SOCKS_PROXY']) return
  throw new SubrosaError('ERR_CONNECTION', 'NATS_SOCKS_PROXY is set, and proxies are not supported here', {
    hint: 'unset it, or forward the port by other means',
  })
}

function warnOfClearLogin(terminal: Terminal, servers: readonly ServerAddress[]): void {
  for (const { host, isLoopback } of servers) {
    if (!isLoopback)
      note(
        terminal,
        `warning: nats://${host} does not insist on TLS: whoever is in between can take over this login; use tls://${host}`,
      )
  }
}
