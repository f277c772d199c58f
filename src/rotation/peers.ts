import { samePublic } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import {
  CLOCK_WINDOW_MS,
  JOIN_PING_MS,
  MAX_HINTED_TICKS_PER_SECOND,
  MAX_PINGS_REMEMBERED,
  PEER_DIFFERS_MS,
  PEER_PING_MS,
  PEER_REPORT_MS,
  PING_INTERVAL_MS,
  STALE_AFTER_MS,
} from '../base/limits.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { ReportLimit } from '../base/report-limit.ts'
import type { DirectorySync } from '../bus/realm/directory-sync.ts'
import { NamedSets } from '../bus/realm/named-sets.ts'
import type { SentPing } from '../bus/realm/pings.ts'
import { StatementBudget } from '../bus/realm/statement-budget.ts'
import type { HeldPlan } from '../keys/plan.ts'
import { type ParsedTick, provesNonce, readTick, readTickAnswer, verifyTick } from '../keys/ticks.ts'
import { NONCE_BYTES } from '../wire/queries.ts'
import type { Tick } from '../wire/ticks.ts'
import { Completeness } from './completeness.ts'
import type { Parts } from './parts.ts'
import type { PlanDesk } from './plan-desk.ts'

/** In what another rotation service differs: its directory, for minutes; or its plan, which is an older one. */
export type PeerDifference = 'directory' | 'plan'

/** What following others takes. */
export interface PeersOptions extends Parts {
  readonly plans: Pick<PlanDesk, 'named'>
  /** Asks every rotation service for a tick. */
  readonly ping: (nonce: Uint8Array) => void
  readonly directory: Pick<DirectorySync, 'counted' | 'isKnownRoot'>
  /** The root that is listed. */
  readonly directoryRoot: () => Uint8Array
  /** This service may speak under the plan now, as far as its revocations go. It is written down. */
  readonly onComplete: () => void
  readonly onDiffers: (rotator: string, what: PeerDifference) => void
}

/**
 * The other rotation services, which this one follows as an agent does: it asks them what they hold, takes it in, and learns by it
 * whether it is complete under its plan. Nothing is believed because of who says it but what ticks that answer own nonces say of
 * their signers.
 */
export class Peers {
  readonly #options: PeersOptions
  readonly #sets: NamedSets
  readonly #hints = new RateLimit(MAX_HINTED_TICKS_PER_SECOND)
  readonly #reports = new ReportLimit(PEER_REPORT_MS)
  /** Since when, by the monotonic clock, the directory of a service has differed in each of its ticks. */
  readonly #differsSince = new Map<string, number>()
  /** When, by `late`, the newest nonce was sent to which a service has answered with a time that agrees with the own wall clock. */
  readonly #agreed = new Map<string, number>()
  readonly #budget: StatementBudget
  /** Oldest first. */
  #sent: readonly SentPing[] = []
  #askedAt = Number.NEGATIVE_INFINITY
  #cancel = (): void => {}
  #completeness: Completeness | undefined

