import { findInstalled } from '../../setup/installed.ts'
import { agentHome } from '../realm/agent-home.ts'
import { type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import type { Terminal } from '../terminal/terminal.ts'

/**
 * The options of an MCP command, completed with the agent that is installed for the user where neither the command
 * line nor the environment says otherwise. A host starts such a command in any folder, also in one that somebody else
 * has filled: only where nothing is installed does a `./subrosa-realm` count.
 *
 * @param as the agent that the command is where nobody says it; without it the default one
 * @throws SubrosaError ERR_SETUP when that agent is not installed, ERR_KEY_FILE_PERMISSIONS when somebody else could
 *   write what is
 * @throws RangeError for a variable that is none
 *
 * @example
 * ```ts
 * await inRealm(terminal, await mcpOptions(terminal, options, { as: 'files' }), { purpose, task })
 * ```
 */
export async function mcpOptions<Options extends BrokerOptions>(
  terminal: Terminal,
  options: Options,
  { as }: { readonly as?: string } = {},
): Promise<Options> {
  const { realm, as: given, identity, authority, pins } = givenOptions(terminal, options).all
  // A key from elsewhere is not an installed agent, and whoever says whom to trust as well says everything.
  const isAgent = identity === undefined
  if (!isAgent && (authority !== undefined || pins !== undefined)) return options
  const name = given ?? (isAgent ? as : undefined)
  const named = name === undefined ? options : { ...options, as: name }
  if (realm !== undefined) return named
  const installed = await findInstalled(agentHome(terminal.env), name)
  if (installed === undefined) return named
  return { ...named, realm: installed.realm.dir, ...(isAgent && { as: installed.name }) }
}
