import type { Command } from 'commander'
import { openRealm } from '../../setup/realm.ts'
import { revokeAndPublish } from '../realm/revoke.ts'
import { addExamples, parseName, realmOption, serverOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface AgentRevokeOptions {
  readonly realm: string
  readonly reason?: string
  readonly server?: string
}

/** Registers `subrosa agent revoke`. */
export function registerAgentRevoke(agent: Command, terminal: Terminal): void {
  const command = agent
    .command('revoke')
    .description(
      'revoke an identity at once: sign it, publish it, and see that the rotation service holds it',
    )
    .argument('<name>', 'the agent', parseName)
    .option('--reason <text>', 'what all agents are told')
    .addOption(realmOption(terminal))
    .addOption(serverOption())
    .action((name: string, options: AgentRevokeOptions) => revoke(terminal, name, options))
  addExamples(command, "subrosa agent revoke intern --reason 'left the company'")
}

async function revoke(terminal: Terminal, name: string, options: AgentRevokeOptions): Promise<void> {
  const { reason } = options
  const realm = await openRealm(options.realm)
  const request = { name, ...(reason !== undefined && { reason }) }
  const record = await revokeAndPublish(realm, request, options.server)
  terminal.data(record.path)
  note(terminal, `${name} is revoked: the rotation service holds it, and agents are told`)
}
