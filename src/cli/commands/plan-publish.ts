import type { Command } from 'commander'
import { newestPlan } from '../../setup/plan-records.ts'
import { openRealm } from '../../setup/realm.ts'
import { addPublishOptions, bringPlan, type PublishPlanOptions } from '../realm/change-plan.ts'
import { addExamples } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** Registers `subrosa plan publish`. */
export function registerPlanPublish(plan: Command, terminal: Terminal): void {
  const command = plan
    .command('publish')
    .description(
      "bring the newest plan of the realm's folder to the rotation services again, and say whether it is confirmed",
    )
    .action((options: PublishPlanOptions) => publish(terminal, options))
  addPublishOptions(command, terminal)
  addExamples(command, 'subrosa plan publish', 'subrosa plan publish --timeout 2m')
}

async function publish(terminal: Terminal, options: PublishPlanOptions): Promise<void> {
  const realm = await openRealm(options.realm)
  const record = await newestPlan(realm)
  await bringPlan(terminal, realm, { options, purpose: 'subrosa plan publish', record })
  terminal.data(record.path)
}
