import { readFile } from 'node:fs/promises'
import { connect, credsAuthenticator, errors, type NatsConnection } from '@nats-io/transport-node'
import { utf8 } from '../bytes.ts'
import { SubrosaError } from '../errors.ts'

const CONNECT_TIMEOUT_MS = 5000

/** A login to a broker. */
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
}

/**
 * Connects to a broker by TLS. There is no connection without: the server's certificate is checked first.
 *
 * @throws SubrosaError ERR_CONNECTION that says what is in the way, ERR_SETUP without a certificate authority
 */
export async function connectBroker(login: BrokerLogin): Promise<NatsConnection> {
  const { server, creds, name, reconnect = false } = login
  const ca = await readCertificate(login.caPath)
  try {
    return await connect({
      servers: server,
      name,
      tls: { ca },
      authenticator: credsAuthenticator(utf8(creds)),
      timeout: CONNECT_TIMEOUT_MS,
      reconnect,
      ...(reconnect ? { maxReconnectAttempts: -1 } : {}),
    })
  } catch (cause) {
    throw connectionError(server, login.caPath, cause)
  }
}

async function readCertificate(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new SubrosaError('ERR_SETUP', `cannot read the certificate authority ${path}`, { cause })
  }
}

function connectionError(server: string, caPath: string, cause: unknown): SubrosaError {
  const { what, hint } = explain(cause, caPath)
  return new SubrosaError('ERR_CONNECTION', `cannot connect to ${server}: ${what}`, { hint, cause })
}

interface Explanation {
  readonly what: string
  readonly hint: string
}

function explain(cause: unknown, caPath: string): Explanation {
  const code = systemCode(cause)
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
    return {
      what: 'its certificate is not of this realm',
      hint: `another server answers there, or it was set up with another certificate authority than ${caPath}`,
    }
  }
  if (cause instanceof Error && cause.message.includes("does not support 'tls'")) {
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

function isUntrusted(code: string): boolean {
  return /^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|CERT_|ERR_TLS_|ERR_SSL_|INVALID_CA)/.test(code)
}

/** The code of the error, or of the one underneath. */
function systemCode(error: unknown): string {
  if (!(error instanceof Error)) return ''
  if ('code' in error && typeof error.code === 'string') return error.code
  return systemCode(error.cause)
}
