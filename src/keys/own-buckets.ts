import type { HouseClock } from '../base/house-clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { type AnnouncementStore, type HeldAnnouncement, isRetirement } from './announcement-store.ts'
import { Buckets } from './buckets.ts'
import type { Epoch, Epochs } from './epochs.ts'

const SECOND_MS = 1000

/** Whether an instance (hexadecimal) has not been heard of for long. */
export type IsSilent = (name: string, instance: string) => boolean

/** What a rotation service lists of all that it holds. */
export interface Listed {
  /** For how long it has held it, in ms: what has just come is on its way to others too. */
  readonly heldForMs: number
  /** Of which instances it does not list keys. */
  readonly isSilent: IsSilent
}

/** What buckets are made of. */
export interface OwnBucketsOptions {
  readonly engine: Pick<CryptoEngine, 'sha256'>
  readonly clock: Pick<HouseClock, 'now' | 'monotonic'>
  readonly epochs: Pick<Epochs, 'current'>
  readonly store: Pick<AnnouncementStore, 'from' | 'isListed'>
}

/** The own directory by bucket: what is verified, of current epochs and of use to others. */
export class OwnBuckets {
  readonly #options: OwnBucketsOptions
  /** Made when they are first asked for, and again when other epochs are current. */
  #held: { readonly buckets: Buckets; readonly epochs: readonly Epoch[] } | undefined

  constructor(options: OwnBucketsOptions) {
    this.#options = options
  }

  /** An entry is of use to others from now on. */
  add({ epoch, verified }: HeldAnnouncement): void {
    if (this.#held?.epochs.includes(epoch) === true) this.#held.buckets.add(verified.hash)
  }

  /** It is of no use to them any more, where it was. */
  remove({ verified }: HeldAnnouncement): void {
    this.#held?.buckets.remove(verified.hash)
  }

  /** All of them. They change with the directory. */
  all(): Buckets {
    const epochs = this.#current()
    if (this.#held === undefined || !isSame(this.#held.epochs, epochs))
      this.#held = { buckets: this.#make(epochs, () => true), epochs }
    return this.#held.buckets
  }

  /** What a rotation service lists of them now. */
  listed({ heldForMs, isSilent }: Listed): Buckets {
    const latestS = (this.#options.clock.monotonic() - heldForMs) / SECOND_MS
    return this.#make(this.#current(), (entry) => {
      const { instance, sinceS } = entry
      if (sinceS > latestS) return false
      return isRetirement(entry) || !isSilent(instance.name, instance.id)
    })
  }

  #current(): readonly Epoch[] {
    const { clock, epochs } = this.#options
    return epochs.current(clock.now())
  }

  #make(epochs: readonly Epoch[], covers: (entry: HeldAnnouncement) => boolean): Buckets {
    const { engine, store } = this.#options
    const buckets = new Buckets(engine)
    for (const entry of store.from(0)) {
      if (epochs.includes(entry.epoch) && store.isListed(entry) && covers(entry))
        buckets.add(entry.verified.hash)
    }
    return buckets
  }
}

function isSame(a: readonly Epoch[], b: readonly Epoch[]): boolean {
  return a.length === b.length && a.every((epoch, i) => epoch === b[i])
}
