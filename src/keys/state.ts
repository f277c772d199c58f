import type { EpochFloor } from './epochs.ts'
import type { NameOwner } from './name-owners.ts'

/** What an earlier process of the same slot left: its instance, to be retired. Instance and hash in hexadecimal. */
export interface FormerInstance {
  readonly instance: string
}

/** What an agent remembers between processes. Every write is durable when the call returns. */
export interface AgentState {
  /** The highest epoch that any process of this agent has acted on here. */
  readonly floor: EpochFloor | undefined
  /** Instances of earlier processes that did not retire. */
  readonly former: readonly FormerInstance[]
  /** Whose each name was, as far as any process of this agent has seen. */
  readonly owners: ReadonlyMap<string, NameOwner>
  keepOwners(owners: ReadonlyMap<string, NameOwner>): void
  /** Revocations that any process of this agent has taken in, as they travel. */
  readonly revocations: readonly Uint8Array[]
  keepRevocations(revocations: readonly Uint8Array[]): void
  keepFloor(floor: EpochFloor): void
  keepInstance(instance: string): void
  /** The instance has retired: nothing is left to clean up after it. */
  forgetInstances(): void
  close(): void
}

/**
 * State that ends with the process: without a floor, an agent that restarts can be shown old epochs, as far as their
 * time allows.
 */
export function memoryState(): AgentState {
  let floor: EpochFloor | undefined
  return {
    get floor() {
      return floor
    },
    former: [],
    owners: new Map(),
    keepOwners() {},
    revocations: [],
    keepRevocations() {},
    keepFloor(next) {
      floor = next
    },
    keepInstance() {},
    forgetInstances() {},
    close() {},
  }
}
