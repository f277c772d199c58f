import { readFileIfAny } from '../../setup/files.ts'
import { findInstalled } from '../../setup/installed.ts'
import { realmLayout } from '../../setup/layout.ts'
import { openRealm, type Realm } from '../../setup/realm.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { agentHome } from './agent-home.ts'
import type { GivenOptions } from './broker-options.ts'

/** Where the folder of a realm is when nobody says it. */
export const DEFAULT_REALM = './subrosa-realm'

/** The realm that a command is for. */
export interface FoundRealm {
  readonly realm: Realm
  /** Which agent of its folder the command is, where that is said or installed. */
  readonly agent: string | undefined
}

/**
 * The realm whose folder is named; else, where nothing else says whom to trust or the agent is one of a folder, that of
 * `./subrosa-realm`, and where there is none the installed one.
 *
 * @throws SubrosaError ERR_SETUP, ERR_KEY_FILE_PERMISSIONS
 */
export async function findRealm(terminal: Terminal, given: GivenOptions): Promise<FoundRealm | undefined> {
  const { realm: dir, as: agent, authority, pins, identity } = given.all
  if (dir !== undefined) return { realm: await openRealm(dir), agent }
  if (!namesRealm(given) && (authority !== undefined || pins !== undefined)) return undefined
  if (await isRealm(DEFAULT_REALM)) return { realm: await openRealm(DEFAULT_REALM), agent }
  const installed = await findInstalled(agentHome(terminal.env), agent)
  // Whose key comes from elsewhere is not the installed agent, and does not log in as it either.
  if (installed !== undefined)
    return { realm: installed.realm, agent: identity === undefined ? installed.name : agent }
  // It says how to make one.
  return namesRealm(given) ? { realm: await openRealm(DEFAULT_REALM), agent } : undefined
}

/** Whether a realm is named, also by its agent: that is one of a folder, unless its key comes from elsewhere. */
export function namesRealm({ all }: GivenOptions): boolean {
  return all.realm !== undefined || (all.as !== undefined && all.identity === undefined)
}

async function isRealm(dir: string): Promise<boolean> {
  return (await readFileIfAny(realmLayout(dir).description)) !== undefined
}
