import type { Command } from 'commander'
import { systemClock } from '../../clock.ts'
import { openChannel } from '../../mcp/client.ts'
import { clientGate } from '../../mcp/client-gate.ts'
import { joinPipes } from '../../mcp/join.ts'
import type { MessagePipe } from '../../mcp/pipe.ts'
import { type ReopeningEvent, ReopeningPipe } from '../../mcp/reopening-pipe.ts'
import { addAgentOptions, type BrokerOptions } from '../broker-options.ts'
import { EXIT_CODES_HELP, reportFailure } from '../failure.ts'
import { addExamples, parseName } from '../options.ts'
import { note, type Terminal } from '../terminal.ts'
import { addConnectOptions, type ConnectOptions } from './connect-options.ts'
import { mcpOptions } from './mcp-options.ts'
import { RealmKeeper } from './realm-keeper.ts'
import { StdioPipe } from './stdio-pipe.ts'

type Options = BrokerOptions & ConnectOptions

/** Registers `subrosa mcp connect`. */
export function registerConnect(mcp: Command, terminal: Terminal): void {
  const command = mcp
    .command('connect')
    .description('stand in for an MCP server on standard input and output: what a host starts')
    .argument('<name>', 'the server', parseName)
  addConnectOptions(command)
  addAgentOptions(command).action((name: string, options: Options) => connect(terminal, name, options))
  addExamples(command, 'subrosa mcp connect files', 'subrosa mcp connect files --pin-tools').addHelpText(
    'after',
    EXIT_CODES_HELP,
  )
}

async function connect(terminal: Terminal, server: string, options: Options): Promise<void> {
  const realm = new RealmKeeper(terminal, await mcpOptions(terminal, options), 'subrosa mcp connect')
  const open = (): MessagePipe => sessionPipe(terminal, realm, server)
  const { refuse } = options
  const host = new StdioPipe(terminal)
  const { ended } = await joinPipes({
    client: host,
    server: open(),
    filter: refuse === undefined ? undefined : clientGate(refuse),
  })
  void terminal.interrupted().then(() => host.close())
  try {
    const error = await ended
    if (error !== undefined) throw error
  } finally {
    await realm.leave()
  }
}

/** Leads to the server, over as many sessions as it takes. */
function sessionPipe(terminal: Terminal, realm: RealmKeeper, server: string): ReopeningPipe {
  return new ReopeningPipe({
    clock: systemClock,
    dial: async () => openChannel(await realm.bus(), { server }),
    onEvent: (event) => report(terminal, server, event),
  })
}

function report(terminal: Terminal, server: string, event: ReopeningEvent): void {
  switch (event.type) {
    case 'opened':
      return note(terminal, `${event.again ? 'again ' : ''}in session with ${server}`)
    case 'lost':
      return note(
        terminal,
        `the session with ${server} has ended${event.error ? `: ${event.error.message}` : ''}`,
      )
    case 'failed':
      reportFailure(terminal, event.error)
  }
}
