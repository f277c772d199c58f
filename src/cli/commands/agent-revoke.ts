import { type Command, Option } from 'commander'
import { inLockedRealm } from '../../setup/realm-lock.ts'
import { servicesShown } from '../realm/plan-word.ts'
import { revokeAndPublish } from '../realm/revoke.ts'
import { addExamples, parseDuration, parseName, realmOption, serverOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface AgentRevokeOptions {
  readonly realm: string
  readonly reason?: string
  readonly server?: string
  readonly timeout?: number
  readonly yes?: true
}

/** Registers `subrosa agent revoke`. */
export function registerAgentRevoke(agent: Command, terminal: Terminal): void {
  const command = agent
    .command('revoke')
    .description(
      'revoke an identity: sign it, publish it, and repeat it until enough rotation services hold it',
    )
    .argument('<name>', 'the agent', parseName)
    .option('--reason <text>', 'what all agents are told')
    .option('--yes', 'revoke a rotation service too')
    .addOption(realmOption(terminal))
    .addOption(serverOption())
    .addOption(
      new Option('--timeout <duration>', 'how long to wait until it is confirmed (default: 10s)').argParser(
        parseDuration,
      ),
    )
    .action((name: string, options: AgentRevokeOptions) => revoke(terminal, name, options))
  addExamples(
    command,
    "subrosa agent revoke intern --reason 'left the company'",
    'subrosa agent revoke rotator-2 --yes',
  )
}

async function revoke(terminal: Terminal, name: string, options: AgentRevokeOptions): Promise<void> {
  const { reason, server, timeout: timeoutMs, yes } = options
  const { record, holders } = await inLockedRealm(options.realm, async (realm) => {
    const request = { name, ...(reason !== undefined && { reason }) }
    return revokeAndPublish(realm, request, { server, timeoutMs, evenRotator: yes })
  })
  terminal.data(record.path)
  note(
    terminal,
    `${name} is revoked, and that is confirmed: ${servicesShown(holders)} ${holders === 1 ? 'holds' : 'hold'} it; no agent seals to it later than 90 s from now`,
  )
}
