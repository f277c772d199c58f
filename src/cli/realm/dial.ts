import { readFile } from 'node:fs/promises'
import {
  type Authenticator,
  connect,
  credsAuthenticator,
  errors,
  type NatsConnection,
} from '@nats-io/transport-node'
import { utf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'

const CONNECT_TIMEOUT_MS = 5000

/** A login to the broker of a realm's folder. */
export interface BrokerLogin {
  readonly server: string
  /** The text of a creds file. It is a secret. */
  readonly creds: string
  /** The certificate authority that must have signed the server's certificate. */
  readonly caPath: string
  /** What the broker calls this connection. */
  readonly name: string
  /** Whether to come back whenever the connection is lost. Default: not at all. */
  readonly reconnect?: boolean
  /** Where answers come in. Default: `_INBOX`, where agents can publish too. */
  readonly inboxPrefix?: string
}

/** Everything that a connection to a broker takes. */
export interface BrokerConnection {
  /** Hosts with their ports. */
  readonly servers: readonly string[]
  /** Nobody logs in without one. */
  readonly authenticator?: Authenticator | undefined
  readonly tls: TlsSettings
  readonly name: string
  readonly timeoutMs: number
  readonly reconnect: boolean
  readonly inboxPrefix?: string | undefined
}

/** How the connection is secured. */
export interface TlsSettings {
  /** Whether a server without TLS is refused. Else TLS is used where the server offers it. */
  readonly isRequired: boolean
  /** Paths. Without a certificate authority those of the system count. */
  readonly caPath?: string | undefined
  readonly certPath?: string | undefined
  readonly keyPath?: string | undefined
  /** Whether TLS begins before the server has said a word. */
  readonly isFirst?: boolean
}

/**
 * Connects to the broker of a realm by TLS. There is no connection without: the server's certificate is checked first.
 *
 * @throws SubrosaError ERR_CONNECTION that says what is in the way, ERR_SETUP without a certificate authority
 */
export async function connectBroker(login: BrokerLogin): Promise<NatsConnection> {
  const { server, creds, caPath, name, reconnect = false, inboxPrefix } = login
  return dialBroker({
    servers: [server],
    authenticator: credsAuthenticator(utf8(creds)),
    tls: { isRequired: true, caPath },
    name,
    timeoutMs: CONNECT_TIMEOUT_MS,
    reconnect,
    inboxPrefix,
  })
}

/**
 * Connects to a broker. A certificate that does not fit ends it, whether or not TLS is required.
 *
 * @throws SubrosaError ERR_CONNECTION that says what is in the way, ERR_SETUP for a file that cannot be read
 */
export async function dialBroker(broker: BrokerConnection): Promise<NatsConnection> {
  const { isRequired, caPath, certPath, keyPath, isFirst = false } = broker.tls
  const tls = {
    ...(caPath !== undefined && { ca: await readTlsFile(caPath, 'the certificate authority') }),
    ...(certPath !== undefined && { cert: await readTlsFile(certPath, 'the certificate') }),
    ...(keyPath !== undefined && { key: await readTlsFile(keyPath, 'the key of the certificate') }),
    ...(isFirst && { handshakeFirst: true }),
  }
  try {
    return await dial(broker, tls)
  } catch (cause) {
    if (isRequired || !hasNoTls(cause)) throw connectionError(broker, cause)
  }
  try {
    return await dial(broker, null)
  } catch (cause) {
    throw connectionError(broker, cause)
  }
}

function dial(
  broker: BrokerConnection,
  tls: NonNullable<Parameters<typeof connect>[0]>['tls'],
): Promise<NatsConnection> {
  const { servers, authenticator, name, timeoutMs, reconnect, inboxPrefix } = broker
  return connect({
    servers: [...servers],
    name,
    tls: tls ?? null,
    timeout: timeoutMs,
    reconnect,
    ...(reconnect && { maxReconnectAttempts: -1 }),
    ...(authenticator !== undefined && { authenticator }),
    ...(inboxPrefix !== undefined && { inboxPrefix }),
  })
}

async function readTlsFile(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot read ${what} ${path}`, { cause })
  }
}

function connectionError(broker: BrokerConnection, cause: unknown): SubrosaError {
  const { servers } = broker
  const { what, hint } = explain(cause, broker)
  return new SubrosaError('ERR_CONNECTION', `cannot connect to ${servers.join(', ')}: ${what}`, {
    hint,
    cause,
  })
}

interface Explanation {
  readonly what: string
  readonly hint: string
}

function explain(cause: unknown, { authenticator, tls: { caPath } }: BrokerConnection): Explanation {
  const code = systemCode(cause)
  if (cause instanceof errors.AuthorizationError && authenticator === undefined) {
    return {
      what: 'the broker asks for a login',
      hint: "give one with --creds, --nkey, --user or --token, or name an agent of the realm's folder with --as",
    }
  }
  if (cause instanceof errors.AuthorizationError || cause instanceof errors.UserAuthenticationExpiredError) {
    return {
      what: 'the broker refuses this login',
      hint: 'the login may have expired (subrosa agent add NAME --renew), or the broker runs for another realm',
    }
  }
  if (code === 'CERT_HAS_EXPIRED') {
    return { what: 'its certificate has expired', hint: 'issue a new one, and compare the clocks' }
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return {
      what: 'its certificate is for other names',
      hint: 'use one of its names, or make the realm with subrosa init --host NAME',
    }
  }
  if (isUntrusted(code)) {
    return caPath === undefined
      ? {
          what: 'no certificate authority that this machine knows has signed its certificate',
          hint: "name the right one with --tlsca, or the realm's folder with --realm",
        }
      : {
          what: 'its certificate is not of this realm',
          hint: `another server answers there, or it was set up with another certificate authority than ${caPath}`,
        }
  }
  if (hasNoTls(cause)) {
    return { what: 'it offers no TLS', hint: 'start it with the nats-server.conf of the realm' }
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return { what: 'no such host', hint: 'check the name, or give the address with --server' }
  }
  if (cause instanceof errors.TimeoutError) {
    return { what: 'no answer in time', hint: 'check the address, and that no firewall is in between' }
  }
  return {
    what: code === 'ECONNREFUSED' ? 'nothing listens there' : 'it does not answer as a NATS server does',
    hint: 'start the broker with: nats-server -c FOLDER/nats-server.conf; or name another one with --server',
  }
}

function hasNoTls(cause: unknown): boolean {
  return cause instanceof Error && cause.message.includes("does not support 'tls'")
}

function isUntrusted(code: string): boolean {
  return /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|ERR_TLS_|ERR_SSL_|INVALID_CA)/.test(code)
}

/** The code of the error, or of the one underneath. */
function systemCode(error: unknown): string {
  if (!(error instanceof Error)) return ''
  if ('code' in error && typeof error.code === 'string') return error.code
  return systemCode(error.cause)
}
