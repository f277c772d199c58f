import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { engineFor } from '../../crypto/engine.ts'
import { readSecretFile } from '../../identity/keyfiles/key-file.ts'
import { readKey } from '../../identity/keyfiles/secret-source.ts'
import { isAgentName } from '../../identity/token.ts'
import { type Bundle, parseBundle } from '../../setup/bundle.ts'
import { readFileIfAny } from '../../setup/files.ts'
import { installBundle } from '../../setup/install.ts'
import {
  type AgentHome,
  chooseDefault,
  defaultAgent,
  type InstalledAgent,
  type InstalledRecord,
  listInstalled,
} from '../../setup/installed.ts'
import { agentHome } from '../realm/agent-home.ts'
import { toSource } from '../realm/public-key.ts'
import { parseServers } from '../realm/server-address.ts'
import { addExamples, passphraseOption } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { whenShown } from '../terminal/times.ts'

interface UseOptions {
  readonly key?: string
  readonly passphrase?: string
  readonly realm?: string
  readonly replace?: true
}

/** Registers `subrosa use`. */
export function registerUse(program: Command, terminal: Terminal): void {
  const command = program
    .command('use')
    .description('install a bundle for this user, or choose which installed agent commands are by default')
    .argument('[bundle]', 'the file, or the name of an agent that is installed; without one they are listed')
    .option('--key <source>', 'the private key, where it was made elsewhere: a file or env:NAME')
    .addOption(passphraseOption())
    .option('--realm <key>', 'of agents with one name that of this realm, by its key or how that begins')
    .addOption(
      new Option(
        '--replace',
        'take what the bundle says of a realm that is installed already, or an older token',
      ),
    )
    .action((bundle: string | undefined, options: UseOptions) => use(terminal, bundle, options))
  addExamples(command, 'subrosa use laptop.subrosa', 'subrosa use', 'subrosa use laptop')
}

async function use(terminal: Terminal, what: string | undefined, options: UseOptions): Promise<void> {
  const home = agentHome(terminal.env)
  if (what === undefined) return list(terminal, home)
  const named = isAgentName(what) ? (await listInstalled(home)).filter(({ name }) => name === what) : []
  if (named.length > 0) return choose(terminal, home, only(named, options))
  return install(terminal, home, { path: what, options })
}

async function list(terminal: Terminal, home: AgentHome): Promise<void> {
  const agents = await listInstalled(home)
  if (agents.length === 0) {
    note(terminal, `no agent is installed in ${home.root}; install one with: subrosa use FILE`)
    return
  }
  const standard = await defaultAgent(home)
  const rows = agents.map(({ realm, name, claims }) => [
    name,
    name === standard?.name && realm.key === standard.realm ? 'yes' : '-',
    whenShown(claims.expiresAt * 1000),
    hostsOf(realm),
    realm.key,
  ])
  for (const line of formatTable([['AGENT', 'DEFAULT', 'EXPIRES', 'BROKER', 'REALM'], ...rows]))
    terminal.data(line)
}

/** @throws SubrosaError ERR_SETUP unless exactly one is meant */
function only(agents: readonly InstalledRecord[], { realm: begin = '' }: UseOptions): InstalledRecord {
  const [found, ...others] = agents.filter(({ realm }) => realm.key.startsWith(begin))
  if (found !== undefined && others.length === 0) return found
  const realms = agents.map(({ realm }) => realm.key).join(', ')
  throw new SubrosaError('ERR_SETUP', `--realm must name one of the realms with such an agent: ${realms}`, {
    hint: 'how its key begins will do; to install a bundle whose file has this name: subrosa use ./NAME',
  })
}

async function choose(terminal: Terminal, home: AgentHome, { realm, name }: InstalledAgent): Promise<void> {
  const former = await formerDefault(home)
  await chooseDefault(home, { realm: realm.key, name })
  terminal.data(realm.dir)
  sayDefault(terminal, { realm, name }, former)
}

async function install(
  terminal: Terminal,
  home: AgentHome,
  { path, options }: { readonly path: string; readonly options: UseOptions },
): Promise<void> {
  const { key, passphrase, realm: begin = '', replace = false } = options
  const bundle = await readBundle(path)
  const hosts = hostsOf(bundle)
  if (!bundle.claims.realm.startsWith(begin))
    throw new SubrosaError('ERR_SETUP', `${path} is of another realm: ${bundle.claims.realm}`)
  const seed = key === undefined ? undefined : await readKey(toSource(key), passphrase)
  const former = await formerDefault(home)
  const agent = await installBundle(home, bundle, { replace, ...(seed && { seed }) }).finally(() => {
    if (seed !== undefined) engineFor().wipe(seed)
  })
  terminal.data(agent.realm.dir)
  const until = whenShown(bundle.claims.expiresAt * 1000)
  note(terminal, `installed ${agent.name} of realm ${agent.realm.key} until ${until}`)
  note(terminal, `its broker is ${hosts}, its files are in ${agent.realm.dir}`)
  sayDefault(terminal, agent, former)
  if (seed !== undefined)
    note(terminal, 'a copy of its private key is among them, without a passphrase, for this user alone')
  note(terminal, `delete ${path}: it is a secret, and is needed no more`)
}

async function readBundle(path: string): Promise<Bundle> {
  if (isAgentName(path) && (await readFileIfAny(path)) === undefined) {
    throw new SubrosaError('ERR_SETUP', `there is no file ${path}, and no agent of this name is installed`, {
      hint: 'what is installed is shown by: subrosa use',
    })
  }
  return parseBundle(await readSecretFile(path), path)
}

/** The one before, for people: where it cannot be read it is written anew. */
async function formerDefault(home: AgentHome): Promise<string | undefined> {
  try {
    return (await defaultAgent(home))?.name
  } catch (error) {
    if (error instanceof SubrosaError && error.code === 'ERR_SETUP') return undefined
    throw error
  }
}

function sayDefault(terminal: Terminal, { name }: InstalledAgent, former: string | undefined): void {
  const before = former === undefined || former === name ? '' : `; before it was ${former}`
  note(terminal, `commands are ${name} now where nothing else is said${before}`)
}

/** Without a login that may be written into an address. */
function hostsOf({ server }: { readonly server: string }): string {
  return parseServers(server)
    .map(({ host }) => host)
    .join(', ')
}
