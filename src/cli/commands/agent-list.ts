import type { Command } from 'commander'
import { printable, printableJson } from '../../base/printable.ts'
import { type AgentRecord, listAgents } from '../../setup/agent-records.ts'
import { openRealm } from '../../setup/realm.ts'
import { addExamples, realmOption } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { whenShown } from '../terminal/times.ts'

interface AgentListOptions {
  readonly realm: string
  readonly json?: true
}

/** Registers `subrosa agent list`. */
export function registerAgentList(agent: Command, terminal: Terminal): void {
  const command = agent
    .command('list')
    .description('list the agents of a realm')
    .option('--json', 'as JSON')
    .addOption(realmOption(terminal))
    .action((options: AgentListOptions) => list(terminal, options))
  addExamples(command, 'subrosa agent list', "subrosa agent list --json | jq -r '.[].name'")
}

async function list(terminal: Terminal, { realm: dir, json }: AgentListOptions): Promise<void> {
  const realm = await openRealm(dir)
  const agents = (await listAgents(realm)).map((agent) => describe(agent, Date.now()))
  if (json) terminal.data(printableJson(agents))
  else if (agents.length === 0)
    note(terminal, `no agents in ${realm.dir}; add one with: subrosa agent add NAME`)
  else {
    const rows = agents.map(({ name, status, roles, expires, identity }) => [
      name,
      status,
      printable(roles.join(',')) || '-',
      expires,
      identity,
    ])
    for (const line of formatTable([['NAME', 'STATUS', 'ROLES', 'EXPIRES', 'IDENTITY'], ...rows]))
      terminal.data(line)
  }
}

function describe({ claims, revocation }: AgentRecord, nowMs: number) {
  const { name, identity, roles, permissions, maxInstances, issuedAt, expiresAt } = claims
  return {
    name,
    identity,
    status: revocation ? 'revoked' : expiresAt * 1000 <= nowMs ? 'expired' : 'active',
    roles,
    permissions,
    maxInstances,
    issued: whenShown(issuedAt * 1000),
    expires: whenShown(expiresAt * 1000),
    ...(revocation && { revoked: whenShown(revocation.since), reason: revocation.reason }),
  }
}
