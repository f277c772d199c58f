import type { IncomingHttpHeaders } from 'node:http'
import { InvalidArgumentError } from 'commander'

/** Where only programs on this machine get. */
export interface LoopbackAddress {
  readonly host: '127.0.0.1' | '::1'
  /** 0 where any free one will do. */
  readonly port: number
}

const MAX_PORT = 65_535
/** As they stand in a URL. */
const NAMES = ['127.0.0.1', '[::1]', 'localhost']

/**
 * Reads an address such as `127.0.0.1:8808`. `localhost` is 127.0.0.1, whatever the system says of it.
 *
 * @throws InvalidArgumentError for every address that other machines may reach
 *
 * @example
 * ```ts
 * const { host, port } = parseLoopback('[::1]:8808')
 * ```
 */
export function parseLoopback(text: string): LoopbackAddress {
  const [, name, digits] = /^(.+):(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (name === undefined || port > MAX_PORT)
    throw new InvalidArgumentError('Use an address and a port, such as 127.0.0.1:8808.')
  if (!NAMES.includes(name))
    throw new InvalidArgumentError('Use 127.0.0.1, [::1] or localhost: what is served is not encrypted.')
  return { host: name === '[::1]' ? '::1' : '127.0.0.1', port }
}

/**
 * Why a request to this port is refused: a web page may have had it sent, under a name of its own that it lets point
 * here (DNS rebinding). So the name must be one of this machine's, and the page, where there is one, from here too.
 *
 * @returns `undefined` where it is not refused
 */
export function refusalOf({ host, origin }: IncomingHttpHeaders, port: number): string | undefined {
  const hosts = NAMES.flatMap((name) => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`]))
  if (host === undefined || !hosts.includes(host.toLowerCase()))
    return 'the Host header does not name this machine and this port'
  if (origin !== undefined && !hosts.some((name) => origin.toLowerCase() === `http://${name}`))
    return 'the Origin header names another place than this'
  return undefined
}
