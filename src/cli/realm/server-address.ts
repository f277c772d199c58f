import { SubrosaError } from '../../base/errors.ts'

/** Where NATS's own tools look when nobody says anything. */
export const DEFAULT_SERVER = 'nats://127.0.0.1:4222'

/** One server of a list. */
export interface ServerAddress {
  /** Host and port, without a login. */
  readonly host: string
  /** `undefined` where none was written. */
  readonly scheme: 'nats' | 'tls' | undefined
  readonly isLoopback: boolean
  /** The login that was written into the address. It is a secret. */
  readonly login: { readonly user: string; readonly password: string | undefined } | undefined
}

/**
 * Reads one address or several separated by commas, as `nats --server` takes them.
 *
 * @throws SubrosaError ERR_CONNECTION when one is none; the message quotes no login
 */
export function parseServers(text: string): readonly ServerAddress[] {
  const servers = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseServer)
  if (servers.length === 0) throw unusable('no server is named')
  return servers
}

function parseServer(text: string): ServerAddress {
  const [, written] = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text) ?? []
  const scheme = written?.toLowerCase()
  if (scheme === 'ws' || scheme === 'wss') throw unusable('this command does not connect by WebSocket')
  if (scheme !== undefined && scheme !== 'nats' && scheme !== 'tls')
    throw unusable(`the address of a server does not begin with ${scheme}://`)
  const url = parseUrl(written === undefined ? text : text.slice(written.length + '://'.length))
  const { hostname, host } = url
  if (hostname === '' || !['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '')
    throw none()
  return {
    host,
    scheme,
    isLoopback: hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname),
    login: readLogin(url),
  }
}

function parseUrl(address: string): URL {
  try {
    // This scheme has no port of its own, which a URL would leave out.
    return new URL(`nats://${address}`)
  } catch {
    throw none()
  }
}

function readLogin({ username, password }: URL): ServerAddress['login'] {
  if (username === '') return undefined
  try {
    return {
      user: decodeURIComponent(username),
      password: password === '' ? undefined : decodeURIComponent(password),
    }
  } catch {
    throw none()
  }
}

function none(): SubrosaError {
  return unusable('this is no address of a server')
}

function unusable(message: string): SubrosaError {
  return new SubrosaError('ERR_CONNECTION', message, {
    hint: 'use tls://HOST:PORT or nats://HOST:PORT; several are separated by commas',
  })
}
