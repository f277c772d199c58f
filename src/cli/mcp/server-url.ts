import { InvalidArgumentError } from 'commander'
import { SubrosaError } from '../../base/errors.ts'

/**
 * Reads the URL of an MCP server that is served over Streamable HTTP.
 *
 * @throws InvalidArgumentError for what is no URL of http or https, or holds a login: others can see a command line
 */
export function parseServerUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new InvalidArgumentError('Use the URL of an MCP server, such as http://127.0.0.1:3000/mcp.')
  if (url.username !== '' || url.password !== '')
    throw new InvalidArgumentError('Use --header instead of a login: others can see a command line.')
  if (url.hash !== '') throw new InvalidArgumentError('The URL of an MCP server has no fragment.')
  return url
}

/**
 * Makes sure that what is sent there stays on this machine, or is encrypted on its way: the seal ends here.
 *
 * @throws SubrosaError ERR_SETUP
 */
export function assertSecure({ protocol, hostname }: URL): void {
  const isLoopback = hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)
  if (protocol === 'https:' || isLoopback) return
  throw new SubrosaError('ERR_SETUP', 'what is sent to this MCP server could be read on its way', {
    hint: 'use https, or serve it from the machine that it runs on',
  })
}
