import type { Command } from 'commander'
import { beginRecord } from '../../rotation/file-store.ts'
import { openRealm } from '../../setup/realm.ts'
import {
  findOwnRotator,
  type OwnRotatorOptions,
  ownRotatorOption,
  recordOption,
} from '../realm/own-rotator.ts'
import { addExamples, realmOption } from '../terminal/options.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface RotatorBeginOptions extends Pick<OwnRotatorOptions, 'as' | 'state'> {
  readonly realm: string
}

/** Registers `subrosa rotator begin`. */
export function registerRotatorBegin(rotator: Command, terminal: Terminal): void {
  const command = rotator
    .command('begin')
    .description(
      'begin the first record of a new rotation service, once; where a record was lost, replace the service in the plan first',
    )
    .addOption(realmOption(terminal))
    .addOption(ownRotatorOption())
    .action((options: RotatorBeginOptions) => begin(terminal, options))
  recordOption(command)
  addExamples(
    command,
    'subrosa rotator begin',
    'subrosa rotator begin --as rotator-2',
    'subrosa rotator begin --state /var/lib/subrosa',
  )
}

async function begin(terminal: Terminal, options: RotatorBeginOptions): Promise<void> {
  // Under pins there is no folder of a realm.
  const state = options.state ?? (await findOwnRotator(await openRealm(options.realm), options)).state
  beginRecord(state)
  terminal.data(state)
  note(terminal, 'began an empty record; never restore it from a backup, and never run two services on one')
}
