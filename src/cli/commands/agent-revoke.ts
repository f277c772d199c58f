import type { Command } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { issueBrokerUser } from '../../setup/broker-users.ts'
import { realmLayout } from '../../setup/layout.ts'
import { openRealm, type Realm } from '../../setup/realm.ts'
import type { RevocationRecord } from '../../setup/revocation-records.ts'
import { revokeAgent } from '../../setup/revocations.ts'
import { connectBroker } from '../realm/dial.ts'
import { publishRevocation } from '../realm/publish-revocation.ts'
import { addExamples, parseName, realmOption, serverOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

const LOGIN_LIFETIME_MS = 10 * 60_000

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
  const record = await revokeAgent(realm, { name, ...(reason !== undefined && { reason }) })
  await publish(realm, record, options.server ?? realm.server)
  terminal.data(record.path)
  note(terminal, `${name} is revoked: the rotation service holds it, and agents are told`)
}

async function publish(realm: Realm, record: RevocationRecord, server: string): Promise<void> {
  try {
    const nc = await connectBroker({
      server,
      // For this one time: nothing that may do everything is left lying about.
      creds: await issueBrokerUser(realm, 'subrosa-agent-revoke', { expiresInMs: LOGIN_LIFETIME_MS }),
      caPath: realmLayout(realm.dir).caCertificate,
      name: 'subrosa agent revoke',
    })
    try {
      await publishRevocation(nc, { trust: { authority: realm.authority }, statement: record.statement })
    } finally {
      await nc.close()
    }
  } catch (error) {
    throw unpublished(error, realm, record)
  }
}

function unpublished(error: unknown, realm: Realm, { name, path }: RevocationRecord): SubrosaError {
  const { code, message, hint } =
    error instanceof SubrosaError
      ? error
      : new SubrosaError('ERR_CONNECTION', 'the connection failed', { cause: error })
  const standing =
    code === 'ERR_NO_ROTATION_SERVICE'
      ? `is recorded in ${path} and was published, but is not confirmed`
      : `is recorded in ${path} and not published`
  const retry = `agents go on trusting ${name} until this succeeds: subrosa agent revoke ${name} --realm ${realm.dir}`
  return new SubrosaError(code, `the revocation of ${name} ${standing}: ${message}`, {
    hint: hint === undefined ? retry : `${hint}\n${retry}`,
    cause: error,
  })
}
