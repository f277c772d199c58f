import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { engineFor } from '../crypto/engine.ts'
import { decodeNkey } from '../identity/nkey.ts'
import { generateSigningKey, type SigningKey } from '../identity/signing-key.ts'
import { issueAccountJwt, issueOperatorJwt } from './broker-login.ts'
import { createFile, readFileIfAny } from './files.ts'
import { realmLayout } from './layout.ts'
import { formatServerConfig } from './server-config.ts'
import { makeWhole } from './unfinished.ts'

const FORMAT = 1
const DEFAULT_PORT = 4222
const LOOPBACK_ADDRESS = '127.0.0.1'
const LOOPBACK = ['localhost', LOOPBACK_ADDRESS, '::1']
const HOST_NAME = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/

/** A realm's folder: everything needed to run a realm, the secrets among it. */
export interface Realm {
  /** The folder, absolute. */
  readonly dir: string
  /** What the realm is called: the public key of its first authority, `A…`. */
  readonly key: string
  /** The public keys of its authorities: the `trust.authority` of its agents. */
  readonly authority: readonly string[]
  /** Where its broker is. */
  readonly server: string
}

/** Options of {@link createRealm}. */
export interface CreateRealmOptions {
  /** The folder that is made. */
  readonly dir: string
  /**
   * Names and addresses by which others reach the broker. They go into its certificate, and the broker then listens
   * on every interface. Without any it listens on 127.0.0.1.
   */
  readonly hosts?: readonly string[]
  /** The port of the broker. Default 4222. */
  readonly port?: number
  /** The folder of the files that the broker reads, where it runs with copies elsewhere. Default: `dir`. */
  readonly brokerDir?: string
  /** Makes what belongs to the realm besides, such as its rotation services: without it the realm is not whole. */
  readonly furnish?: (realm: Realm) => Promise<unknown>
  readonly clock?: Clock
}

/**
 * Makes a realm: its authority, a certificate authority with a server certificate, and a broker's configuration. Its
 * rotation services, and the plan that names them, are made by `addRotators`.
 *
 * @throws SubrosaError ERR_SETUP when there is a realm already, another command is making one there, or a file cannot be written:
 *   nothing of it is left then, and what a crash has left of one is replaced
 * @throws RangeError when the port or a host is none
 *
 * @example
 * ```ts
 * const realm = await createRealm({ dir: './subrosa-realm', furnish: (made) => addRotators(made, { count: 3 }) })
 * console.log(realm.key)
 * ```
 */
export async function createRealm(options: CreateRealmOptions): Promise<Realm> {
  const { hosts = [], port = DEFAULT_PORT, clock = systemClock } = options
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new RangeError('port must be 1 to 65535')
  for (const host of hosts) {
    if (isIP(host) === 0 && !HOST_NAME.test(host)) throw new RangeError(`${host} is no host name or address`)
  }
  const dir = resolve(options.dir)
  const paths = realmLayout(dir)
  const engine = engineFor()
  const nowMs = clock.now()
  const authority = generateSigningKey(engine, 'A')
  const operator = generateSigningKey(engine, 'O')
  const account = generateSigningKey(engine, 'A')
  // What makes certificates takes longer to load than all the rest.
  const { createCertificateAuthority, issueServerCertificate } = await import('./certificates.ts')
  const ca = await createCertificateAuthority(`subrosa realm ${authority.key.publicKey.slice(0, 12)}`, nowMs)
  const server = await issueServerCertificate(ca, [...new Set([...LOOPBACK, ...hosts])], nowMs)
  const publicHost = hosts.find((host) => !LOOPBACK.includes(host))
  const realm: Realm = {
    dir,
    key: authority.key.publicKey,
    authority: [authority.key.publicKey],
    server: `tls://${urlHost(publicHost ?? LOOPBACK_ADDRESS)}:${port}`,
  }
  const config = brokerConfig({
    dir: resolve(options.brokerDir ?? dir),
    listen: `${publicHost === undefined ? LOOPBACK_ADDRESS : '0.0.0.0'}:${port}`,
    operator: operator.key,
    account: account.key.publicKey,
    nowMs,
  })
  const files = [
    { path: paths.authoritySeed, text: `${authority.seedText}\n`, secret: true },
    { path: paths.operatorSeed, text: `${operator.seedText}\n`, secret: true },
    { path: paths.accountSeed, text: `${account.seedText}\n`, secret: true },
    { path: paths.caCertificate, text: ca.certificate, secret: false },
    { path: paths.caKey, text: ca.key, secret: true },
    { path: paths.serverCertificate, text: server.certificate, secret: false },
    { path: paths.serverKey, text: server.key, secret: true },
    { path: paths.serverConfig, text: config, secret: false },
  ]
  const task = async (): Promise<Realm> => {
    for (const { path, text, secret } of files) await createFile(path, text, { secret })
    await options.furnish?.(realm)
    // The last file: with it the realm is whole.
    await createFile(paths.description, formatDescription(realm), { secret: false })
    return realm
  }
  const parts = [...files.map(({ path }) => path), paths.agents, paths.plans]
  return makeWhole({ dir, parts, task })
}

/**
 * Opens a realm's folder. No secret is read.
 *
 * @throws SubrosaError ERR_SETUP when there is none, or it is damaged
 */
export async function openRealm(dir: string): Promise<Realm> {
  const absolute = resolve(dir)
  const path = realmLayout(absolute).description
  const text = await readFileIfAny(path)
  if (text === undefined) {
    throw new SubrosaError('ERR_SETUP', `there is no realm in ${absolute}`, {
      hint: 'make one with: subrosa init; install an agent of one with: subrosa use FILE; or name its folder with --realm or SUBROSA_REALM',
    })
  }
  const realm = parseDescription(absolute, text)
  if (realm === undefined) throw new SubrosaError('ERR_SETUP', `${path} is damaged, or of a newer version`)
  return realm
}

function brokerConfig(broker: {
  readonly dir: string
  readonly listen: string
  readonly operator: SigningKey
  readonly account: string
  readonly nowMs: number
}): string {
  const { dir, listen, operator, account, nowMs } = broker
  const { serverCertificate, serverKey, jetStream } = realmLayout(dir)
  const engine = engineFor()
  const options = { signer: operator, issuedAtMs: nowMs }
  const grant = (name: string, publicKey: string, hasStreams: boolean) => ({
    publicKey,
    jwt: issueAccountJwt(engine, { name, publicKey, hasStreams }, options),
  })
  return formatServerConfig({
    listen,
    certificate: serverCertificate,
    key: serverKey,
    jetStream,
    operatorJwt: issueOperatorJwt(engine, 'subrosa', options),
    systemAccount: grant('SYS', generateSigningKey(engine, 'A').key.publicKey, false),
    account: grant('agents', account, true),
  })
}

function urlHost(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host
}

/** The text of the file that says what a realm is called and where its broker is. */
export function formatDescription({ key, authority, server }: Omit<Realm, 'dir'>): string {
  return `${JSON.stringify({ format: FORMAT, realm: key, authority, server }, null, 2)}\n`
}

function parseDescription(dir: string, text: string): Realm | undefined {
  try {
    const { format, realm, authority, server } = JSON.parse(text) as Record<string, unknown>
    if (format !== FORMAT || typeof realm !== 'string' || typeof server !== 'string') return undefined
    if (!Array.isArray(authority) || authority[0] !== realm) return undefined
    const keys = authority.map(String)
    for (const key of keys) decodeNkey('A', key)
    return { dir, key: realm, authority: keys, server }
  } catch {
    return undefined
  }
}
