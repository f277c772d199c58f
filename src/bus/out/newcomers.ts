import { hex, samePublic } from '../../base/bytes.ts'
import type { HouseClock } from '../../base/house-clock.ts'
import {
  MAX_NEWCOMERS_PER_INSTANCE,
  MAX_NEWCOMERS_REMEMBERED,
  NEWCOMER_REFILL_MS,
  NEWCOMER_SUCCESSION_MS,
} from '../../base/limits.ts'
import type { Audience, AudienceMember } from '../../keys/directory.ts'

/** Instances of which it is remembered that their waiting was told; one more forgets all of them. */
const MAX_NEWCOMERS_TOLD = 4096

/** Epochs that count at one time: an audience may be in one of them or in another. */
const EPOCHS_REMEMBERED = 3

/** By which announcement an instance was taken in, in each of the last epochs. */
interface Seen {
  readonly epoch: string
  /** That of the recipient's key: the very bytes, which are held with it. */
  readonly kid: Uint8Array
  readonly before: Seen | undefined
}

/** How many newcomers of one agent may still be taken in, as of a time on the monotonic clock. */
interface Allowance {
  left: number
  atMs: number
  /** When an instance was last taken in because no other one was there. */
  succeededAtMs: number
}

/** An audience without those whose turn has not come, and until when it stands, by the monotonic clock. */
interface Settled {
  readonly audience: Audience
  readonly until: number
}

/**
 * Takes new instances into audiences, so many of one agent and no more. Each one that comes or goes makes another session
 * for everybody in every audience that it is in, at a key agreement for each: an agent that comes and goes without end
 * must not have that done to the others. Its instances beyond its allowance wait. SPEC, "Sessions".
 *
 * Where all others of an agent have gone, its newest instance takes their place without paying, now and then: one that
 * starts again too often is read from again soon.
 *
 * Counted are instances that were not seen before, and further announcements of one instance in one epoch. An instance
 * goes once, so what is counted bounds the goings too. What all announce for a new epoch is not counted.
 */
export class Newcomers {
  readonly #clock: HouseClock
  readonly #allowances = new Map<string, Allowance>()
  /** Instances that were taken in. There may be thousands, so little is held of each. */
  readonly #known = new Map<string, Seen>()
  #settled = new WeakMap<Audience, Settled>()
  readonly #onWaiting: (member: AudienceMember) => void
  /** Instances of which it was said that they wait. */
  readonly #told = new Set<string>()

  /** @param onWaiting called once for each instance that waits, as long as so many are remembered */
  constructor(clock: HouseClock, onWaiting: (member: AudienceMember) => void) {
    this.#clock = clock
    this.#onWaiting = onWaiting
  }

