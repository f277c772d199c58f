import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Argument, type Command } from 'commander'
import { printableJson } from '../../base/printable.ts'
import { listInstalled } from '../../setup/installed.ts'
import { agentHome } from '../realm/agent-home.ts'
import { givenOptions } from '../realm/broker-options.ts'
import { addExamples, parseName } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { addConnectOptions, type ConnectOptions, connectArguments } from './connect-options.ts'
import { HOST, HOSTS, type Host, type HostName, hostConfig, type Launch } from './hosts.ts'

/** The built program, from its sources as well as from what is built of them. */
const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

interface ConfigOptions extends ConnectOptions {
  readonly as?: string
  readonly realm?: string
  readonly local?: true
}

/** Registers `subrosa mcp config`. */
export function registerMcpConfig(mcp: Command, terminal: Terminal): void {
  const command = mcp
    .command('config')
    .description('print what to paste into the configuration of an MCP host')
    .addArgument(new Argument('<host>', 'the host').choices(HOSTS))
    .argument('<server...>', 'the MCP servers', collectNames)
    .option('--as <name>', 'which installed agent to be (default: the one that subrosa use shows)', parseName)
    .option('--realm <dir>', "the realm's folder, where nothing is installed")
    .option('--local', 'start this very program and this Node by their paths, without npx')
    .action((host: HostName, servers: readonly string[], options: ConfigOptions) =>
      config(terminal, HOST[host], { servers, options }),
    )
  addConnectOptions(command)
  addExamples(
    command,
    'subrosa mcp config claude files',
    'subrosa mcp config vscode files notes --pin-tools --refuse sampling',
    'subrosa mcp config cursor files --as laptop --local',
  )
}

/** One name of a server, added to those before it. @throws InvalidArgumentError */
function collectNames(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), parseName(text)]
}

async function config(
  terminal: Terminal,
  host: Host,
  { servers, options }: { readonly servers: readonly string[]; readonly options: ConfigOptions },
): Promise<void> {
  const launches = new Map(servers.map((server) => [server, launchOf(terminal, host, { server, options })]))
  terminal.data(printableJson(hostConfig(host, launches)))
  note(terminal, `this goes into the configuration of ${host.title}: ${host.places(process.platform)}`)
  note(terminal, `where "${host.member}" is there already, add the entries to it`)
  note(terminal, `then: ${host.check}`)
  note(terminal, `to try it here: subrosa mcp ping ${servers[0]}`)
  if (options.local && MAIN.includes('_npx')) {
    note(
      terminal,
      `warning: ${MAIN} is in the cache of npx, which may be emptied: npm install --global subrosa, and ask again`,
    )
  }
  await warnOfNobody(terminal, options)
}

/** A host starts the program with few variables, and anywhere: what is said here by others is written down. */
function launchOf(
  terminal: Terminal,
  host: Host,
  { server, options }: { readonly server: string; readonly options: ConfigOptions },
): Launch {
  const { all } = givenOptions(terminal, options)
  const args = [
    'mcp',
    'connect',
    server,
    ...(all.realm === undefined ? [] : ['--realm', resolve(all.realm)]),
    ...(all.as === undefined ? [] : ['--as', all.as]),
    ...connectArguments(options),
  ]
  const { HOME, XDG_CONFIG_HOME } = terminal.env
  const env = XDG_CONFIG_HOME ? { env: { XDG_CONFIG_HOME } } : {}
  if (options.local) return { command: process.execPath, args: [MAIN, ...args], ...env }
  // Else npx takes a program of this name, and the address of the registry, from the folder that it is started in.
  const prefix = host.startsInWorkspace ? ['--prefix', HOME || homedir()] : []
  return { command: 'npx', args: ['-y', ...prefix, 'subrosa', ...args], ...env }
}

async function warnOfNobody(terminal: Terminal, options: ConfigOptions): Promise<void> {
  const { all } = givenOptions(terminal, options)
  if (all.realm !== undefined) return
  if ((await listInstalled(agentHome(terminal.env))).length > 0) return
  note(
    terminal,
    'warning: no agent is installed for this user yet, and it will find no realm: subrosa use FILE; or give --realm',
  )
}
