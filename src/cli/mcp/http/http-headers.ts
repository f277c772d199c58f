import { validateHeaderName, validateHeaderValue } from 'node:http'
import { InvalidArgumentError } from 'commander'
import { SubrosaError } from '../../../base/errors.ts'

/** A header whose value stands in a variable of the environment, so that no command line shows it. */
export interface HeaderSource {
  readonly name: string
  readonly variable: string
}

/** Headers that HTTP or MCP itself sets. */
const RESERVED = new Set([
  'accept',
  'connection',
  'content-length',
  'content-type',
  'host',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'transfer-encoding',
])

/**
 * Reads `Authorization=MCP_AUTHORIZATION`, and adds it to those before it.
 *
 * @throws InvalidArgumentError
 */
export function collectHeaders(
  text: string,
  before: readonly HeaderSource[] | undefined,
): readonly HeaderSource[] {
  const [, name = '', variable = ''] = /^([^=]+)=([A-Za-z_][A-Za-z0-9_]*)$/.exec(text) ?? []
  if (!isName(name))
    throw new InvalidArgumentError('Use HEADER=VARIABLE: the value is taken from the environment.')
  if (RESERVED.has(name.toLowerCase())) throw new InvalidArgumentError('MCP sets this header itself.')
  return [...(before ?? []), { name, variable }]
}

/**
 * Takes the values of headers from the environment.
 *
 * @throws SubrosaError ERR_SETUP where a variable is not set, or its value is none for a header; it quotes no value
 */
export function headersFrom(
  sources: readonly HeaderSource[],
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    sources.map(({ name, variable }) => {
      const value = env[variable]
      if (value === undefined || value === '')
        throw new SubrosaError('ERR_SETUP', `the environment has no ${variable}`, {
          hint: `the header ${name} takes its value from it`,
        })
      if (!isValue(name, value))
        throw new SubrosaError('ERR_SETUP', `the value of ${variable} is none for a header`, {
          hint: 'it may hold a line end, or other characters that headers cannot',
        })
      return [name, value]
    }),
  )
}

function isName(name: string): boolean {
  try {
    validateHeaderName(name)
    return true
  } catch {
    return false
  }
}

function isValue(name: string, value: string): boolean {
  try {
    validateHeaderValue(name, value)
    return true
  } catch {
    return false
  }
}
