import { hex, samePublic } from '../base/bytes.ts'
import { type Latest, unconfirmed } from '../base/clock.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { type EpochTerms, encodeEpoch, type Plan, type Schedule } from '../wire/plans.ts'

/** A numbered span of time, as a plan has it. {@link Epochs} makes one object for each. */
export interface Epoch extends EpochTerms {
  /** `epoch_hash` of SPEC. */
  readonly hash: Uint8Array
}

/** What of a plan says which epochs there are. */
export type EpochPlan = Pick<Plan, 'realm' | 'schedules'>

/**
 * The epoch of a number: nothing but the plan and the number goes into it. SPEC, "Epochs".
 *
 * @throws RangeError for a number before the plan's first
 */
export function deriveEpoch(engine: CryptoEngine, { realm, schedules }: EpochPlan, number: number): Epoch {
  const schedule = schedules.findLast(({ first }) => first <= number)
  if (schedule === undefined) throw new RangeError(`the plan begins after epoch ${number}`)
  const { periodMs, leadMs, graceMs, suites, salt } = schedule
  const notBefore = beginning(schedule, number)
  const terms = { realm, number, notBefore, notAfter: notBefore + periodMs + leadMs, graceMs, suites, salt }
  return { ...terms, hash: epochHash(engine, terms) }
}

/** The number of the epoch that has begun last at a time (ms since 1970); before all of them, of the first. */
export function numberAt({ schedules }: Pick<Plan, 'schedules'>, atMs: number): number {
  const [earliest] = schedules
  const schedule = schedules.findLast(({ originMs }) => originMs <= atMs)
  if (schedule === undefined) return earliest?.first ?? 0
  return schedule.first + Math.floor((atMs - schedule.originMs) / schedule.periodMs)
}

/** The hash of an epoch, by which everything names it. */
export function epochHash(engine: CryptoEngine, terms: EpochTerms): Uint8Array {
  return engine.sha256(labels.epoch, encodeEpoch(terms))
}

/** What holding epochs takes. */
export interface EpochsOptions {
  readonly engine: CryptoEngine
  /** The latest confirmed time: by it epochs are forgotten, and are over where it is ahead of the clock. Default: none was. */
  readonly latest?: Latest
}

/** Epochs in which one may seal, and for how long that stays so. */
interface CurrentEpochs {
  readonly epochs: readonly Epoch[]
  /** As long as the wall clock is within these. */
  readonly begun: Span
  /** And the time that it is at least within these. */
  readonly ended: Span
}

/** From a time on (included) until another one (excluded), in ms since 1970. */
interface Span {
  readonly fromMs: number
  readonly toMs: number
}

const NEVER: Span = { fromMs: Number.POSITIVE_INFINITY, toMs: Number.NEGATIVE_INFINITY }
const NONE: CurrentEpochs = { epochs: [], begun: NEVER, ended: NEVER }

/**
 * The epochs by which one agent or rotation service goes: those that its plan has around now. Each is derived once, and is
 * the same object for as long as it is held.
 *
 * Nothing that anybody sends goes into them but the plan. An epoch is forgotten by the latest confirmed time: with it go
 * its announcements, retirements and replay windows, so that no clock may go back behind that. Until a time is confirmed nothing
 * was opened, and the wall clock is good enough.
 */
export class Epochs {
  readonly #engine: CryptoEngine
  readonly #latest: Latest
  readonly #byHash = new Map<string, Epoch>()
  /** The numbers of those that the plan has: they need not be derived again. */
  readonly #numbers = new Set<number>()
  #plan: EpochPlan | undefined
  /** Newest first. */
  #all: readonly Epoch[] = []
  #current = NONE
  /** The wall clock, as it was when it was last told. */
  #nowMs = 0
  /** While the time is within this, no epoch comes into reach and none leaves it. */
  #settled = NEVER
  /** When the first one that is held is over. */
  #firstEndMs = Number.POSITIVE_INFINITY

  constructor({ engine, latest = unconfirmed }: EpochsOptions) {
    this.#engine = engine
    this.#latest = latest
  }

