import { SubrosaError } from '../../base/errors.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { findAgent, listAgents } from '../../setup/agent-records.ts'
import { MAX_LIFETIME_MS } from '../../setup/agents.ts'
import { listFolder } from '../../setup/files.ts'
import { agentPaths, realmLayout } from '../../setup/layout.ts'
import type { Realm } from '../../setup/realm.ts'
import { addRotator, ROTATOR_NAME } from '../../setup/rotators.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { whenShown } from '../terminal/times.ts'

const DAY_MS = 86_400_000

/** The rotation services of a plan that is made. */
export interface NamedRotators {
  /** Their public keys, in the order of the names. */
  readonly keys: readonly string[]
  /** Those that were not there before. */
  readonly added: readonly string[]
}

/**
 * The public keys of rotation services by name. Those that are not there yet are added.
 *
 * @throws SubrosaError ERR_SETUP for an agent that is none, ERR_REVOKED for one that is revoked
 */
export async function rotatorKeys(realm: Realm, names: readonly string[]): Promise<NamedRotators> {
  // First all that may be refused: then nothing was added.
  const known = await Promise.all(names.map((name) => knownKey(realm, name)))
  const keys: string[] = []
  const added: string[] = []
  for (const [i, name] of names.entries()) {
    const key = known[i]
    keys.push(key ?? (await addRotator(realm, name)))
    if (key === undefined) added.push(name)
  }
  return { keys, added }
}

async function knownKey(realm: Realm, name: string): Promise<string | undefined> {
  const agent = await findAgent(realm, name)
  if (agent === undefined) return undefined
  if (agent.revocation !== undefined)
    throw new SubrosaError('ERR_REVOKED', `${name} is revoked: it counts in no plan`, {
      hint: 'take another name for the rotation service in its place',
    })
  if (!agent.claims.roles.includes('rotator'))
    throw new SubrosaError('ERR_SETUP', `${name} is an agent, and no rotation service`, {
      hint: 'take a name that is free: an identity of its own is made for it',
    })
  return agent.claims.identity
}

/** A name that no rotation service has had. */
export async function freeRotatorName(realm: Realm): Promise<string> {
  const taken = new Set(await listFolder(realmLayout(realm.dir).agents))
  for (let number = 2; ; number++) {
    const name = `${ROTATOR_NAME}-${number}`
    if (!taken.has(`${name}.jwt`)) return name
  }
}

/** Says what new rotation services need. */
export function sayNewRotators(
  terminal: Terminal,
  realm: Realm,
  { names, planPath }: { readonly names: readonly string[]; readonly planPath: string },
): void {
  for (const name of names) {
    const { identity, creds } = agentPaths(realm.dir, name)
    const { description, caCertificate } = realmLayout(realm.dir)
    note(terminal, `added ${name}: its host needs these files, in a folder like this one`)
    note(terminal, `  ${identity}   secret: who it is`)
    note(terminal, `  ${creds}   secret: its login to the broker`)
    for (const path of [planPath, description, caCertificate]) note(terminal, `  ${path}`)
    note(terminal, `there: subrosa rotator begin --as ${name}; subrosa rotator --as ${name}`)
  }
}

/**
 * Which rotation services of a plan end before it does, with their tokens and logins, and how to renew them; `undefined` where none
 * does, or where a new one would hardly last longer.
 */
export async function rotatorsReminder(
  realm: Realm,
  { version, rotators, until }: HeldPlan,
  nowMs: number,
): Promise<string | undefined> {
  const lastsMs = Math.min(until - nowMs, MAX_LIFETIME_MS)
  const ending = (await listAgents(realm)).filter(
    ({ claims, revocation }) =>
      revocation === undefined &&
      rotators.includes(claims.identity) &&
      claims.expiresAt * 1000 + DAY_MS < nowMs + lastsMs,
  )
  if (ending.length === 0) return undefined
  const days = Math.min(Math.ceil(lastsMs / DAY_MS), Math.floor(MAX_LIFETIME_MS / DAY_MS))
  const ends = ending.map(({ claims }) => `${claims.name} ends at ${whenShown(claims.expiresAt * 1000)}`)
  const commands = ending.map(
    ({ claims }) => `subrosa agent add ${claims.name} --renew --expires ${days}d --realm ${realm.dir}`,
  )
  return `warning: ${ends.join(', ')}, before plan ${version} does: ${commands.join('; ')}`
}
