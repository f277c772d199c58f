import { FAULT_KINDS, type FaultKind } from './faults.ts'

/** What has happened in one schedule, or in many. */
export class Tally {
  readonly faults = new Map<FaultKind, number>()
  /** Faults of messages by kind and by which way the message went, and by kind and what it was. */
  readonly aims = new Map<string, number>()
  /** Messages that agents have sealed and published, by mode. */
  readonly sent = new Map<string, number>()
  /** Publishes and requests that an agent refused or that ended in vain, by the code of the error. */
  readonly failed = new Map<string, number>()
  /** Messages that handlers got. */
  readonly delivered = new Map<string, number>()
  /** Arrivals that agents refused, by reason. */
  readonly refused = new Map<string, number>()
  /** Messages that were sent where everything has to arrive, and deliveries that had to come of them. */
  owed = 0
  schedules = 0

  /** Adds another tally, which may have come from another process. */
  add(other: Omit<Tally, 'add' | 'missingFaults'>): void {
    merge(this.faults, other.faults)
    merge(this.aims, other.aims)
    merge(this.sent, other.sent)
    merge(this.failed, other.failed)
    merge(this.delivered, other.delivered)
    merge(this.refused, other.refused)
    this.owed += other.owed
    this.schedules += other.schedules
  }

  /** Kinds of fault that never happened. */
  get missingFaults(): readonly FaultKind[] {
    return FAULT_KINDS.filter((kind) => (this.faults.get(kind) ?? 0) === 0)
  }
}

/** Counts one more of a name, or several. */
export function count<Name>(counts: Map<Name, number>, name: Name, more = 1): void {
  counts.set(name, (counts.get(name) ?? 0) + more)
}

/** All counts together. */
export function total(counts: ReadonlyMap<unknown, number>): number {
  return [...counts.values()].reduce((sum, one) => sum + one, 0)
}

function merge<Name>(into: Map<Name, number>, from: ReadonlyMap<Name, number>): void {
  for (const [name, more] of from) count(into, name, more)
}
