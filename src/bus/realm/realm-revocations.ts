import { hex } from '../../base/bytes.ts'
import type { Timers } from '../../base/timers.ts'
import { KeptRevocations } from '../../keys/kept-revocations.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { RevocationSet, type VerifiedRevocation } from '../../keys/revocations.ts'
import type { AgentState } from '../../keys/state.ts'
import type { Tick } from '../../wire/ticks.ts'
import type { Context } from '../context.ts'
import { NamedSets } from './named-sets.ts'
import type { PageFetches } from './page-fetches.ts'
import { RevocationSharing } from './revocation-sharing.ts'
import type { AnsweredTick } from './tick-judge.ts'

/** What the revocations of a link work with. */
export interface RealmRevocationsOptions extends Context {
  readonly state: AgentState
  readonly timers: Timers
  readonly fetches: () => PageFetches
  /** Publishes one that a rotation service lacks. */
  readonly publish: (bytes: Uint8Array) => void
  /** Whether a tick that waits would still count, if it came now. */
  readonly stands: (answered: AnsweredTick) => boolean
  /** Called with a tick all of whose revocations are held. */
  readonly onHeld: (answered: AnsweredTick) => void
  /** Called with those that are new, together: looking at everybody for each of many takes long. */
  readonly onRevoked: (news: readonly VerifiedRevocation[]) => void
}

/**
 * The revocations of one agent: those that are published, those that rotation services and plans name, and those that it
 * remembers. SPEC, "Acting on a revocation".
 */
export class RealmRevocations {
  readonly set: RevocationSet
  readonly #options: RealmRevocationsOptions
  readonly #kept: KeptRevocations
  readonly #named: NamedSets
  readonly #sharing: RevocationSharing
  /** Those that are new in the set, and were not acted on yet. */
  readonly #news = new Map<string, VerifiedRevocation>()

  constructor(options: RealmRevocationsOptions) {
    const { engine, trust, clock, state, timers, onError, fetches, publish, stands, onHeld } = options
    this.#options = options
    this.set = new RevocationSet({
      engine,
      trust,
      latest: () => clock.latest,
      clock,
      keep: (added) => {
        this.#note(added)
        this.#kept.changed()
      },
    })
    const revocations = this.set
    this.#kept = new KeptRevocations({ revocations, clock, state, onError })
    this.#named = new NamedSets({
      clock,
      revocations,
      fetches: { begin: (fetch) => fetches().begin(fetch) },
      stands,
      onHeld,
      onAdded: (added) => {
        // Those that have no room in the own set act all the same.
        this.#note(added)
        this.act()
      },
    })
    this.#sharing = new RevocationSharing({ engine, timers, publish })
  }

  /** Somebody has published one. */
  take(bytes: Uint8Array): void {
    this.#sharing.heard(bytes)
    if (this.set.add(bytes, this.#options.clock.now()) !== undefined) this.act()
  }

  /** A tick that counts once its set is held. */
  offer(answered: AnsweredTick): void {
    this.#named.offer(answered)
  }

  /** A rotation service names this set to everybody. @returns whether anything of it is missing */
  hinted(tick: Tick): boolean {
    return this.#named.hinted(tick)
  }

  /** Ticks that wait count for nothing any more. */
  forgetTicks(): void {
    this.#named.forget()
  }

  /** A tick has counted: what its service does not name is told it. What is over by the latest time is forgotten. */
  counted(tick: Tick): void {
    this.#sharing.lacks(tick.rotator, this.set.beyond(tick))
    // By the latest time alone: what guards against repeats goes when no clock makes the repeat young again.
    this.set.prune(this.#options.clock.latest)
  }

  /** Another plan. */
  adopt(plan: HeldPlan): void {
    this.#named.forget()
    this.#sharing.adopt(plan)
  }

  /** Acts on those that are new. */
  act(): void {
    if (this.#news.size === 0) return
    const news = [...this.#news.values()]
    this.#news.clear()
    this.#options.onRevoked(news)
    this.#named.changed()
  }

  /** Writes down what is not written yet. */
  close(): void {
    this.#kept.close()
  }

  #note(added: readonly VerifiedRevocation[]): void {
    for (const one of added) this.#news.set(hex(one.hash), one)
  }
}
