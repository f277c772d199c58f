import { SubrosaError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS, FORGOTTEN_AFTER_MS } from '../base/limits.ts'
import type { HeldPlan } from '../keys/plan.ts'
import { PlanBook } from '../keys/plan-book.ts'
import { RevocationSet, type VerifiedRevocation } from '../keys/revocations.ts'
import { decodePlan, decodeSignedPlan } from '../wire/plans.ts'
import { WireType } from '../wire/preamble.ts'
import { decodeRevocation, decodeStatement } from '../wire/statements.ts'
import type { Parts } from './parts.ts'
import type { HandedPlan } from './queries.ts'
import type { RotationStore } from './store.ts'

/** What a record is made of. */
export interface ServiceRecordOptions extends Pick<Parts, 'engine' | 'trust' | 'clock'> {
  readonly store: RotationStore
  /** Called with each revocation that has just been written down. */
  readonly onRevoked: (revocation: VerifiedRevocation) => void
}

/** Revocations that have come since a plan was made are looked for among so many of the last ones. */
const MAX_LEFT_OUT = 64

/**
 * What a rotation service holds and must not lose: its revocations, and its plan. Nothing is held before it is on the disk, so
 * nothing is named in a tick that a crash can take back.
 */
export class ServiceRecord {
  readonly revocations: RevocationSet
  readonly book: PlanBook
  readonly #options: ServiceRecordOptions
  /** The revocations that came last since the start, in their order. */
  #arrived: readonly VerifiedRevocation[] = []
  #completeUnder: number

  /** @throws SubrosaError ERR_STATE where there is no record, or it is damaged */
  constructor(options: ServiceRecordOptions) {
    const { engine, trust, clock, store } = options
    const record = store.load()
    if (record === undefined) throw missing()
    this.#options = options
    this.#completeUnder = record.completeUnder
    this.revocations = new RevocationSet({ engine, trust, clock, keep: (added) => this.#keep(added) })
    // Whatever the clock says: it may be wrong when a process starts.
    for (const bytes of record.revocations) this.revocations.restore(bytes)
    this.book = new PlanBook({
      engine,
      trust,
      revocations: this.revocations,
      floor: 0,
      kept: record.plan,
      keep: (kept) => store.keepPlan(versionOf(kept.plan), kept),
    })
    if (record.plan !== undefined && this.book.plan === undefined) throw unusable()
  }

  /** The plan that is acted on. */
  get plan(): HeldPlan | undefined {
    return this.book.plan
  }

  /** The newest version of the plan under which this service was complete; 0 where it never was. */
  get completeUnder(): number {
    return this.#completeUnder
  }

  /** From now on this service may speak under this version of the plan, after a restart too. @throws SubrosaError ERR_STATE */
  keepComplete(version: number): void {
    if (version <= this.#completeUnder) return
    this.#options.store.keepComplete(version)
    this.#completeUnder = version
  }

  /** A plan of a version that was ever taken up, or the newest one, for handing on. */
  planOf(version: number | undefined): HandedPlan | undefined {
    const { plan, kept } = this.book
    const wanted = version ?? plan?.version
    if (wanted === undefined) return undefined
    const found = wanted === plan?.version ? kept : this.#options.store.planOf(wanted)
    return found && { ...found, version: wanted }
  }

  /**
   * The lists that may be the one beside a plan, without asking for it: what is held, and that without what has come last. Whoever
   * made the plan has asked this service before.
   */
  *listsFor({ made }: Pick<HeldPlan, 'made'>): Iterable<readonly Uint8Array[]> {
    const held = this.revocations.inForce(made)
    const leftOut = new Set<VerifiedRevocation>()
    yield held.map(({ bytes }) => bytes)
    for (const one of this.#arrived.toReversed()) {
      leftOut.add(one)
      yield held.filter((other) => !leftOut.has(other)).map(({ bytes }) => bytes)
    }
  }

  /**
   * Takes out what was over long ago.
   *
   * @param agreedMs a time that no clock shows by mistake
   * @throws SubrosaError ERR_STATE
   */
  forget(agreedMs: number): void {
    const { store } = this.#options
    const overMs = agreedMs - FORGOTTEN_AFTER_MS
    if (!this.revocations.all().some(({ revocation }) => revocation.until < overMs)) return
    const all = store.load()?.revocations ?? []
    store.replace(all.filter((bytes) => endOf(bytes) >= overMs))
    this.revocations.prune(overMs + CLOCK_WINDOW_MS)
  }

  #keep(added: readonly VerifiedRevocation[]): void {
    this.#options.store.append(added.map(({ bytes }) => bytes))
    this.#arrived = [...this.#arrived, ...added].slice(-MAX_LEFT_OUT)
    for (const one of added) this.#options.onRevoked(one)
  }
}

function versionOf(plan: Uint8Array): number {
  return decodePlan(decodeSignedPlan(plan).structure).version
}

function endOf(bytes: Uint8Array): number {
  return decodeRevocation(decodeStatement(WireType.revocation, bytes).structure).until
}

function missing(): SubrosaError {
  return new SubrosaError('ERR_STATE', 'there is no record of this rotation service', {
    hint: 'a new service begins its first one: subrosa rotator begin. Where a record was lost, replace the service in the plan first: subrosa plan replace-rotator',
  })
}

function unusable(): SubrosaError {
  return new SubrosaError('ERR_STATE', 'the plan in the record is not one of this realm', {
    hint: 'is it the folder of another realm, or has an authority been taken out of the trust? Name each service its own folder with --state',
  })
}
