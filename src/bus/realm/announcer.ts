import { fromHex, hex } from '../../base/bytes.ts'
import { OWN_LISTED_MS } from '../../base/limits.ts'
import type { Identity } from '../../identity/identity.ts'
import { type ParsedAnnouncement, signRetirement } from '../../keys/announcements.ts'
import type { Directory } from '../../keys/directory.ts'
import type { Epoch } from '../../keys/epochs.ts'
import type { Keyring, MakingTime } from '../../keys/keyring.ts'
import type { AgentState } from '../../keys/state.ts'
import type { Context } from '../context.ts'
import type { NatsLike } from '../nats-like.ts'
import { publishSafely } from '../safely.ts'

/** What an announcer works with. */
export interface AnnouncerOptions extends Context {
  readonly identity: Identity
  readonly keyring: Keyring
  readonly directory: Pick<Directory, 'add'>
  readonly state: AgentState
  /** Called when keys have been announced. */
  readonly onAnnounced: () => void
}

/** Publishes what this instance says of itself: its keys for each epoch, and that it retires. */
export class Announcer {
  readonly #nc: NatsLike
  readonly #options: AnnouncerOptions
  /** When each announcement in use was published, by the monotonic clock. */
  readonly #publishedAt = new WeakMap<ParsedAnnouncement, number>()
  /** The highest sequence number that was announced for an epoch. */
  readonly #seqs = new WeakMap<Epoch, number>()
  #isRetired = false
  #isClosed = false

  constructor(nc: NatsLike, options: AnnouncerOptions) {
    this.#nc = nc
    this.#options = options
  }

  /** Whether {@link retire} was called: nothing is announced any more. */
  get isRetired(): boolean {
    return this.#isRetired
  }

  /** Makes and announces keys for an epoch that has none, and none after it has retired. @throws SubrosaError ERR_SUITE */
  announce(epoch: Epoch): void {
    const at = this.#makingTime()
    const { keyring, clock } = this.#options
    // A clock that was set back must not give an epoch that is over new keys, nor keys a longer life.
    if (this.#isRetired || at.notBeforeMs >= epoch.notAfter || keyring.has(epoch.hash)) return
    // Those that were announced before were wiped since a clock was wrong: these must not look like a clone's.
    const again = this.#seqs.has(epoch)
      ? keyring.renew(epoch, { at, seq: this.#seqAfter(epoch, clock.now()) })
      : undefined
    this.#publishNew(epoch, again ?? keyring.announce(epoch, at))
  }

  /**
   * Makes and announces fresh keys for an epoch that has some.
   *
   * @param orderedAt the sequence number of their announcement, where it is above that of the one in use; else that is counted on:
   *   an order of a time that lies ahead must not have the keys of the next one count for nothing
   */
  renew(epoch: Epoch, orderedAt: number): void {
    const at = this.#makingTime()
    const { keyring } = this.#options
    if (this.#isRetired || at.notBeforeMs >= epoch.notAfter || !keyring.has(epoch.hash)) return
    const announcement = keyring.renew(epoch, { at, seq: this.#seqAfter(epoch, orderedAt) })
    if (announcement !== undefined) this.#publishNew(epoch, announcement)
  }

  /** The hashes of own announcements that are old enough to be in the directory of every rotation service. */
  established(): readonly Uint8Array[] {
    const { clock, keyring } = this.#options
    if (this.#isRetired) return []
    const beforeMs = clock.monotonic() - OWN_LISTED_MS
    return keyring
      .announcements()
      .filter((announcement) => (this.#publishedAt.get(announcement) ?? Number.POSITIVE_INFINITY) <= beforeMs)
      .map(({ hash }) => hash)
  }

  /**
   * Tells everyone that this instance takes no more messages, as far as it can be told. A later process does it again, where
   * the server does not say that it has taken that.
   */
  retire(): void {
    const { identity, keyring, clock, state, onError } = this.#options
    this.#isRetired = true
    let isPublished = true
    for (const { announcement } of keyring.announcements()) {
      const epoch = { number: announcement.epoch, hash: announcement.epochHash }
      const bytes = signRetirement(identity, epoch, { ...announcement, seq: clock.now() })
      isPublished = this.#publish(bytes) && isPublished
    }
    if (!isPublished) return
    const forget = (): void => {
      // The state is another process's from then on.
      if (!this.#isClosed) state.forgetInstances()
    }
    this.#nc
      .flush()
      .then(forget, () => {})
      .catch(onError)
  }

  /** Has nothing to do with the state any more. */
  close(): void {
    this.#isClosed = true
  }

  /** Retires the instances of earlier processes that did not come to it. */
  retireFormer(epoch: Epoch): void {
    const { identity, state, clock, directory, keyring } = this.#options
    if (state.former.length === 0) return
    const { notBefore, notAfter } = epoch
    for (const former of state.former) {
      const instance = fromHex(former.instance)
      const bytes = signRetirement(identity, epoch, { instance, seq: clock.now(), notBefore, notAfter })
      directory.add(bytes, clock.now())
      // A later process does it, where this one cannot.
      if (!this.#publish(bytes, instance)) return
    }
    state.forgetInstances()
    state.keepInstance(hex(keyring.instance))
  }

  #makingTime(): MakingTime {
    const { clock } = this.#options
    return { notBeforeMs: clock.notBefore(), lateMs: clock.late() }
  }

  /** The sequence number of the next announcement for an epoch: above that of the one before, which would count in its place. */
  #seqAfter(epoch: Epoch, leastSeq: number): number {
    return Math.max(leastSeq, (this.#seqs.get(epoch) ?? 0) + 1)
  }

  #publishNew(epoch: Epoch, parsed: ParsedAnnouncement): void {
    const { clock, feed, directory, onAnnounced } = this.#options
    this.#seqs.set(epoch, parsed.announcement.seq)
    directory.add(parsed.bytes, clock.now())
    this.#publish(parsed.bytes)
    this.#publishedAt.set(parsed, clock.monotonic())
    feed.emit({ type: 'rotated', epoch: parsed.announcement.epoch })
    onAnnounced()
  }

  /** @returns whether it was published */
  #publish(bytes: Uint8Array, instance = this.#options.keyring.instance): boolean {
    const { identity, subjects, onError } = this.#options
    return publishSafely(this.#nc, subjects.announce(identity.name, instance), { bytes, onError })
  }
}
