import type { Command } from 'commander'
import { addAgent } from '../../setup/agents.ts'
import { realmLayout } from '../../setup/layout.ts'
import { createRealm } from '../../setup/realm.ts'
import { addExamples, parsePort, realmOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

const DEFAULT_PORT = 4222
/** As long as the server's certificate: both are renewed once a year. */
const ROTATOR_LIFETIME_MS = 365 * 86_400_000

interface InitOptions {
  readonly realm: string
  readonly host?: string[]
  readonly port: number
  readonly brokerDir?: string
}

/** Registers `subrosa init`. */
export function registerInit(program: Command, terminal: Terminal): void {
  const command = program
    .command('init')
    .description(
      "make a realm: its authority, the broker's certificate and configuration, a rotation identity",
    )
    .addOption(realmOption(terminal))
    .option('--host <name...>', 'names and addresses by which others reach the broker')
    .option('--port <number>', 'port of the broker', parsePort, DEFAULT_PORT)
    .option('--broker-dir <dir>', "where the broker's machine has its copies of tls and nats-server.conf")
    .action((options: InitOptions) => init(terminal, options))
  addExamples(command, 'subrosa init', 'subrosa init --realm /etc/subrosa --host nats.example.com')
}

async function init(terminal: Terminal, options: InitOptions): Promise<void> {
  const { realm: dir, host: hosts = [], port, brokerDir } = options
  const realm = await createRealm({ dir, hosts, port, ...(brokerDir && { brokerDir }) })
  await addAgent(realm, {
    name: 'rotator',
    roles: ['rotator'],
    maxInstances: 1,
    expiresInMs: ROTATOR_LIFETIME_MS,
  })
  const { serverConfig, authoritySeed } = realmLayout(realm.dir)
  terminal.data(realm.key)
  note(terminal, `made a realm in ${realm.dir}; its key is the line on standard output`)
  note(terminal, 'next:')
  note(terminal, `  nats-server -c ${serverConfig}`)
  note(terminal, `  subrosa rotator --realm ${realm.dir}`)
  note(terminal, `  subrosa agent add billing --sub 'orders.>' --realm ${realm.dir}`)
  note(terminal, `keep ${authoritySeed} away from the broker: whoever has it says who is who`)
}
