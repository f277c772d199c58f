import { engineFor } from '../crypto/engine.ts'
import { type IdentityClaims, isAgentName, verifyToken } from '../identity/token.ts'
import { isThere, listFolder, readFileIfAny } from './files.ts'
import { agentPaths, realmLayout, revocationPath } from './layout.ts'
import type { Realm } from './realm.ts'
import { damaged, type RevocationRecord, readRevocation } from './revocation-records.ts'

const TOKENS = '.jwt'

/** What stands in the file `adding` for a key that is made here. */
export const KEY_MADE_HERE = 'here'

/** An agent, as the realm's folder knows it. */
export interface AgentRecord {
  /** What the authority signed last. Times are seconds since 1970. */
  readonly claims: IdentityClaims
  /** Its identity tokens that may not have expired, the newest first. */
  readonly tokens: readonly string[]
  /** When the last of its tokens expires, in seconds since 1970. */
  readonly lastExpiresAt: number
  /** The revocation that covers all of its tokens, where there is one. */
  readonly revocation: RevocationRecord | undefined
}

/**
 * The agents that have been added to a realm, by name.
 *
 * @throws SubrosaError ERR_SETUP, ERR_TOKEN_INVALID or ERR_UNKNOWN_AUTHORITY when a record is damaged
 */
export async function listAgents(realm: Realm): Promise<readonly AgentRecord[]> {
  const agents: AgentRecord[] = []
  for (const file of await listFolder(realmLayout(realm.dir).agents)) {
    if (!file.endsWith(TOKENS)) continue
    const name = file.slice(0, -TOKENS.length)
    const agent = isAgentName(name) ? await findAgent(realm, name) : undefined
    if (agent !== undefined) agents.push(agent)
  }
  return agents
}

/**
 * One agent of a realm, or `undefined` where none has this name.
 *
 * @throws as {@link listAgents}
 */
export async function findAgent(realm: Realm, name: string): Promise<AgentRecord | undefined> {
  const path = agentPaths(realm.dir, name).tokens
  const text = await readFileIfAny(path)
  if (text === undefined) return undefined
  const engine = engineFor()
  const tokens = text.split('\n').filter((line) => line !== '')
  const all = tokens.map((token) => verifyToken(engine, token, realm.authority))
  const [claims] = all
  if (claims === undefined || all.some((other) => other.name !== name || other.identity !== claims.identity))
    throw damaged(path)
  const lastExpiresAt = Math.max(...all.map(({ expiresAt }) => expiresAt))
  const revocation = await readRevocation(revocationPath(realm.dir, name, claims.identity))
  const isCovered =
    revocation !== undefined &&
    revocation.since >= claims.issuedAt * 1000 &&
    revocation.until >= lastExpiresAt * 1000
  return { claims, tokens, lastExpiresAt, revocation: isCovered ? revocation : undefined }
}

/**
 * Of an agent whose adding was cut short, where its key was to come from: {@link KEY_MADE_HERE}, or the public key that was
 * made elsewhere. `undefined` for every other one. Its login is written last.
 *
 * @throws SubrosaError ERR_SETUP
 */
export async function cutShort(realm: Realm, name: string): Promise<string | undefined> {
  const { adding, creds } = agentPaths(realm.dir, name)
  const text = await readFileIfAny(adding)
  return text === undefined || (await isThere(creds)) ? undefined : text.trim()
}
