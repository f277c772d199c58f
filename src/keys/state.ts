import type { NameOwner } from './name-owners.ts'
import type { KeptPlan } from './plan-book.ts'

/** What an earlier process of the same slot left: its instance in hexadecimal, to be retired. */
export interface FormerInstance {
  readonly instance: string
}

/** What an agent remembers between processes. Every write is durable when the call returns. */
export interface AgentState {
  /** The plan with the highest version that any process of this agent has acted on here. It is not verified. */
  readonly plan: KeptPlan | undefined
  /** @throws SubrosaError ERR_STATE where it is not written: then it must not be acted on */
  keepPlan(plan: KeptPlan): void
  /** Instances of earlier processes that did not retire. */
  readonly former: readonly FormerInstance[]
  /** Whose each name was, as far as any process of this agent has seen. */
  readonly owners: ReadonlyMap<string, NameOwner>
  /** @returns how many of them, the last ones, found no room */
  keepOwners(owners: ReadonlyMap<string, NameOwner>): number
  /** Revocations that any process of this agent has taken in, as they travel. */
  readonly revocations: readonly Uint8Array[]
  /**
   * @param revocations the most important first
   * @returns how many of them, the last ones, found no room
   */
  keepRevocations(revocations: readonly Uint8Array[]): number
  keepInstance(instance: string): void
  /** The instance has retired: nothing is left to clean up after it. */
  forgetInstances(): void
  close(): void
}

/**
 * State that ends with the process: an agent that restarts has the plan that its own token names, and the revocations that
 * rotation services name.
 */
export function memoryState(): AgentState {
  let plan: KeptPlan | undefined
  return {
    get plan() {
      return plan
    },
    keepPlan(next) {
      plan = next
    },
    former: [],
    owners: new Map(),
    keepOwners: () => 0,
    revocations: [],
    keepRevocations: () => 0,
    keepInstance() {},
    forgetInstances() {},
    close() {},
  }
}
