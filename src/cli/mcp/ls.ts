import type { Command } from 'commander'
import { systemClock } from '../../base/clock.ts'
import { printableJson } from '../../base/printable.ts'
import { addressOf } from '../../mcp/session/peer.ts'
import { askPresence, knownServers, type ServerPresence } from '../../mcp/session/presence.ts'
import { addAgentOptions, type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { inRealm } from '../realm/realm-visit.ts'
import { EXIT_CODES_HELP } from '../terminal/failure.ts'
import { addExamples } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { durationShown } from '../terminal/times.ts'
import { mcpOptions } from './mcp-options.ts'

interface LsOptions extends BrokerOptions {
  readonly json?: true
}

/** Registers `subrosa mcp ls`. */
export function registerLs(mcp: Command, terminal: Terminal): void {
  const command = mcp
    .command('ls')
    .description('show which MCP servers are there that this agent may use; they are asked, sealed')
    .option('--json', 'as JSON')
  addAgentOptions(command).action(async (options: LsOptions) =>
    inRealm(terminal, await mcpOptions(terminal, options), {
      purpose: 'subrosa mcp ls',
      task: async ({ bus }) => {
        const { timeoutMs } = givenOptions(terminal, options)
        const asked = knownServers(bus).map((server) =>
          askPresence(bus, server, { timeoutMs, clock: systemClock }),
        )
        const servers = await Promise.all(asked)
        if (options.json) terminal.data(printableJson(servers.map(viewOf)))
        else print(terminal, servers)
      },
    }),
  )
  addExamples(command, 'subrosa mcp ls', 'subrosa mcp ls --as laptop --json').addHelpText(
    'after',
    EXIT_CODES_HELP,
  )
}

function print(terminal: Terminal, servers: readonly ServerPresence[]): void {
  if (servers.length === 0) {
    note(terminal, 'no MCP server is there that this agent may use')
    return
  }
  const rows = servers.map((server) => {
    const { name, instance } = server
    if (!server.there) return [name, instance, '', '', 'no answer']
    const { presence, rttMs } = server
    return [
      name,
      instance,
      `${presence.sessions}/${presence.maxSessions}`,
      durationShown(presence.upMs),
      `${rttMs.toFixed(1)}ms`,
    ]
  })
  const head = ['SERVER', 'INSTANCE', 'SESSIONS', 'UP', 'ROUND TRIP']
  for (const line of formatTable([head, ...rows])) terminal.data(line)
}

function viewOf(server: ServerPresence): Readonly<Record<string, unknown>> {
  const { name, instance } = server
  if (!server.there) return { name, instance, address: addressOf(server), there: false }
  return {
    name,
    instance,
    address: addressOf(server),
    there: true,
    ...server.presence,
    roundTripMs: server.rttMs,
  }
}