  /** The audience without those that wait. The same object while nothing changes. */
  settle(audience: Audience): Audience {
    const known = this.#settled.get(audience)
    if (
      known !== undefined &&
      (known.until === Number.POSITIVE_INFINITY || this.#clock.monotonic() < known.until)
    )
      return known.audience
    const settled = this.#settle(audience)
    this.#settled.set(audience, settled)
    return settled.audience
  }

  /** Agents of whom an instance waits to be taken into this audience. */
  waiting(audience: Audience): readonly string[] {
    const settled = new Set(this.settle(audience).members)
    return audience.members.filter((member) => !settled.has(member)).map(({ name }) => name)
  }

  #settle(audience: Audience): Settled {
    const nowMs = this.#clock.monotonic()
    const epoch = hex(audience.epoch.hash)
    let until = Number.POSITIVE_INFINITY
    const admitted = new Set(audience.members.filter((member) => this.#admits(member, epoch, nowMs)))
    for (const newest of successors(audience.members, admitted))
      if (this.#succeeds(newest, epoch, nowMs)) admitted.add(newest)
    for (const member of audience.members) {
      if (admitted.has(member)) continue
      until = Math.min(until, nowMs + this.#readyIn(member, nowMs))
      this.#tell(member)
    }
    const members = audience.members.filter((member) => admitted.has(member))
    const isWhole = members.length === audience.members.length
    return { audience: isWhole ? audience : { epoch: audience.epoch, members }, until }
  }

  #admits(member: AudienceMember, epoch: string, nowMs: number): boolean {
    const known = this.#known.get(instanceOf(member))
    const inEpoch = seenIn(known, epoch)
    if (inEpoch !== undefined && samePublic(inEpoch.kid, member.key.kid)) return true
    const isNew = known === undefined || inEpoch !== undefined
    if (isNew && !this.#spend(member, nowMs)) return false
    this.#takeIn(member, epoch)
    return true
  }

  /** Takes it in for those of its agent that have gone, where that was not done lately. */
  #succeeds(member: AudienceMember, epoch: string, nowMs: number): boolean {
    const allowance = this.#allowance(member, nowMs)
    if (nowMs - allowance.succeededAtMs < NEWCOMER_SUCCESSION_MS) return false
    allowance.succeededAtMs = nowMs
    this.#takeIn(member, epoch)
    return true
  }

  #takeIn(member: AudienceMember, epoch: string): void {
    const instance = instanceOf(member)
    const before = withoutEpoch(this.#known.get(instance), epoch, EPOCHS_REMEMBERED - 1)
    // Behind the others: the first one is the one that was not seen for longest.
    this.#known.delete(instance)
    this.#known.set(instance, { epoch, kid: member.key.kid, before })
    const [oldest] = this.#known.keys()
    if (this.#known.size > MAX_NEWCOMERS_REMEMBERED && oldest !== undefined) this.#known.delete(oldest)
  }

  #tell(member: AudienceMember): void {
    const instance = instanceOf(member)
    if (this.#told.has(instance)) return
    if (this.#told.size >= MAX_NEWCOMERS_TOLD) this.#told.clear()
    this.#told.add(instance)
    this.#onWaiting(member)
  }

  #spend(member: AudienceMember, nowMs: number): boolean {
    const allowance = this.#allowance(member, nowMs)
    if (allowance.left < 1) return false
    allowance.left--
    return true
  }

  #allowance({ name, maxInstances }: AudienceMember, nowMs: number): Allowance {
    const most = MAX_NEWCOMERS_PER_INSTANCE * maxInstances
    const known = this.#allowances.get(name) ?? {
      left: most,
      atMs: nowMs,
      succeededAtMs: Number.NEGATIVE_INFINITY,
    }
    known.left = Math.min(most, known.left + ((nowMs - known.atMs) * maxInstances) / NEWCOMER_REFILL_MS)
    known.atMs = nowMs
    this.#allowances.set(name, known)
    return known
  }

  /** Milliseconds until one more of this agent may be taken in. */
  #readyIn(member: AudienceMember, nowMs: number): number {
    const { left, succeededAtMs } = this.#allowance(member, nowMs)
    const paidInMs = Math.ceil(((1 - left) * NEWCOMER_REFILL_MS) / member.maxInstances)
    const succeedsInMs = succeededAtMs + NEWCOMER_SUCCESSION_MS - nowMs
    return succeedsInMs > 0 ? Math.min(paidInMs, succeedsInMs) : paidInMs
  }
}

function instanceOf({ name, instance }: AudienceMember): string {
  return `${name}/${instance}`
}

function seenIn(seen: Seen | undefined, epoch: string): Seen | undefined {
  for (let one = seen; one !== undefined; one = one.before) if (one.epoch === epoch) return one
  return undefined
}

/** The newest ones of other epochs, so many of them. */
function withoutEpoch(seen: Seen | undefined, epoch: string, most: number): Seen | undefined {
  if (seen === undefined || most === 0) return undefined
  const isOther = seen.epoch !== epoch
  const before = withoutEpoch(seen.before, epoch, isOther ? most - 1 : most)
  return isOther ? { ...seen, before } : before
}

/** The newest instance of each agent of which none was admitted: an audience has those of an agent newest first. */
function successors(
  members: readonly AudienceMember[],
  admitted: ReadonlySet<AudienceMember>,
): readonly AudienceMember[] {
  if (admitted.size === members.length) return []
  const present = new Set([...admitted].map(({ name }) => name))
  return members.filter(({ name }) => {
    const isFirst = !present.has(name)
    present.add(name)
    return isFirst
  })
}
