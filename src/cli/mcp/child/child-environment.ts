import { InvalidArgumentError } from 'commander'
import { SubrosaError } from '../../../base/errors.ts'
import type { Terminal } from '../../terminal/terminal.ts'

/** What programs need to run at all, and what is nobody's secret. */
const HANDED_ON = [
  'HOME',
  'LANG',
  'LC_ALL',
  'LC_CTYPE',
  'LOGNAME',
  'PATH',
  'SHELL',
  'TERM',
  'TMPDIR',
  'TZ',
  'USER',
]

/**
 * The environment of an MCP server: a few variables that hold no secrets, and those that are named. Nothing else of this
 * process's environment reaches it, and so no login or key of subrosa's.
 *
 * @throws SubrosaError ERR_SETUP when a variable that is named is not there
 */
export function childEnvironment(
  env: Terminal['env'],
  names: readonly string[] = [],
): Readonly<Record<string, string>> {
  const given: Record<string, string> = {}
  for (const name of [...HANDED_ON, ...names]) {
    const value = env[name]
    if (value !== undefined) given[name] = value
    else if (names.includes(name))
      throw new SubrosaError('ERR_SETUP', `the variable ${name} is not set`, {
        hint: 'set it in the environment of this command: --env hands it on to the MCP server',
      })
  }
  return given
}

/**
 * The name of a variable to hand on, added to those before it: what `--env` takes.
 *
 * @throws SubrosaError ERR_SETUP for a name with a value
 * @throws InvalidArgumentError for anything else that is no name
 */
export function collectVariables(text: string, before: readonly string[] = []): readonly string[] {
  // No error of commander's: it would repeat the value.
  if (text.includes('='))
    throw new SubrosaError('ERR_SETUP', 'the value of a variable does not belong on a command line', {
      hint: 'others can see it there: name the variable alone, and set it in the environment of this command',
    })
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(text))
    throw new InvalidArgumentError('Use the name of an environment variable.')
  return [...before, text]
}
