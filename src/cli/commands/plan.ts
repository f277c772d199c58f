import type { Command } from 'commander'
import { addExamples } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { registerPlanPublish } from './plan-publish.ts'
import { registerPlanRenew } from './plan-renew.ts'
import { registerPlanReplaceRotator } from './plan-replace-rotator.ts'
import { registerPlanSet } from './plan-set.ts'
import { registerPlanShow } from './plan-show.ts'

/** Registers `subrosa plan` with its commands, of which each has a file of its own. */
export function registerPlan(program: Command, terminal: Terminal): void {
  const plan = program
    .command('plan')
    .description(
      "the realm's plan: which rotation services count, how many must answer, and how epochs follow each other",
    )
  addExamples(plan, 'subrosa plan show', 'subrosa plan renew', 'subrosa plan replace-rotator rotator-2')
  registerPlanShow(plan, terminal)
  registerPlanRenew(plan, terminal)
  registerPlanSet(plan, terminal)
  registerPlanReplaceRotator(plan, terminal)
  registerPlanPublish(plan, terminal)
}
