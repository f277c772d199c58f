import type { Command } from 'commander'
import { issueBrokerUser } from '../../setup/broker-users.ts'
import { realmLayout } from '../../setup/layout.ts'
import { openRealm } from '../../setup/realm.ts'
import { listRevocations } from '../../setup/revocation-records.ts'
import { loadAuthority } from '../../setup/signers.ts'
import { connectBroker } from '../realm/dial.ts'
import { orderRotation } from '../realm/order-rotation.ts'
import { addExamples, realmOption, serverOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

const LOGIN_LIFETIME_MS = 10 * 60_000

interface RotateNowOptions {
  readonly realm: string
  readonly server?: string
  readonly json?: true
}

/** Registers `subrosa rotate now`. */
export function registerRotateNow(rotate: Command, terminal: Terminal): void {
  const command = rotate
    .command('now')
    .description('have the rotation service begin the next epoch at once, and print its number')
    .option('--json', 'as JSON')
    .addOption(realmOption(terminal))
    .addOption(serverOption())
    .action((options: RotateNowOptions) => rotateNow(terminal, options))
  addExamples(command, 'subrosa rotate now', 'subrosa rotate now --json | jq .epoch')
}

async function rotateNow(terminal: Terminal, { realm: dir, server, json }: RotateNowOptions): Promise<void> {
  const realm = await openRealm(dir)
  const signer = await loadAuthority(realm)
  const revocations = (await listRevocations(realm, Date.now())).map(({ statement }) => statement)
  const nc = await connectBroker({
    server: server ?? realm.server,
    // For this one time: nothing that may do everything is left lying about.
    creds: await issueBrokerUser(realm, 'subrosa-rotate-now', { expiresInMs: LOGIN_LIFETIME_MS }),
    caPath: realmLayout(realm.dir).caCertificate,
    name: 'subrosa rotate now',
  })
  try {
    const epoch = await orderRotation(nc, { trust: { authority: realm.authority }, signer, revocations })
    terminal.data(json ? JSON.stringify({ epoch }) : String(epoch))
    note(terminal, `epoch ${epoch} has begun: agents move over as soon as they have announced keys for it`)
  } finally {
    await nc.close()
  }
}
