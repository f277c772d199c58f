import { type Command, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { engineFor } from '../../crypto/engine.ts'
import { Trust } from '../../identity/trust.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import { openRealm } from '../../setup/realm.ts'
import { recordedRevocations } from '../../setup/revocation-records.ts'
import { loadAuthority } from '../../setup/signers.ts'
import { asOperator } from '../realm/operator.ts'
import { FRESH_KEYS_MS, orderFreshKeys } from '../realm/order-fresh-keys.ts'
import { addExamples, parseDuration, realmOption, serverOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface RotateNowOptions {
  readonly realm: string
  readonly server?: string
  readonly timeout: number
  readonly json?: true
}

/** Registers `subrosa rotate now`. */
export function registerRotateNow(rotate: Command, terminal: Terminal): void {
  const command = rotate
    .command('now')
    .description('have every instance make fresh keys within this epoch, and print how many have')
    .option('--json', 'as JSON')
    .addOption(realmOption(terminal))
    .addOption(serverOption())
    .addOption(
      new Option('--timeout <duration>', 'how long to wait for them: each takes up to 30s')
        .argParser(parseDuration)
        .default(FRESH_KEYS_MS, '35s'),
    )
    .action((options: RotateNowOptions) => rotateNow(terminal, options))
  command.addHelpText(
    'after',
    '\nThe old keys open what is under way, until the grace of the epoch is over. At most three orders count in an epoch, a minute apart.',
  )
  addExamples(command, 'subrosa rotate now', 'subrosa rotate now --json | jq .renewed')
}

async function rotateNow(terminal: Terminal, options: RotateNowOptions): Promise<void> {
  const { server, timeout: timeoutMs, json } = options
  const realm = await openRealm(options.realm)
  const { plan } = await newestPlan(realm)
  const parts = {
    plan,
    signer: await loadAuthority(realm),
    trust: new Trust(engineFor(), { authority: realm.authority }),
    revocations: await recordedRevocations(realm, Date.now()),
  }
  const found = await asOperator(
    realm,
    { plans: [plan], server, purpose: 'subrosa rotate now', timeoutMs },
    (operator) => orderFreshKeys(operator, parts),
  )
  const { epoch, live, renewed } = found
  terminal.data(json ? JSON.stringify(found) : `${renewed} of ${live}`)
  if (renewed < live)
    throw new SubrosaError(
      'ERR_TIMEOUT',
      `${live - renewed} of ${live} instances have not announced fresh keys in time`,
      {
        hint: 'they may be gone, or follow no further order in this epoch: subrosa keys shows who is there',
      },
    )
  note(terminal, `every instance has fresh keys for epoch ${epoch}`)
}