  constructor(options: PeersOptions) {
    const { clock, record, fetches } = options
    this.#options = options
    this.#budget = new StatementBudget(clock)
    this.#sets = new NamedSets({
      clock,
      fetches,
      revocations: record.revocations,
      stands: ({ tick, askedAtLateMs }) => this.#isOpen(askedAtLateMs) && this.#isPeer(tick),
      onHeld: ({ tick }) => this.#held(tick),
      onAdded: () => {},
    })
  }

  /** Whether this service may speak under its plan, as far as its revocations go. */
  get isComplete(): boolean {
    const { record } = this.#options
    return record.plan !== undefined && record.completeUnder >= record.plan.version
  }

  /** Whether its record is that of a service which never spoke, or is lost: it says nothing then before it is complete. */
  get isSilent(): boolean {
    return this.#options.record.completeUnder === 0
  }

  /** Goes by this plan from now on: what was heard under the one before makes nobody complete. */
  adopt(plan: HeldPlan): void {
    const { own } = this.#options
    this.#sets.forget()
    this.#completeness = new Completeness({ plan, own, hasRecord: !this.isSilent })
    this.look()
    this.askSoon()
  }

  /** Asks all of them now; where it did so a moment ago, in a moment. */
  askSoon(): void {
    const { clock, timers } = this.#options
    const waitMs = this.#askedAt + PEER_PING_MS - clock.monotonic()
    if (waitMs <= 0) return this.#ask()
    this.#cancel()
    this.#cancel = timers.after(waitMs, () => this.#ask())
  }

  /** A broadcast: where it differs from what is held, its service is asked. @throws SubrosaError ERR_MALFORMED */
  heard(wire: Uint8Array): void {
    const { clock, engine } = this.#options
    const parsed = readTick(engine, wire)
    if (!this.#isPeer(parsed.tick) || !this.#differs(parsed.tick)) return
    // A budget: the wall clock would refill it whenever it is set.
    if (this.#hints.take(clock.monotonic()) && this.#isSigned(parsed)) this.askSoon()
  }

  /** A tick in the own inbox. @throws SubrosaError ERR_MALFORMED */
  answered(wire: Uint8Array): void {
    const { engine, record, plans, own, process } = this.#options
    let asked: SentPing | undefined
    const parsed = readTickAnswer(engine, wire, (echoed) => {
      asked = this.#open().find(({ nonce }) => samePublic(nonce, echoed))
      return asked !== undefined
    })
    const { plan } = record
    if (plan === undefined || parsed === undefined || asked === undefined) return
    const { tick } = parsed
    if (tick.realm !== plan.realm || !provesNonce(engine, parsed, asked.nonce)) return
    // It may be signed by a service of a plan that is not known here: its plan proves itself.
    if (tick.planVersion > plan.version) {
      if (this.#hints.take(this.#options.clock.monotonic())) plans.named(tick.planVersion, tick.rotator)
      return
    }
    if (tick.rotator === own) {
      if (!samePublic(tick.process, process) && this.#isSigned(parsed)) this.#options.onError(copied())
      return
    }
    if (!this.#isPeer(tick) || !this.#isSigned(parsed)) return
    if (tick.planVersion < plan.version) {
      plans.named(tick.planVersion, tick.rotator)
      this.#report(tick.rotator, 'plan')
    }
    this.#noteTime(tick, asked.sentAtLateMs)
    this.#sets.offer({ tick, askedAtLateMs: asked.sentAtLateMs })
  }

  /**
   * Notes that this service is complete, where it is. It is to be called again where that could not be written down.
   *
   * @throws SubrosaError ERR_STATE
   */
  look(): void {
    const { record, onComplete } = this.#options
    const { plan } = record
    if (plan === undefined || this.isComplete || this.#completeness?.isComplete !== true) return
    record.keepComplete(plan.version)
    onComplete()
  }

  /** Revocations have come: what other services name may be held by now, and one of them may be revoked. */
  changed(): void {
    const { plan, revocations } = this.#options.record
    for (const rotator of [...(plan?.rotators ?? []), ...(plan?.former?.rotators ?? [])])
      if (revocations.revokedByAuthority(rotator)) this.#completeness?.forget(rotator)
    this.#sets.changed()
  }

  /** Whether the wall clocks of a threshold of services agree now: this one's, and that of another one at least. */
  get isTimeAgreed(): boolean {
    const { record, clock } = this.#options
    const { plan } = record
    if (plan === undefined) return false
    const lateMs = clock.late()
    const agreeing = plan.rotators.filter((rotator) => {
      const askedAtLateMs = this.#agreed.get(rotator)
      return askedAtLateMs !== undefined && this.#isOpen(askedAtLateMs, lateMs)
    })
    return agreeing.length >= Math.max(1, plan.threshold - 1)
  }

  /** Again and again: each second, for as long as this service is not complete. */
  #ask(): void {
    const { engine, clock, timers, ping } = this.#options
    const nonce = engine.randomBytes(NONCE_BYTES)
    this.#askedAt = clock.monotonic()
    this.#sent = [...this.#open(), { nonce, sentAtLateMs: clock.late() }].slice(-MAX_PINGS_REMEMBERED)
    this.#cancel()
    this.#cancel = timers.after(this.isComplete ? PING_INTERVAL_MS : JOIN_PING_MS, () => this.#ask())
    ping(nonce)
  }

  /** Own questions whose answers are not too old. */
  #open(): readonly SentPing[] {
    const lateMs = this.#options.clock.late()
    return this.#sent.filter(({ sentAtLateMs }) => this.#isOpen(sentAtLateMs, lateMs))
  }

  /** Asked not too long ago, and not before the clocks have parted. */
  #isOpen(sentAtLateMs: number, lateMs = this.#options.clock.late()): boolean {
    return lateMs - sentAtLateMs <= STALE_AFTER_MS && sentAtLateMs >= this.#options.clock.gapAtLateMs
  }

  /** Another service of the plan or of the one before it, which no authority has revoked. */
  #isPeer({ realm, rotator }: Tick): boolean {
    const { record, own } = this.#options
    const { plan, revocations } = record
    if (plan === undefined || realm !== plan.realm || rotator === own) return false
    if (revocations.revokedByAuthority(rotator)) return false
    return plan.rotators.includes(rotator) || plan.former?.rotators.includes(rotator) === true
  }

  #differs({ rotator, planVersion, revocationsHash, directoryRoot, now, standing }: Tick): boolean {
    const { record, directory } = this.#options
    if (!this.isComplete || planVersion !== record.plan?.version) return true
    if (!record.revocations.holds({ rotator, revocationsHash, now })) return true
    return standing === 1 && !directory.isKnownRoot(rotator, directoryRoot)
  }

  #isSigned(parsed: ParsedTick): boolean {
    const { engine, record } = this.#options
    const { plan } = record
    if (plan === undefined) return false
    const rotators = [...plan.rotators, ...(plan.former?.rotators ?? [])]
    const isSigned = (): boolean => verifyTick({ engine, plan: { realm: plan.realm, rotators } }, parsed)
    return this.#budget.run(isSigned) === true
  }

  /** A service all of whose revocations are held here. */
  #held(tick: Tick): void {
    const { directory, clock } = this.#options
    // Where its clock and this one part, one of them leaves out what is over by it and not by others.
    const isTimely = Math.abs(clock.now() - tick.now) <= CLOCK_WINDOW_MS
    // In the own set, and so on the disk: of what is held some may be beside it.
    if (isTimely && this.#options.record.revocations.owns(tick)) {
      this.#completeness?.noteAsked(tick.rotator, tick)
      this.look()
    }
    if (tick.standing === 1 && tick.planVersion === this.#options.record.plan?.version) {
      directory.counted(tick)
      this.#compareRoots(tick)
    }
  }

  #noteTime({ rotator, now }: Tick, askedAtLateMs: number): void {
    const agrees = Math.abs(this.#options.clock.now() - now) <= CLOCK_WINDOW_MS
    if (agrees) this.#agreed.set(rotator, askedAtLateMs)
    else this.#agreed.delete(rotator)
  }

  #compareRoots({ rotator, directoryRoot }: Tick): void {
    const nowMs = this.#options.clock.monotonic()
    if (samePublic(this.#options.directoryRoot(), directoryRoot)) {
      this.#differsSince.delete(rotator)
      return
    }
    const since = this.#differsSince.get(rotator) ?? nowMs
    this.#differsSince.set(rotator, since)
    if (nowMs - since >= PEER_DIFFERS_MS) this.#report(rotator, 'directory')
  }

  #report(rotator: string, what: PeerDifference): void {
    const { clock, onDiffers } = this.#options
    if (this.#reports.take('', clock.monotonic())) onDiffers(rotator, what)
  }
}

function copied(): SubrosaError {
  return new SubrosaError('ERR_STATE', 'another process answers with the key of this rotation service', {
    hint: 'stop one of the two. A record that was copied counts as stolen: give the realm a plan with another service in its place: subrosa plan replace-rotator',
  })
}
