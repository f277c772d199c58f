import type { NatsConnection } from '@nats-io/transport-node'
import { silentLog } from '../../src/base/logger.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import { type RotationService, startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore, type RotationStore } from '../../src/rotation/store.ts'
import { connectClient } from '../support/client.ts'
import type { AgentClock } from './virtual-time.ts'
import { drawingFrom, type SeededRandom } from './watched-engine.ts'

/** How many rotation services a realm has, how many of them an agent must hear, and how many the attacker runs. */
export interface Fleet {
  readonly count: number
  readonly threshold: number
  readonly stolen: number
}

/** Fleets that bear a lying broker and the services that the attacker runs: `stolen` is at most 2 · threshold - count - 1. */
export const FLEETS = [
  { count: 1, threshold: 1, stolen: 0 },
  { count: 3, threshold: 2, stolen: 0 },
  { count: 4, threshold: 3, stolen: 1 },
] as const satisfies readonly Fleet[]

/** Fleets of which the attacker runs one service more than they bear. */
export const LOST_FLEETS = [
  { count: 1, threshold: 1, stolen: 1 },
  { count: 3, threshold: 2, stolen: 1 },
  { count: 4, threshold: 3, stolen: 2 },
] as const satisfies readonly Fleet[]

/** What a rotator is started with. */
export interface RotatorParts {
  readonly identity: Identity
  readonly clock: AgentClock
  readonly random: SeededRandom
  /** Where the line listens. */
  readonly url: string
  readonly authority: string
  readonly tickMs: number
}

/** A rotation service through all its restarts: one identity, one clock, one record, one process after the other. */
export class Rotator {
  readonly identity: Identity
  readonly clock: AgentClock
  readonly #parts: RotatorParts
  /** What is kept of it, by itself and by whoever runs it. */
  #store: RotationStore = memoryRotationStore({ isBegun: true })
  #service: RotationService | undefined
  #nc: NatsConnection | undefined
  #isLost = false

  constructor(parts: RotatorParts) {
    this.identity = parts.identity
    this.clock = parts.clock
    this.#parts = parts
  }

  /** What it is called on the line. */
  get name(): string {
    return this.identity.name
  }

  get nc(): NatsConnection | undefined {
    return this.#nc
  }

  get isUp(): boolean {
    return this.#service !== undefined
  }

  /** Whether its record is gone: then it is never started again. */
  get isLost(): boolean {
    return this.#isLost
  }

  /** Whether it counts under the plan that it goes by. */
  get counts(): boolean {
    return this.#service?.standing === 1
  }

  /** Starts its process, with the plan that the operator has. @throws what {@link startRotationService} throws */
  start(plan: KeptPlan): Promise<void> {
    const { url, authority, random, identity, clock, tickMs } = this.#parts
    return drawingFrom(random, async () => {
      this.#nc = await connectClient({ servers: url, name: this.name })
      this.#service = await startRotationService(this.#nc, {
        identity,
        trust: { authority: [authority] },
        plan,
        store: this.#store,
        clock,
        log: silentLog,
        tickMs,
      })
    })
  }

  /** Its process is killed. */
  async kill(): Promise<void> {
    const nc = this.#nc
    const service = this.#service
    this.#nc = undefined
    this.#service = undefined
    // First the connection: a process that is killed says nothing more.
    await nc?.close()
    await service?.close()
  }

  /** Its process is killed, and its disk is gone. */
  async lose(): Promise<void> {
    await this.kill()
    this.#isLost = true
    this.#store = memoryRotationStore({ isBegun: false })
  }
}
