import type { HouseClock } from '../base/house-clock.ts'
import { LISTED_AFTER_MS, SILENT_INSTANCE_MS } from '../base/limits.ts'
import type { Buckets } from '../keys/buckets.ts'
import type { Directory } from '../keys/directory.ts'
import type { Asker } from '../keys/subjects.ts'

/** What the list is made of. */
export interface ListingOptions {
  readonly clock: Pick<HouseClock, 'monotonic'>
  readonly directory: Pick<Directory, 'listed'>
}

/** The list at one time. */
interface Made {
  readonly buckets: Buckets
  readonly root: Uint8Array
  /** By the monotonic clock. */
  readonly atMs: number
}

/**
 * What a rotation service lists of its directory, in its root and in its buckets: what it has held for a while, so that nothing
 * that is on its way is a difference; and no keys of instances that do not ping any more. It changes every 15 s at most.
 */
export class Listing {
  readonly #options: ListingOptions
  /** When each instance that is listed, or would be, was last heard of, by the monotonic clock. */
  #heard = new Map<string, number>()
  #made: Made | undefined

  constructor(options: ListingOptions) {
    this.#options = options
  }

  /** An instance has pinged. Those of which nothing is held are not remembered: anybody can make up any number of them. */
  heard({ name, instance }: Asker): void {
    const key = keyOf(name, instance)
    if (this.#heard.has(key)) this.#heard.set(key, this.#options.clock.monotonic())
  }

  /** Whether nothing was heard of an instance for minutes. One that is not known yet has as long from now on. */
  isSilent(name: string, instance: string): boolean {
    const nowMs = this.#options.clock.monotonic()
    return nowMs - (this.#heard.get(keyOf(name, instance)) ?? nowMs) > SILENT_INSTANCE_MS
  }

  /** The root over all that is listed. */
  root(): Uint8Array {
    return this.#list().root
  }

  /** All that is listed. */
  buckets(): Buckets {
    return this.#list().buckets
  }

  #list(): Made {
    const atMs = this.#options.clock.monotonic()
    if (this.#made !== undefined && atMs - this.#made.atMs < LISTED_AFTER_MS) return this.#made
    const heard = new Map<string, number>()
    const buckets = this.#options.directory.listed({
      heldForMs: LISTED_AFTER_MS,
      isSilent: (name, instance) => {
        const key = keyOf(name, instance)
        heard.set(key, this.#heard.get(key) ?? atMs)
        return this.isSilent(name, instance)
      },
    })
    this.#heard = heard
    this.#made = { buckets, root: buckets.root(), atMs }
    return this.#made
  }
}

function keyOf(name: string, instance: string): string {
  return `${name} ${instance}`
}
