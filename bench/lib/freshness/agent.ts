import { HouseClock } from '../../../dist/base/house-clock.js'
import type { LogFields, Logger } from '../../../dist/base/logger.js'
import { type Context, makeContext } from '../../../dist/bus/context.js'
import { EventLog } from '../../../dist/bus/event-log.js'
import { StatusFeed } from '../../../dist/bus/status.js'
import type { MemoryConnection } from '../memory-line.ts'
import type { VirtualClock } from '../virtual-clock.ts'
import type { Realm } from './realm.ts'

/** An agent, as far as its freshness goes. */
export interface Agent {
  /** Whether it would seal and open now. */
  isFresh(): boolean
  /** Whether it has been fresh since it joined. */
  readonly wasAlwaysFresh: boolean
  /** When it acted on the revocation of this identity, by the clock's `now`; `undefined` where it did not. */
  actedAt(identity: string): number | undefined
  /** Names of those to whom it would seal now, itself among them; `undefined` where it has no directory. */
  audience(): readonly string[] | undefined
  close(): void
}

/** What an agent is made with. */
export interface AgentOptions {
  readonly realm: Realm
  readonly nc: MemoryConnection
  readonly clock: VirtualClock
  readonly name: string
  /** Takes what goes wrong: in a realm without faults nothing may. */
  readonly onFault: (fault: unknown) => void
}

/** What is noted of an agent. */
export class AgentNotes {
  wasAlwaysFresh = true
  readonly #clock: VirtualClock
  readonly #actedAt = new Map<string, number>()

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }

  acted(identity: string): void {
    if (!this.#actedAt.has(identity)) this.#actedAt.set(identity, this.#clock.now())
  }

  actedAt(identity: string): number | undefined {
    return this.#actedAt.get(identity)
  }
}

/** The surroundings of a connection, as `secure()` makes them. @param onEvent told of what would be logged */
export function agentContext(
  { realm, clock, onFault }: AgentOptions,
  onEvent: (event: LogFields) => void = () => {},
): Context {
  const { engine, subjects, trust } = realm
  const note = (event: LogFields): void => {
    if (event.event === 'error' || event.event === 'rejected') onFault(event.err ?? event)
    onEvent(event)
  }
  const log: Logger = { debug: note, info: note, warn: note, error: note }
  const house = new HouseClock(clock, onFault)
  const feed = new StatusFeed(new EventLog(log, house), house)
  return makeContext({ engine, clock: house, subjects, trust, log, feed })
}
