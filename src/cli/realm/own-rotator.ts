import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { loadIdentity } from '../../identity/keyfiles/key-file.ts'
import { findAgent } from '../../setup/agent-records.ts'
import { listFolder } from '../../setup/files.ts'
import { agentPaths, realmLayout, rotationRecordPath } from '../../setup/layout.ts'
import { findPlan } from '../../setup/plan-records.ts'
import type { Realm } from '../../setup/realm.ts'
import { parseName } from '../terminal/options.ts'

const IDENTITY = '.identity'

/** Which rotation service of a realm's folder a command is, as far as it is said. */
export interface OwnRotatorOptions {
  readonly as?: string
  readonly identity?: string
  readonly creds?: string
  readonly state?: string
}

/** The files of one rotation service. */
export interface RotatorFiles {
  readonly name: string
  readonly identity: string
  readonly creds: string
  /** The folder of its record. */
  readonly state: string
}

/** The option that names the rotation service. */
export function ownRotatorOption(): Option {
  return new Option(
    '--as <name>',
    'which rotation service of that folder it is; default: the only one whose identity is there',
  ).argParser(parseName)
}

/** The option that says where its record is. */
export function recordOption(command: Command): Command {
  return command.option(
    '--state <dir>',
    "its record, which it must not lose; default: rotation/NAME in the realm's folder",
  )
}

/**
 * The files of the rotation service that a command is.
 *
 * @throws SubrosaError ERR_SETUP when it is not clear which one is meant
 */
export async function findOwnRotator(realm: Realm, options: OwnRotatorOptions): Promise<RotatorFiles> {
  const name = options.as ?? (await onlyRotator(realm, options))
  const paths = agentPaths(realm.dir, name)
  const {
    identity = paths.identity,
    creds = paths.creds,
    state = rotationRecordPath(realm.dir, name),
  } = options
  return { name, identity, creds, state }
}

async function onlyRotator(realm: Realm, { identity }: OwnRotatorOptions): Promise<string> {
  if (identity !== undefined) return (await loadIdentity(`file:${identity}`)).name
  const rotators = await rotatorsIn(realm)
  const { plan } = (await findPlan(realm)) ?? {}
  const planned = rotators.filter(({ key }) => plan?.rotators.includes(key) === true)
  // One that the newest plan does not name any more goes on until its successor has taken over.
  const [found, ...others] = planned.length > 0 ? planned : rotators
  if (found !== undefined && others.length === 0) return found.name
  const { agents } = realmLayout(realm.dir)
  if (found === undefined)
    throw new SubrosaError('ERR_SETUP', `no identity of a rotation service is in ${agents}`, {
      hint: 'subrosa init and subrosa plan make them; or name the file with --identity and --creds',
    })
  const names = [found, ...others].map(({ name }) => name).join(', ')
  throw new SubrosaError('ERR_SETUP', `several rotation services are in ${agents}`, {
    hint: `name one with --as: ${names}`,
  })
}

/** The rotation services whose private keys are in the folder. */
async function rotatorsIn(realm: Realm): Promise<readonly { readonly name: string; readonly key: string }[]> {
  const files = await listFolder(realmLayout(realm.dir).agents)
  const names = files.filter((file) => file.endsWith(IDENTITY)).map((file) => file.slice(0, -IDENTITY.length))
  const found: { readonly name: string; readonly key: string }[] = []
  for (const name of names) {
    // Where only what one service needs was copied, there is no record of its agent.
    const claims =
      (await findAgent(realm, name))?.claims ??
      (await loadIdentity(`file:${agentPaths(realm.dir, name).identity}`)).claims
    if (claims.roles.includes('rotator')) found.push({ name, key: claims.identity })
  }
  return found
}
