import { MemoryLine } from '../memory-line.ts'
import { VirtualClock } from '../virtual-clock.ts'
import type { Agent } from './agent.ts'
import { startCounting } from './counting-agent.ts'
import { type Fleet, startFleet } from './fleet.ts'
import { joinLinked } from './linked-agent.ts'
import { makeRealm, type Realm } from './realm.ts'

/** What a world consists of. */
export interface WorldPlan {
  readonly agents: number
  readonly services: number
  /** `whole`: agents with all that they have. `parts`: those of their parts that make them fresh. */
  readonly as: 'whole' | 'parts'
}

/** A realm of real rotation services and many agents on a line in memory. All hang on one clock. */
export interface World {
  readonly clock: VirtualClock
  readonly line: MemoryLine
  readonly realm: Realm
  readonly fleet: Fleet
  readonly agents: readonly Agent[]
  /** @throws Error where anything went wrong so far */
  assertFaultless(): void
  close(): Promise<void>
}

/** The group of the line in which all agents are. */
export const AGENTS = 'agents'

/** From a publisher to a subscriber. */
const LATENCY_MS = 1
const START_MS = Date.UTC(2030, 0, 1)
/** Over so long agents begin, one after the other. */
const BEGIN_OVER_MS = 60_000
/** How long the last one may take. */
const JOINING_MS = 30_000

/** Starts services and agents. @returns once all have joined */
export async function startWorld({ agents: count, services, as }: WorldPlan): Promise<World> {
  const clock = new VirtualClock(START_MS)
  const realm = makeRealm(services, clock.now())
  const line = new MemoryLine({ clock, latencyMs: LATENCY_MS, kindOf: realm.kindOf })
  const faults: unknown[] = []
  const onFault = (fault: unknown): void => void faults.push(fault)
  const fleet = await startFleet(realm, { line, clock, onFault })
  const starting: Promise<Agent>[] = []
  for (let i = 0; i < count; i++) {
    // Of one length, so that bytes do not depend on how many there are.
    const name = `agent${String(i).padStart(6, '0')}`
    const options = { realm, nc: line.connect(AGENTS), clock, name, onFault }
    starting.push(as === 'whole' ? joinLinked(options) : Promise.resolve(startCounting(options)))
    await clock.run(BEGIN_OVER_MS / count)
  }
  await clock.run(JOINING_MS)
  const agents = await Promise.all(starting)
  return {
    clock,
    line,
    realm,
    fleet,
    agents,
    assertFaultless() {
      if (faults.length > 0)
        throw new Error(`${faults.length} faults in a realm that has none`, { cause: faults[0] })
    },
    async close() {
      for (const agent of agents) agent.close()
      await fleet.close()
    },
  }
}
