import type { KeptPlan } from '../keys/plan-book.ts'

/** What a rotation service must not lose. Statements are whole wire messages. */
export interface RotationRecord {
  /** Every revocation that it has ever taken in, but for those that are long over. */
  readonly revocations: readonly Uint8Array[]
  /** The newest plan that it has taken up, with its list. */
  readonly plan: KeptPlan | undefined
  /** The newest version of the plan under which it was complete; 0 where it never was. */
  readonly completeUnder: number
}

/**
 * Where a rotation service keeps its record. What is written is durable when the call returns; where it throws, nothing of it
 * is there.
 */
export interface RotationStore {
  /** What is kept; `undefined` where no record was ever begun, or it is lost. */
  load(): RotationRecord | undefined
  /** Adds revocations. */
  append(revocations: readonly Uint8Array[]): void
  /** Replaces all revocations: some of them are long over. */
  replace(revocations: readonly Uint8Array[]): void
  /** Adds a plan of a version that is higher than all before. */
  keepPlan(version: number, plan: KeptPlan): void
  /** A plan that was kept, the newest one or an earlier one. */
  planOf(version: number): KeptPlan | undefined
  /** The service is complete under this version of the plan. */
  keepComplete(version: number): void
  /** Announcements that were taken in: a cache, so that a restarted service knows the directory. */
  loadAnnouncements(): readonly Uint8Array[]
  /** Adds one announcement. It need not be durable. */
  addAnnouncement(bytes: Uint8Array): void
  /** Replaces all announcements. */
  setAnnouncements(all: readonly Uint8Array[]): void
  /** Lets another service have it. */
  close(): void
}

/** How {@link memoryRotationStore} begins. */
export interface MemoryStoreOptions {
  /** Whether the record has been begun, as by `subrosa rotator begin`. Default: it has. */
  readonly isBegun?: boolean
}

/**
 * A record that ends with the process: for tests, and for a realm that lives as long. SPEC, "The rotation service".
 *
 * @example
 * ```ts
 * const service = await startRotationService(nc, { identity, trust, plan, store: memoryRotationStore() })
 * ```
 */
export function memoryRotationStore({ isBegun = true }: MemoryStoreOptions = {}): RotationStore {
  let revocations: readonly Uint8Array[] = []
  const plans = new Map<number, KeptPlan>()
  let completeUnder = 0
  let announcements: Uint8Array[] = []
  return {
    load: () =>
      isBegun ? { revocations, plan: plans.get(Math.max(...plans.keys())), completeUnder } : undefined,
    append(added) {
      revocations = [...revocations, ...added]
    },
    replace(remaining) {
      revocations = [...remaining]
    },
    keepPlan(version, plan) {
      plans.set(version, plan)
    },
    planOf: (version) => plans.get(version),
    keepComplete(version) {
      completeUnder = version
    },
    loadAnnouncements: () => [...announcements],
    addAnnouncement(bytes) {
      announcements.push(bytes)
    },
    setAnnouncements(all) {
      announcements = [...all]
    },
    close() {},
  }
}
