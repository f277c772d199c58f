import { LISTING_HEDGE_MS } from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import { QueryKind } from '../../wire/queries.ts'
import type { PageFetches } from './page-fetches.ts'

/** What a listing is fetched with. */
export interface DirectoryListingOptions {
  readonly timers: Pick<Timers, 'after'>
  readonly fetches: Pick<PageFetches, 'begin'>
  /** Rotation services that have answered lately, in a random order. */
  readonly rotators: () => readonly string[]
  /** Takes in an announcement. It is a view. */
  readonly onStatement: (statement: Uint8Array) => void
  /** A page was taken in. */
  readonly onChanged: () => void
  /** All of the directory of one service has come. */
  readonly onWhole: () => void
}

/**
 * Fetches the whole directory from one rotation service that counts. Where that one is slow, another one is asked too, so that
 * none can hold up a join: the first that is through is enough.
 */
export class DirectoryListing {
  readonly #options: DirectoryListingOptions
  /** Those that were asked since the last whole one came. */
  #asked = new Set<string>()
  /** How many of them have not ended. */
  #running = 0
  #cancel: () => void = () => {}

  constructor(options: DirectoryListingOptions) {
    this.#options = options
  }

  /** Whether one is under way. */
  get isUnderWay(): boolean {
    return this.#asked.size > 0
  }

  /** Begins, unless one is under way. */
  begin(): void {
    if (!this.isUnderWay) this.#askNext()
  }

  #askNext(): void {
    const { timers, fetches, rotators, onStatement, onChanged } = this.#options
    const asked = this.#asked
    const rotator = rotators().find((one) => !asked.has(one))
    this.#cancel()
    if (rotator === undefined) return this.#giveUp()
    asked.add(rotator)
    this.#running++
    this.#cancel = timers.after(LISTING_HEDGE_MS, () => this.#askNext())
    const isBegun = fetches.begin({
      rotator,
      kind: QueryKind.announcements,
      onPage: (statements) => {
        for (const statement of statements) onStatement(statement)
        onChanged()
        return true
      },
      onEnd: (isWhole) => {
        // The fetch of a slow one may end after another one is through.
        if (asked !== this.#asked) return
        this.#running--
        if (isWhole) this.#whole()
        else this.#askNext()
      },
    })
    // The fetch of a slow one, begun before the last whole one came, may not have ended: nobody tells of that here.
    if (isBegun) return
    this.#running--
    this.#askNext()
  }

  #whole(): void {
    this.#cancel()
    this.#forget()
    this.#options.onWhole()
  }

  /** Where none of them is through, all are asked again the next time. */
  #giveUp(): void {
    if (this.#running === 0) this.#forget()
  }

  #forget(): void {
    this.#asked = new Set()
    this.#running = 0
  }
}
