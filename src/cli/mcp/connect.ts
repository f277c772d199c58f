import { type Command, Option } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { filteredPipe } from '../../mcp/pipes/filtered-pipe.ts'
import type { MessagePipe } from '../../mcp/pipes/pipe.ts'
import { clientGate } from '../../mcp/policy/client-gate.ts'
import { joinPipes } from '../../mcp/session/join.ts'
import { addAgentOptions, type BrokerOptions } from '../realm/broker-options.ts'
import { EXIT_CODES_HELP, reportFailure } from '../terminal/failure.ts'
import { addExamples, parseName } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { watchParent } from './child/parent-watch.ts'
import { StdioPipe } from './child/stdio-pipe.ts'
import { addConnectOptions, type ConnectOptions } from './connect-options.ts'
import { type LoopbackAddress, parseLoopback } from './loopback.ts'
import { mcpOptions } from './mcp-options.ts'
import { pinRoot } from './pins/pin-root.ts'
import { RealmKeeper } from './realm-keeper.ts'
import { serverPipe } from './server-access.ts'

interface Options extends BrokerOptions, ConnectOptions {
  readonly http?: LoopbackAddress
}

/** Leads to the server, for one client alone. */
type OpenServer = () => MessagePipe

/** Registers `subrosa mcp connect`. */
export function registerConnect(mcp: Command, terminal: Terminal): void {
  const command = mcp
    .command('connect')
    .description('stand in for an MCP server on standard input and output, as a host starts it')
    .argument('<name>', 'the server', parseName)
    .addOption(
      new Option(
        '--http <address>',
        'serve Streamable HTTP there instead, for this machine alone; such as 127.0.0.1:8808',
      ).argParser(parseLoopback),
    )
  addConnectOptions(command)
  addAgentOptions(command, 'info').action((name: string, options: Options) =>
    connect(terminal, name, options),
  )
  addExamples(
    command,
    'subrosa mcp connect files',
    'subrosa mcp connect files --pin-tools --refuse sampling,elicitation',
    'subrosa mcp connect files --http 127.0.0.1:8808',
  ).addHelpText('after', EXIT_CODES_HELP)
}

async function connect(terminal: Terminal, server: string, options: Options): Promise<void> {
  const { http, refuse, pinTools = false } = options
  const realm = new RealmKeeper(terminal, await mcpOptions(terminal, options), 'subrosa mcp connect')
  const root = pinTools ? pinRoot(terminal, options) : undefined
  const openServer: OpenServer = () => {
    const pipe = serverPipe(terminal, { realm, server, pinTools, pinRoot: root })
    return refuse === undefined ? pipe : filteredPipe(pipe, clientGate(refuse))
  }
  try {
    if (http === undefined) await connectStdio(terminal, openServer)
    else await connectHttp(terminal, http, openServer)
  } finally {
    await realm.leave()
  }
}

/** For one host, which has started this process. */
async function connectStdio(terminal: Terminal, openServer: OpenServer): Promise<void> {
  const host = new StdioPipe(terminal)
  const watch = watchParent(terminal, { clock: systemClock })
  void watch.over.then(() => host.close())
  const { ended } = await joinPipes({ client: host, server: openServer() })
  try {
    const error = await ended
    if (error !== undefined) throw error
  } finally {
    watch.stop()
  }
}

/** For any number of clients, until interrupted. */
async function connectHttp(
  terminal: Terminal,
  address: LoopbackAddress,
  openPipe: OpenServer,
): Promise<void> {
  // Most commands need nothing of it, and it takes its time to load.
  const { startHttpFront } = await import('./http/http-front.ts')
  const onError = (error: Error): void => void reportFailure(terminal, error)
  const front = await startHttpFront({ address, openPipe, onError })
  note(terminal, `listening on ${front.url}`)
  await terminal.interrupted()
  await front.close()
}
