import { type Command, Option } from 'commander'
import { newestPlan } from '../../setup/plan-records.ts'
import { inLockedRealm } from '../../setup/realm-lock.ts'
import { addChangeOptions, type ChangePlanOptions, changePlan } from '../realm/change-plan.ts'
import { addExamples, parseDuration } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'

interface PlanRenewOptions extends ChangePlanOptions {
  readonly planFor?: number
}

/** Registers `subrosa plan renew`. */
export function registerPlanRenew(plan: Command, terminal: Terminal): void {
  const command = plan
    .command('renew')
    .description('make a plan with a new end and a new salt; everything else stays as it is')
    .addOption(
      new Option(
        '--plan-for <duration>',
        'how long it lasts, at most 400d (default: as long as the one before)',
      ).argParser(parseDuration),
    )
    .action((options: PlanRenewOptions) => renew(terminal, options))
  addChangeOptions(command, terminal)
  addExamples(command, 'subrosa plan renew', 'subrosa plan renew --plan-for 90d', 'subrosa plan renew --lost')
}

async function renew(terminal: Terminal, options: PlanRenewOptions): Promise<void> {
  const { planFor } = options
  await inLockedRealm(options.realm, async (realm) =>
    changePlan(terminal, options, {
      realm,
      former: await newestPlan(realm),
      purpose: 'subrosa plan renew',
      change: async () => ({ renewsSalt: true, ...(planFor !== undefined && { lastsMs: planFor }) }),
    }),
  )
}
