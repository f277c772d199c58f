import { homedir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { AgentHome } from '../../setup/installed.ts'
import type { Terminal } from '../terminal/terminal.ts'

/**
 * Where `subrosa use` installs agents: `$XDG_CONFIG_HOME/subrosa`, or `~/.config/subrosa`. Programs that start others
 * often pass on little but HOME, and this needs no more.
 */
export function agentHome({ XDG_CONFIG_HOME: config, HOME }: Terminal['env']): AgentHome {
  // By the XDG Base Directory Specification a path that is not absolute does not count.
  if (config && isAbsolute(config)) return { root: join(config, 'subrosa'), above: [config] }
  const home = HOME || homedir()
  const above = join(home, '.config')
  return { root: join(above, 'subrosa'), above: [home, above] }
}
