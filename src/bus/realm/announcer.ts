import { fromHex, hex } from '../../base/bytes.ts'
import {
  MAX_JITTER_MS,
  MAX_REPEAT_INTERVAL_MS,
  REPEAT_INTERVAL_MS,
  REPEAT_INTERVAL_MS_PER_ANNOUNCEMENT,
} from '../../base/limits.ts'
import type { Timers } from '../../base/timers.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import type { Identity } from '../../identity/identity.ts'
import { signRetirement } from '../../keys/announcements.ts'
import type { Directory } from '../../keys/directory.ts'
import type { AcceptedEpoch } from '../../keys/epochs.ts'
import type { Keyring } from '../../keys/keyring.ts'
import type { AgentState } from '../../keys/state.ts'
import type { Context } from '../context.ts'
import type { NatsLike } from '../nats-like.ts'
import { publishSafely } from '../safely.ts'

/** What an announcer works with. */
export interface AnnouncerOptions extends Context {
  readonly identity: Identity
  readonly keyring: Keyring
  readonly directory: Directory
  readonly state: AgentState
  readonly timers: Timers
  /** Called when the keys of an epoch have been announced. */
  readonly onAnnounced: () => void
}

/** Publishes what this instance says of itself: its keys for each epoch, and that it retires. */
export class Announcer {
  readonly #nc: NatsLike
  readonly #options: AnnouncerOptions
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

  /** Makes and announces keys for an epoch, once, and none after it has retired. @throws SubrosaError ERR_SUITE */
  announce(epoch: AcceptedEpoch): void {
    if (this.#isRetired) return
    const { clock, feed, keyring, directory, onAnnounced } = this.#options
    // A clock that was set back must not give an epoch that is over new keys, nor keys a longer life.
    const at = { notBeforeMs: clock.notBefore(), lateMs: clock.late() }
    if (at.notBeforeMs >= epoch.notAfter || keyring.has(epoch.hash)) return
    const { bytes } = keyring.announce(epoch, at)
    directory.add(bytes, clock.now())
    this.#publish(bytes)
    feed.emit({ type: 'rotated', epoch: epoch.number })
    onAnnounced()
  }

  /** Early in the overlap with the epoch before, with jitter, so that a realm does not announce all at once. */
  announceSoon(epoch: AcceptedEpoch, before: AcceptedEpoch | undefined): void {
    const { clock, engine, timers } = this.#options
    const overlap = Math.max(0, (before?.notAfter ?? 0) - Math.max(epoch.notBefore, clock.now()))
    timers.after(Math.min(overlap / 4, MAX_JITTER_MS) * randomShare(engine), () => this.announce(epoch))
  }

  /** Publishes the announcements in use again: somebody may have missed them. */
  repeat(): void {
    if (this.#isRetired) return
    for (const { bytes } of this.#options.keyring.announcements()) this.#publish(bytes)
  }

  /**
   * Repeats them again and again from now on: what the broker has lost or withheld of an announcement, to the rotation service
   * or to one agent, is mended so, since nobody can miss whom they have not heard of.
   */
  keepRepeating(): void {
    const { directory, engine, timers } = this.#options
    const intervalMs = Math.max(
      REPEAT_INTERVAL_MS,
      REPEAT_INTERVAL_MS_PER_ANNOUNCEMENT * directory.sizeAtLeast,
    )
    timers.after(Math.min(intervalMs, MAX_REPEAT_INTERVAL_MS) * (1 + randomShare(engine) / 2), () => {
      this.keepRepeating()
      this.repeat()
    })
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
  retireFormer(epoch: AcceptedEpoch): void {
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

  /** @returns whether it was published */
  #publish(bytes: Uint8Array, instance = this.#options.keyring.instance): boolean {
    const { identity, subjects, onError } = this.#options
    return publishSafely(this.#nc, subjects.announce(identity.name, instance), { bytes, onError })
  }
}

/** At random from 0 up to 1. */
function randomShare(engine: CryptoEngine): number {
  return (engine.randomBytes(1)[0] ?? 0) / 256
}
