import { SubrosaError } from '../../base/errors.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { cutShort, findAgent, listAgents } from '../../setup/agent-records.ts'
import { MAX_LIFETIME_MS } from '../../setup/agents.ts'
import { isThere, listFolder } from '../../setup/files.ts'
import { agentPaths, realmLayout } from '../../setup/layout.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import type { Realm } from '../../setup/realm.ts'
import { addRotator, ROTATOR_NAME } from '../../setup/rotators.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { whenShown } from '../terminal/times.ts'

const DAY_MS = 86_400_000

/**
 * The public keys of rotation services by name. Those that are not there yet are added, and so are those whose adding was cut
 * short.
 *
 * @throws SubrosaError ERR_SETUP for an agent that is none, or a service that has neither an identity nor a login; ERR_REVOKED
 *   for one that is revoked
 */
export async function rotatorKeys(
  terminal: Terminal,
  realm: Realm,
  names: readonly string[],
): Promise<readonly string[]> {
  // First all that may be refused: then nothing was added.
  const known = await Promise.all(names.map((name) => knownKey(realm, name)))
  const keys: string[] = []
  for (const [i, name] of names.entries()) {
    const key = known[i]
    keys.push(key ?? (await addRotator(realm, name)))
    // At once: what is refused after this takes nobody away again.
    if (key === undefined) note(terminal, `added ${name}: it acts once a plan names it`)
  }
  return keys
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
  if ((await cutShort(realm, name)) !== undefined) return undefined
  await refuseAbsent(realm, name, agent.claims.identity)
  return agent.claims.identity
}

/** @throws SubrosaError ERR_SETUP for a newcomer of which nothing is here that it could start with */
async function refuseAbsent(realm: Realm, name: string, key: string): Promise<void> {
  const { identity, creds } = agentPaths(realm.dir, name)
  // One whose key was made elsewhere has a login here; the files of one that runs may be on its host alone.
  if ((await isThere(identity)) || (await isThere(creds))) return
  if ((await newestPlan(realm)).plan.rotators.includes(key)) return
  throw new SubrosaError('ERR_SETUP', `neither ${identity} nor ${creds} is there: ${name} could not start`, {
    hint: 'put both back, or take another name for the rotation service',
  })
}

/** A name that no rotation service has had. */
export async function freeRotatorName(realm: Realm): Promise<string> {
  const taken = new Set(await listFolder(realmLayout(realm.dir).agents))
  for (let number = 2; ; number++) {
    const name = `${ROTATOR_NAME}-${number}`
    if (!taken.has(`${name}.jwt`)) return name
  }
}

/** Says what the hosts of rotation services need that the plan before does not name. */
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
