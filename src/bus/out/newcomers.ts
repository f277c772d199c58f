import { hex } from '../../base/bytes.ts'
import type { HouseClock } from '../../base/house-clock.ts'
import {
  MAX_NEWCOMERS_PER_INSTANCE,
  MAX_NEWCOMERS_REMEMBERED,
  NEWCOMER_REFILL_MS,
} from '../../base/limits.ts'
import type { Audience, AudienceMember } from '../../keys/directory.ts'

/** How many newcomers of one agent may still be taken in, as of a time on the monotonic clock. */
interface Allowance {
  left: number
  atMs: number
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
 * Counted are instances that were not seen before, and further announcements of one instance in one epoch. An instance
 * goes once, so what is counted bounds the goings too. What all announce for a new epoch is not counted.
 */
export class Newcomers {
  readonly #clock: HouseClock
  readonly #allowances = new Map<string, Allowance>()
  /** Instances that were taken in; and for each with its epoch the key id of its announcement. */
  readonly #known = new Map<string, string>()
  #settled = new WeakMap<Audience, Settled>()

  constructor(clock: HouseClock) {
    this.#clock = clock
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
    const members = audience.members.filter((member) => {
      if (this.#admits(member, epoch, nowMs)) return true
      until = Math.min(until, nowMs + this.#readyIn(member))
      return false
    })
    const isWhole = members.length === audience.members.length
    return { audience: isWhole ? audience : { epoch: audience.epoch, members }, until }
  }

  #admits(member: AudienceMember, epoch: string, nowMs: number): boolean {
    const instance = `${member.name}/${member.instance}`
    const inEpoch = `${instance}/${epoch}`
    const kid = hex(member.key.kid)
    const knownKid = this.#known.get(inEpoch)
    if (knownKid === kid) return true
    const isNew = knownKid !== undefined || !this.#known.has(instance)
    if (isNew && !this.#spend(member, nowMs)) return false
    this.#remember(instance, '')
    this.#remember(inEpoch, kid)
    return true
  }

  #spend(member: AudienceMember, nowMs: number): boolean {
    const allowance = this.#allowance(member, nowMs)
    if (allowance.left < 1) return false
    allowance.left--
    return true
  }

  #allowance({ name, maxInstances }: AudienceMember, nowMs: number): Allowance {
    const most = MAX_NEWCOMERS_PER_INSTANCE * maxInstances
    const known = this.#allowances.get(name) ?? { left: most, atMs: nowMs }
    known.left = Math.min(most, known.left + ((nowMs - known.atMs) * maxInstances) / NEWCOMER_REFILL_MS)
    known.atMs = nowMs
    this.#allowances.set(name, known)
    return known
  }

  /** Milliseconds until one more of this agent is taken in. */
  #readyIn({ name, maxInstances }: AudienceMember): number {
    const left = this.#allowances.get(name)?.left ?? 0
    return Math.ceil(((1 - left) * NEWCOMER_REFILL_MS) / maxInstances)
  }

  #remember(key: string, value: string): void {
    // Behind the others: the first one is the one that was not seen for longest.
    this.#known.delete(key)
    this.#known.set(key, value)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_NEWCOMERS_REMEMBERED) return
      this.#known.delete(oldest)
    }
  }
}
