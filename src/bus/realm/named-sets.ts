import { copy } from '../../base/bytes.ts'
import type { NamedRevocations, RevocationSet, VerifiedRevocation } from '../../keys/revocations.ts'
import { QueryKind } from '../../wire/queries.ts'
import type { Tick } from '../../wire/ticks.ts'
import type { Context } from '../context.ts'
import { FetchBackoff } from './fetch-backoff.ts'
import type { PageFetches } from './page-fetches.ts'
import type { AnsweredTick } from './tick-judge.ts'

/** What named sets are made with. */
export interface NamedSetsOptions extends Pick<Context, 'clock'> {
  readonly revocations: Pick<RevocationSet, 'holds' | 'hold'>
  readonly fetches: Pick<PageFetches, 'begin'>
  /** Whether a tick that waits would still count, if it came now. */
  readonly stands: (answered: AnsweredTick) => boolean
  /** Called with a tick all of whose revocations are held. It may have waited for that. */
  readonly onHeld: (answered: AnsweredTick) => void
  /** Called with revocations that were fetched, where they are new. */
  readonly onAdded: (added: readonly VerifiedRevocation[]) => void
}

/**
 * The sets of revocations that ticks name: SPEC, "Freshness". A tick waits until all of its set is held; what is missing is
 * fetched from the very service that names it. One that names what it cannot produce is not counted, and holds up no other.
 */
export class NamedSets {
  readonly #options: NamedSetsOptions
  readonly #backoff = new FetchBackoff()
  /** The newest tick of each rotation service that waits. */
  readonly #waiting = new Map<string, AnsweredTick>()
  /** What a rotation service sent last, where it did not fit: its set had changed, and its next tick names the newer one. */
  readonly #sent = new Map<string, readonly Uint8Array[]>()

  constructor(options: NamedSetsOptions) {
    this.#options = options
  }

  /** A tick that counts once its set is held. */
  offer(answered: AnsweredTick): void {
    const { tick } = answered
    this.#waiting.set(tick.rotator, answered)
    const sent = this.#sent.get(tick.rotator)
    this.#sent.delete(tick.rotator)
    if (sent === undefined || !this.#hold(sent, tick)) this.#letCount()
    if (this.#waiting.has(tick.rotator)) this.#fetch(tick)
  }

  /** A rotation service names this set to everybody: what is missing of it is fetched. @returns whether anything is */
  hinted(tick: Tick): boolean {
    const isMissing = !this.#isHeld(tick)
    if (isMissing) this.#fetch(tick)
    return isMissing
  }

  /** Revocations were taken in: ticks that waited may count now. */
  changed(): void {
    this.#letCount()
  }

  #letCount(): void {
    const { stands, onHeld } = this.#options
    for (const answered of [...this.#waiting.values()]) {
      const { tick } = answered
      const isStanding = stands(answered)
      // Whoever was asked, or has counted one before, may have it forgotten.
      if (this.#waiting.get(tick.rotator) !== answered) continue
      if (isStanding && !this.#isHeld(tick)) continue
      this.#waiting.delete(tick.rotator)
      if (isStanding) onHeld(answered)
    }
  }

  /** Another plan, or clocks that have parted: what waits counts for nothing any more. */
  forget(): void {
    this.#waiting.clear()
    this.#sent.clear()
  }

  #isHeld(tick: NamedRevocations): boolean {
    return this.#options.revocations.holds(tick)
  }

  #fetch(tick: Tick): void {
    const { clock, fetches } = this.#options
    const { rotator } = tick
    if (!this.#backoff.mayAsk(rotator, clock.monotonic())) return
    const list: Uint8Array[] = []
    fetches.begin({
      rotator,
      kind: QueryKind.revocations,
      onPage: (statements) => {
        list.push(...statements.map(copy))
        return true
      },
      onEnd: (isWhole) => {
        // A newer tick may have come meanwhile.
        if (isWhole && this.#hold(list, this.#waiting.get(rotator)?.tick ?? tick)) return
        this.#backoff.failed(rotator, clock.monotonic())
        if (isWhole) this.#sent.set(rotator, list)
      },
    })
  }

  /** @returns whether the list is the one that is named, and all of it is held */
  #hold(list: readonly Uint8Array[], named: NamedRevocations): boolean {
    const { revocations, onAdded } = this.#options
    const { added, isHeld } = revocations.hold(list, named)
    if (isHeld) this.#backoff.succeeded(named.rotator)
    if (added.length > 0) onAdded(added)
    this.#letCount()
    return isHeld
  }
}
