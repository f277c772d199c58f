import { type Command, Option } from 'commander'
import { realmLayout } from '../../setup/layout.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import { createRealm } from '../../setup/realm.ts'
import { addRotators, checkRotators, type RotatorsRequest, rotatorNamesOf } from '../../setup/rotators.ts'
import { addEpochOptions, type EpochOptions, timesOf } from '../realm/epoch-options.ts'
import { addExamples, parseCount, parsePort, realmOption } from '../terminal/options.ts'
import { planRemarks } from '../terminal/plan-view.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { whenShown } from '../terminal/times.ts'

const DEFAULT_PORT = 4222

interface InitOptions extends EpochOptions {
  readonly realm: string
  readonly host?: string[]
  readonly port: number
  readonly brokerDir?: string
  readonly rotators: number
  readonly threshold?: number
}

/** Registers `subrosa init`. */
export function registerInit(program: Command, terminal: Terminal): void {
  const command = program
    .command('init')
    .description(
      "make a realm: its authority, the broker's certificate and configuration, rotation services and the plan that names them",
    )
    .addOption(realmOption(terminal))
    .option('--host <name...>', 'names and addresses by which others reach the broker')
    .option('--port <number>', 'port of the broker', parsePort, DEFAULT_PORT)
    .option('--broker-dir <dir>', "where the broker's machine has its copies of tls and nats-server.conf")
    .addOption(
      new Option('--rotators <number>', 'how many rotation services there are, 1 to 7')
        .argParser(parseCount)
        .default(1),
    )
    .addOption(
      new Option('--threshold <number>', 'how many of them must answer (default: more than half)').argParser(
        parseCount,
      ),
    )
  const standard = { epoch: '55m', lead: '5m', grace: '5m', planFor: '400d' }
  addEpochOptions(command, standard).action((options: InitOptions) => init(terminal, options))
  addExamples(
    command,
    'subrosa init',
    'subrosa init --realm /etc/subrosa --host nats.example.com --rotators 3 --threshold 2',
  )
}

async function init(terminal: Terminal, options: InitOptions): Promise<void> {
  const { realm: dir, host: hosts = [], port, brokerDir, rotators: count, threshold, planFor } = options
  const request: RotatorsRequest = {
    count,
    times: timesOf(options),
    ...(threshold !== undefined && { threshold }),
    ...(planFor !== undefined && { lastsMs: planFor }),
  }
  // Before anything is written: a realm that is there is never made again.
  checkRotators(request)
  const realm = await createRealm({
    dir,
    hosts,
    port,
    ...(brokerDir && { brokerDir }),
    furnish: (made) => addRotators(made, request),
  })
  const { plan } = await newestPlan(realm)
  const { serverConfig, authoritySeed } = realmLayout(realm.dir)
  terminal.data(realm.key)
  note(terminal, `made a realm in ${realm.dir}; its key is the line on standard output`)
  const names = rotatorNamesOf(count)
  note(
    terminal,
    `plan 1 lasts until ${whenShown(plan.until)}: ${plan.threshold} of ${plan.rotators.length} rotation services must answer`,
  )
  for (const remark of planRemarks(plan, plan.made)) note(terminal, remark)
  note(terminal, 'next:')
  note(terminal, `  nats-server -c ${serverConfig}`)
  for (const name of names) {
    const which = count === 1 ? '' : ` --as ${name}`
    note(terminal, `  subrosa rotator begin${which} --realm ${realm.dir}   (once)`)
    note(terminal, `  subrosa rotator${which} --realm ${realm.dir}`)
  }
  note(terminal, `  subrosa agent add billing --sub 'orders.>' --realm ${realm.dir}`)
  note(terminal, `keep ${authoritySeed} away from the broker: whoever has it says who is who`)
}
