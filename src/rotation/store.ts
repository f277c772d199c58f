/** What the rotation service must not lose. Statements are whole wire messages. */
export interface RotationRecord {
  /** Every epoch ever published, oldest first. */
  readonly epochs: readonly Uint8Array[]
  readonly revocations: readonly Uint8Array[]
  /** No tick at or before this time may be signed again. */
  readonly tickedUntil: number
  /** The next epoch, signed and perhaps seen by others, of which it is not known yet whether it counts. */
  readonly pending?: Uint8Array | undefined
  /** Whether this is the record of a replica: then others may have published since. */
  readonly isShared?: boolean | undefined
}

/** Where a rotation service keeps its record. Writes are durable when they return. */
export interface RotationStore {
  /** What was saved last; the record of a service that has published nothing, where there is none. */
  load(): RotationRecord
  /** Replaces the record. */
  save(record: RotationRecord): void
  /** Announcements that were taken in: convenience, so that a restarted service knows the directory. */
  loadAnnouncements(): readonly Uint8Array[]
  /** Adds one announcement. */
  addAnnouncement(bytes: Uint8Array): void
  /** Replaces all announcements. */
  setAnnouncements(all: readonly Uint8Array[]): void
  /** Lets another service have it. */
  close(): void
}

/** The record of a service that has published nothing. */
export const EMPTY_RECORD: RotationRecord = { epochs: [], revocations: [], tickedUntil: 0 }

/**
 * Makes the record of a replica that of a service which runs alone. Whoever calls this has stopped every other replica
 * for good: two services without a common log fork the realm.
 *
 * @throws SubrosaError ERR_STATE
 */
export function leaveReplicas(store: RotationStore): void {
  store.save({ ...store.load(), isShared: undefined })
}

/**
 * A record that ends with the process: for tests, and for a realm that lives as long. SPEC, "The rotation service".
 *
 * @example
 * ```ts
 * const service = await startRotationService(nc, { identity, trust, store: memoryRotationStore() })
 * ```
 */
export function memoryRotationStore(): RotationStore {
  let record = EMPTY_RECORD
  let announcements: Uint8Array[] = []
  return {
    load: () => record,
    save(next) {
      record = next
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
