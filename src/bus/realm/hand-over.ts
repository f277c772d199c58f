import { samePublic } from '../../base/bytes.ts'
import { HAND_OVER_AFTER_MS, RESTARTED_SPREAD_MS } from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import type { ParsedAnnouncement } from '../../keys/announcements.ts'
import { QueryKind } from '../../wire/queries.ts'
import type { Context } from '../context.ts'
import type { HashLookups } from './hash-lookups.ts'
import type { PageFetches } from './page-fetches.ts'
import { randomDelay } from './random.ts'

type Own = Pick<ParsedAnnouncement, 'hash' | 'bytes'>

/** What an instance hands its announcements over with. */
export interface HandOverOptions extends Pick<Context, 'engine'> {
  readonly timers: Pick<Timers, 'after'>
  readonly fetches: Pick<PageFetches, 'begin'>
  readonly lookups: Pick<HashLookups, 'ask'>
  /** Rotation services that have answered lately, in a random order. */
  readonly rotators: () => readonly string[]
  /** The own announcements in use. */
  readonly own: () => readonly Own[]
}

/**
 * Makes sure that the announcements of this instance are in the directory: what it has published may be lost. It asks one
 * rotation service after 2, 4, 8, 16, 30, 30 … s, and hands over what is not there until it is; others find it by comparing
 * directories. SPEC, "Directory".
 */
export class HandOver {
  readonly #options: HandOverOptions
  #step = 0
  #cancel: () => void = () => {}
  /** Services that are asked now, or soon. */
  readonly #asking = new Set<string>()

  constructor(options: HandOverOptions) {
    this.#options = options
  }

  /** This instance has just announced something. */
  announced(): void {
    this.#step = 0
    this.#next()
  }

  /** A rotation service has started again, and may have lost what it held. All instances find out at once. */
  restarted(rotator: string): void {
    const { engine, timers } = this.#options
    if (this.#asking.has(rotator)) return
    this.#asking.add(rotator)
    timers.after(randomDelay(engine, RESTARTED_SPREAD_MS), () => {
      this.#asking.delete(rotator)
      this.check(rotator)
    })
  }

  /** Asks one service whether it holds all of them, and hands over those that it does not. */
  check(rotator: string, onHeld: () => void = () => {}): void {
    const { lookups, own } = this.#options
    if (this.#asking.has(rotator)) return
    this.#asking.add(rotator)
    const all = own()
    const held = new Set<Own>()
    lookups.ask({
      rotator,
      hashes: all.map(({ hash }) => hash),
      onStatements: (statements) => {
        for (const statement of statements)
          for (const one of all) if (samePublic(one.bytes, statement)) held.add(one)
      },
      onEnd: (answer) => {
        this.#asking.delete(rotator)
        if (answer === 'silent') return
        const missing = all.filter((one) => !held.has(one))
        if (missing.length === 0) onHeld()
        else this.#hand(rotator, missing)
      },
    })
  }

  #next(): void {
    const { timers } = this.#options
    const delayMs = HAND_OVER_AFTER_MS[this.#step] ?? HAND_OVER_AFTER_MS[HAND_OVER_AFTER_MS.length - 1]
    this.#step = Math.min(this.#step + 1, HAND_OVER_AFTER_MS.length - 1)
    this.#cancel()
    this.#cancel = timers.after(delayMs ?? 0, () => {
      this.#next()
      const [rotator] = this.#options.rotators()
      if (rotator !== undefined) this.check(rotator, () => this.#cancel())
    })
  }

  #hand(rotator: string, [first, ...others]: readonly Own[]): void {
    if (first === undefined) return
    this.#options.fetches.begin({
      rotator,
      kind: QueryKind.handOver,
      cursor: first.bytes,
      onPage: () => true,
      onEnd: () => this.#hand(rotator, others),
    })
  }
}
