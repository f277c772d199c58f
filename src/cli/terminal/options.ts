import { type Command, InvalidArgumentError, Option } from 'commander'
import { isPattern } from '../../base/subject.ts'
import { isSource } from '../../identity/keyfiles/secret-source.ts'
import { AGENT_NAME_RULE, isAgentName } from '../../identity/token.ts'
import type { Terminal } from './terminal.ts'

const DEFAULT_REALM = './subrosa-realm'

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/**
 * Milliseconds of a duration such as `90d`, `5m` or `1h30m`.
 *
 * @throws InvalidArgumentError for anything else, and for nothing at all
 */
export function parseDuration(text: string): number {
  if (!/^(\d+(ms|[smhdw]))+$/.test(text))
    throw new InvalidArgumentError('Use a duration such as 15s, 5m or 90d.')
  let total = 0
  for (const [, count, unit = ''] of text.matchAll(/(\d+)(ms|[smhdw])/g))
    total += Number(count) * (UNITS[unit] ?? 0)
  if (total === 0 || !Number.isSafeInteger(total)) throw new InvalidArgumentError('It is out of bounds.')
  return total
}

/** A port. @throws InvalidArgumentError */
export function parsePort(text: string): number {
  const port = parseCount(text)
  if (port > 65_535) throw new InvalidArgumentError('Ports are 1 to 65535.')
  return port
}

/** A whole number above zero. @throws InvalidArgumentError */
export function parseCount(text: string): number {
  const count = Number(text)
  if (!/^\d+$/.test(text) || count < 1 || !Number.isSafeInteger(count))
    throw new InvalidArgumentError('Use a whole number above zero.')
  return count
}

/** A whole number. @throws InvalidArgumentError */
export function parseAmount(text: string): number {
  const amount = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(amount))
    throw new InvalidArgumentError('Use a whole number.')
  return amount
}

/** One pattern of subjects, added to those before it. @throws InvalidArgumentError */
export function collectPatterns(text: string, before: readonly string[] | undefined): readonly string[] {
  if (!isPattern(text))
    throw new InvalidArgumentError('Use a pattern of subjects such as orders.* or orders.>.')
  return [...(before ?? []), text]
}

/** An option that takes patterns of subjects, and may be given more than once. */
export function patternsOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser(collectPatterns)
}

/** The option that says where the passphrase of a key is. */
export function passphraseOption(): Option {
  return new Option(
    '--passphrase <source>',
    'where the passphrase of an encrypted key is: file:PATH or env:NAME',
  ).argParser(parsePassphraseSource)
}

function parsePassphraseSource(text: string): string {
  if (!isSource(text))
    throw new InvalidArgumentError('Use file:PATH or env:NAME: others can see a command line.')
  return text
}

/** An agent's name. @throws InvalidArgumentError */
export function parseName(text: string): string {
  if (!isAgentName(text)) throw new InvalidArgumentError(`Use ${AGENT_NAME_RULE}.`)
  return text
}

/** The option that names the realm's folder. */
export function realmOption(terminal: Terminal): Option {
  return new Option('--realm <dir>', "the realm's folder; also SUBROSA_REALM").default(
    terminal.env['SUBROSA_REALM'] || DEFAULT_REALM,
  )
}

/** The option that names the broker. */
export function serverOption(): Option {
  return new Option('-s, --server <url>', "where the broker is, when it is not where the realm's folder says")
}

/** Adds examples at the end of a command's help. */
export function addExamples(command: Command, ...examples: readonly string[]): Command {
  const title = examples.length === 1 ? 'Example' : 'Examples'
  return command.addHelpText(
    'after',
    ['', `${title}:`, ...examples.map((example) => `  $ ${example}`)].join('\n'),
  )
}