  /**
   * Goes by this plan from now on. Epochs that it has too stay the same objects. Of the others those stay that began before
   * its first schedule, until they are over.
   */
  adopt(plan: EpochPlan): void {
    this.#plan = plan
    this.#numbers.clear()
    this.#forget((epoch) => !agrees(this.#engine, plan, epoch))
    this.#settled = NEVER
    this.hold(this.#nowMs)
  }

  /**
   * The epochs in which a message may be sealed now, newest first. One that begins in a moment by this clock has begun by
   * the clocks of others.
   */
  current(nowMs: number): readonly Epoch[] {
    this.hold(nowMs)
    const endMs = Math.max(nowMs, this.#latest())
    const { epochs, begun, ended } = this.#current
    if (isWithin(begun, nowMs) && isWithin(ended, endMs)) return epochs
    this.#current = currentAmong(this.#all, nowMs, endMs)
    return this.#current.epochs
  }

  /**
   * The epoch in which sealing looks for recipients first: of those that are current the one that has begun last.
   * `undefined` without any.
   */
  at(nowMs: number): Epoch | undefined {
    const current = this.current(nowMs)
    return current.find(({ notBefore }) => notBefore <= nowMs) ?? current.at(-1)
  }

  /** The epoch with this hash, where it is held. It is asked for every message, and for junk. */
  byHash(hash: Uint8Array): Epoch | undefined {
    const key = hex(hash)
    const held = this.#byHash.get(key)
    if (held !== undefined) return held
    return this.hold(this.#nowMs) ? this.#byHash.get(key) : undefined
  }

  /**
   * Every epoch that is held, newest first: also those that are over, of which messages can still come, and those that are
   * about to begin.
   */
  all(): readonly Epoch[] {
    return this.#all
  }

  /**
   * Derives the epochs that have come into reach, and forgets those that are out of it. It costs next to nothing where
   * there are none.
   *
   * @param nowMs the wall clock
   * @returns whether anything has changed
   */
  hold(nowMs: number): boolean {
    this.#nowMs = nowMs
    const latestMs = this.#latest()
    const atMs = Math.max(nowMs, latestMs)
    const forgetMs = latestMs > 0 ? latestMs : atMs
    if (isWithin(this.#settled, atMs) && forgetMs <= this.#firstEndMs) return false
    return this.#plan !== undefined && this.#update(this.#plan, atMs, forgetMs)
  }

  /**
   * Forgets the epochs of which no message can come any more by the latest confirmed time. {@link hold} does so too.
   *
   * @returns whether there was any
   */
  prune(latestMs: number): boolean {
    return this.#forget((epoch) => endOfUse(epoch) < latestMs)
  }

  #update(plan: EpochPlan, atMs: number, forgetMs: number): boolean {
    const aheadMs = reachMs(plan)
    // Nothing can have been opened in one that begins later: it came into reach by a clock that was wrong.
    const isForgotten = this.#forget(
      (epoch) => endOfUse(epoch) < forgetMs || epoch.notBefore > atMs + aheadMs,
    )
    let isDerived = false
    let [fromMs, toMs] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]
    for (const [i, schedule] of plan.schedules.entries()) {
      const { numbers, span } = inReach(schedule, plan.schedules[i + 1], { atMs, aheadMs })
      for (const number of numbers) isDerived = this.#take(plan, number) || isDerived
      fromMs = Math.max(fromMs, span.fromMs)
      toMs = Math.min(toMs, span.toMs)
    }
    if (isDerived) this.#list()
    const [newest] = this.#all
    // One that was held goes as soon as the time goes back behind its reach.
    this.#settled = { fromMs: Math.max(fromMs, (newest?.notBefore ?? 0) - aheadMs), toMs }
    this.#firstEndMs = Math.min(...this.#all.map(endOfUse))
    return isForgotten || isDerived
  }

  /** @returns whether it was not held */
  #take(plan: EpochPlan, number: number): boolean {
    if (this.#numbers.has(number)) return false
    this.#numbers.add(number)
    const epoch = deriveEpoch(this.#engine, plan, number)
    const key = hex(epoch.hash)
    if (this.#byHash.has(key)) return false
    this.#byHash.set(key, epoch)
    return true
  }

  #forget(isOver: (epoch: Epoch) => boolean): boolean {
    const before = this.#byHash.size
    for (const [key, epoch] of this.#byHash) {
      if (!isOver(epoch)) continue
      this.#byHash.delete(key)
      this.#numbers.delete(epoch.number)
    }
    if (this.#byHash.size === before) return false
    this.#settled = NEVER
    this.#list()
    return true
  }

  #list(): void {
    this.#all = [...this.#byHash.values()].sort((a, b) => b.notBefore - a.notBefore)
    this.#current = NONE
  }
}

function beginning({ first, originMs, periodMs }: Schedule, number: number): number {
  return originMs + (number - first) * periodMs
}

/** When no message of an epoch can come any more, by whatever clock. */
function endOfUse({ notAfter, graceMs }: Epoch): number {
  return notAfter + graceMs + CLOCK_WINDOW_MS
}

/** How long before it begins an epoch is held: others announce for it before it has begun by this clock. */
function reachMs({ schedules }: EpochPlan): number {
  return CLOCK_WINDOW_MS + Math.max(...schedules.map(({ leadMs }) => leadMs))
}

/** Whether an epoch is one that the plan has, or began before all of them. */
function agrees(engine: CryptoEngine, plan: EpochPlan, { realm, number, notBefore, hash }: Epoch): boolean {
  const [first] = plan.schedules
  if (realm !== plan.realm || first === undefined) return false
  if (notBefore < first.originMs) return true
  return number >= first.first && samePublic(deriveEpoch(engine, plan, number).hash, hash)
}

/** The numbers of a schedule whose epochs can be of use, and while the time is within what span these are all. */
function inReach(
  schedule: Schedule,
  next: Schedule | undefined,
  { atMs, aheadMs }: { readonly atMs: number; readonly aheadMs: number },
): { readonly numbers: readonly number[]; readonly span: Span } {
  const { first, originMs, periodMs, leadMs, graceMs } = schedule
  const end = next?.first ?? Number.POSITIVE_INFINITY
  // From the beginning of an epoch to the end of its use, and just not over.
  const useMs = periodMs + leadMs + graceMs + CLOCK_WINDOW_MS
  const from = Math.max(first, first + Math.ceil((atMs - originMs - useMs) / periodMs))
  const to = Math.min(end - 1, first + Math.floor((atMs - originMs + aheadMs) / periodMs))
  const numbers: number[] = []
  for (let number = from; number <= to; number++) numbers.push(number)
  return {
    numbers,
    span: {
      fromMs:
        from > first ? beginning(schedule, Math.min(from, end) - 1) + useMs + 1 : Number.NEGATIVE_INFINITY,
      toMs: to + 1 < end ? beginning(schedule, Math.max(to + 1, first)) - aheadMs : Number.POSITIVE_INFINITY,
    },
  }
}

/** @param endMs the time that it is at least */
function currentAmong(all: readonly Epoch[], nowMs: number, endMs: number): CurrentEpochs {
  const begins = all.map(({ notBefore }) => notBefore - CLOCK_WINDOW_MS)
  const ends = all.map(({ notAfter }) => notAfter)
  return {
    epochs: all.filter(({ notBefore, notAfter }) => notBefore - CLOCK_WINDOW_MS <= nowMs && endMs < notAfter),
    begun: spanAround(nowMs, begins),
    ended: spanAround(endMs, ends),
  }
}

/** From the last of these times that has been reached to the next one that has not. */
function spanAround(atMs: number, times: readonly number[]): Span {
  return {
    fromMs: Math.max(...times.filter((time) => time <= atMs)),
    toMs: Math.min(...times.filter((time) => time > atMs)),
  }
}

function isWithin({ fromMs, toMs }: Span, atMs: number): boolean {
  return fromMs <= atMs && atMs < toMs
}
