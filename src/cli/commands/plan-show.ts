import type { Command } from 'commander'
import { printable, printableJson } from '../../base/printable.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import { openRealm } from '../../setup/realm.ts'
import { rotatorNames } from '../../setup/rotators.ts'
import { addExamples, realmOption } from '../terminal/options.ts'
import { planRemarks, planRows, planView } from '../terminal/plan-view.ts'
import { formatTable } from '../terminal/table.ts'
import { note, type Terminal } from '../terminal/terminal.ts'

interface PlanShowOptions {
  readonly realm: string
  readonly json?: true
}

/** Registers `subrosa plan show`. */
export function registerPlanShow(plan: Command, terminal: Terminal): void {
  const command = plan
    .command('show')
    .description(
      "show the newest plan of the realm's folder; whether the services follow it shows subrosa rotate status",
    )
    .option('--json', 'as JSON')
    .addOption(realmOption(terminal))
    .action((options: PlanShowOptions) => show(terminal, options))
  addExamples(command, 'subrosa plan show', 'subrosa plan show --json | jq -r .until')
}

async function show(terminal: Terminal, { realm: dir, json }: PlanShowOptions): Promise<void> {
  const realm = await openRealm(dir)
  const { plan, kept } = await newestPlan(realm)
  const nowMs = Date.now()
  const view = planView(plan, await rotatorNames(realm), nowMs)
  const revocations = kept.list.length
  if (json) terminal.data(printableJson({ ...view, revocations }))
  else {
    const rows = [...planRows(view), ['revocations', `${revocations} in its list`]]
    for (const line of formatTable(rows.map((row) => row.map(printable)))) terminal.data(line)
  }
  for (const remark of planRemarks(plan, nowMs)) note(terminal, remark)
}
