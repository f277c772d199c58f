import { dirname, join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import { type IdentityClaims, isAgentName } from '../identity/token.ts'
import { isObject } from '../json/objects.ts'
import { parseStrictJson } from '../json/strict.ts'
import { findAgent, listAgents } from './agent-records.ts'
import { listFolder, readFileIfAny, replaceFile } from './files.ts'
import { agentPaths, realmLayout } from './layout.ts'
import { refuseForeign } from './own-files.ts'
import { openRealm, type Realm } from './realm.ts'

const FORMAT = 1
const REALM_KEY = /^A[A-Z2-7]{55}$/

/** The folder in which a user's agents are installed. */
export interface AgentHome {
  /** Absolute, such as `/srv/ann/.config/subrosa`. */
  readonly root: string
  /** The folders above it that nobody else may write either, or the folder itself could be exchanged. */
  readonly above: readonly string[]
}

/** An agent that a bundle was installed for. */
export interface InstalledAgent {
  /** Its realm, in a folder that is laid out as every realm's. There is no key of an authority in it. */
  readonly realm: Realm
  readonly name: string
}

/** An installed agent, and what its authority says of it. */
export interface InstalledRecord extends InstalledAgent {
  readonly claims: IdentityClaims
}

/** Which agent commands are that do not say it. */
export interface DefaultAgent {
  /** What its realm is called. */
  readonly realm: string
  readonly name: string
}

/** The folder of an installed realm. Its name is the whole key: no realm can take the place of another. */
export function installedRealmDir(home: AgentHome, realm: string): string {
  return join(realmsFolder(home), realm)
}

/**
 * The agent of this name, or without a name the default one. Of several realms with an agent of this name the one of
 * the default counts.
 *
 * @returns `undefined` where no agent is installed at all
 * @throws SubrosaError ERR_SETUP when the agent that is asked for is not installed, or it is not clear which one is
 *   meant; ERR_KEY_FILE_PERMISSIONS when somebody else could write one of the files
 *
 * @example
 * ```ts
 * const agent = await findInstalled({ root: '/srv/ann/.config/subrosa', above: ['/srv/ann/.config'] }, 'files')
 * ```
 */
export async function findInstalled(home: AgentHome, name?: string): Promise<InstalledAgent | undefined> {
  const standard = await defaultAgent(home)
  if (standard !== undefined) {
    const realm = await findInstalledRealm(home, standard.realm)
    const wanted = name ?? standard.name
    if (realm !== undefined && (await findAgent(realm, wanted)) !== undefined)
      return checked({ realm, name: wanted })
  }
  const agents = await listInstalled(home)
  if (agents.length === 0 && standard === undefined) return undefined
  if (name === undefined) throw noDefault(home)
  const [found, ...others] = agents.filter((agent) => agent.name === name)
  if (found === undefined) throw notInstalled(home, name, agents)
  if (others.length > 0) throw ambiguous(name)
  return checked(found)
}

/**
 * Every agent that is installed, by realm and name.
 *
 * @throws SubrosaError ERR_SETUP, ERR_TOKEN_INVALID or ERR_UNKNOWN_AUTHORITY for a file that is damaged,
 *   ERR_KEY_FILE_PERMISSIONS when somebody else could write one
 */
export async function listInstalled(home: AgentHome): Promise<readonly InstalledRecord[]> {
  const realms = realmsFolder(home)
  await refuseForeign([...home.above, home.root, realms])
  const found: InstalledRecord[] = []
  for (const key of await listFolder(realms)) {
    const realm = REALM_KEY.test(key) ? await findInstalledRealm(home, key) : undefined
    if (realm === undefined) continue
    for (const { claims } of await listAgents(realm)) found.push({ realm, name: claims.name, claims })
  }
  return found
}

/** Which agent is the default, where one is. @throws SubrosaError ERR_SETUP, ERR_KEY_FILE_PERMISSIONS */
export async function defaultAgent(home: AgentHome): Promise<DefaultAgent | undefined> {
  const path = defaultPath(home)
  await refuseForeign([...home.above, home.root, path])
  const text = await readFileIfAny(path)
  if (text === undefined) return undefined
  const found = parseDefault(text)
  if (found === undefined) {
    throw new SubrosaError('ERR_SETUP', `${path} is damaged, or of a newer version`, {
      hint: 'to write it anew: subrosa use NAME',
    })
  }
  return found
}

/** Makes an agent that is installed the default. @throws SubrosaError ERR_SETUP when it cannot be written */
export async function chooseDefault(home: AgentHome, { realm, name }: DefaultAgent): Promise<void> {
  const text = `${JSON.stringify({ format: FORMAT, realm, agent: name }, null, 2)}\n`
  await replaceFile(defaultPath(home), text, { secret: true })
}

/**
 * An installed realm, or `undefined` where it is not there in full.
 *
 * @throws SubrosaError ERR_SETUP when it is damaged, ERR_KEY_FILE_PERMISSIONS when somebody else could write in it
 */
export async function findInstalledRealm(home: AgentHome, key: string): Promise<Realm | undefined> {
  const dir = installedRealmDir(home, key)
  const { description, caCertificate, agents, plans } = realmLayout(dir)
  const folders = [...home.above, home.root, realmsFolder(home), dir, dirname(caCertificate), agents, plans]
  await refuseForeign([...folders, description, caCertificate])
  if ((await readFileIfAny(description)) === undefined) return undefined
  const realm = await openRealm(dir)
  if (realm.key !== key) throw new SubrosaError('ERR_SETUP', `${description} is that of another realm`)
  return realm
}

/** The agent, when nobody else could write its files. */
async function checked({ realm, name }: InstalledAgent): Promise<InstalledAgent> {
  const { identity, creds, tokens } = agentPaths(realm.dir, name)
  await refuseForeign([identity, creds, tokens])
  return { realm, name }
}

function noDefault({ root }: AgentHome): SubrosaError {
  return new SubrosaError('ERR_SETUP', `nothing says which of the agents in ${root} this is`, {
    hint: 'name one with --as, or choose one: subrosa use NAME',
  })
}

function notInstalled({ root }: AgentHome, name: string, agents: readonly InstalledAgent[]): SubrosaError {
  const names = [...new Set(agents.map((agent) => agent.name))].join(', ')
  return new SubrosaError('ERR_SETUP', `no agent ${name} is installed in ${root}`, {
    hint: `there are: ${names || 'none'}; install one with: subrosa use FILE; or name the folder of its realm with --realm`,
  })
}

function ambiguous(name: string): SubrosaError {
  return new SubrosaError('ERR_SETUP', `an agent ${name} is installed of several realms`, {
    hint: `name the folder of its realm with --realm, or choose one: subrosa use ${name} --realm KEY`,
  })
}

function realmsFolder({ root }: AgentHome): string {
  return join(root, 'realms')
}

function defaultPath({ root }: AgentHome): string {
  return join(root, 'default.json')
}

function parseDefault(text: string): DefaultAgent | undefined {
  const fields = parseStrictJson(text)
  if (!isObject(fields) || fields['format'] !== FORMAT) return undefined
  const { realm, agent: name } = fields
  if (typeof realm !== 'string' || !REALM_KEY.test(realm)) return undefined
  return typeof name === 'string' && isAgentName(name) ? { realm, name } : undefined
}
