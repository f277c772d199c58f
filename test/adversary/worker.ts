// One of several processes that run schedules: started by crew.ts, which says which.
import { runCampaign } from './campaign.ts'
import type { Orders, Report } from './crew.ts'
import { FLEETS } from './rotators.ts'
import { dividing } from './schedule.ts'

// Whatever ends it, its server ends with it.
for (const end of ['disconnect', 'SIGTERM', 'SIGINT']) process.once(end, () => process.exit(1))
process.once('message', (orders: Orders) => void work(orders))

async function work({ isDividing = false, ...orders }: Orders): Promise<void> {
  const outcome = await runCampaign({
    ...orders,
    ...(isDividing && { of: dividing(FLEETS[1]) }),
    onBegin: (seed) => tell({ kind: 'begin', seed }),
    onEnd: (seed) => tell({ kind: 'end', seed }),
  })
  tell({ kind: 'over', outcome }, () => process.exit(0))
}

function tell(report: Report, onSent: () => void = () => {}): void {
  process.send?.(report, onSent)
}
