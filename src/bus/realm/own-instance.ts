import { hex } from '../../base/bytes.ts'
import type { Timers } from '../../base/timers.ts'
import type { Identity } from '../../identity/identity.ts'
import type { ParsedAnnouncement } from '../../keys/announcements.ts'
import type { Directory } from '../../keys/directory.ts'
import type { Epoch, Epochs } from '../../keys/epochs.ts'
import { Keyring } from '../../keys/keyring.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import type { AgentState } from '../../keys/state.ts'
import { INSTANCE_BYTES } from '../../wire/statements.ts'
import type { Context } from '../context.ts'
import type { NatsLike } from '../nats-like.ts'
import { Announcer } from './announcer.ts'
import { EpochWatch } from './epoch-watch.ts'
import { FreshKeys } from './fresh-keys.ts'
import { KeyEnds } from './key-ends.ts'

/** What an instance works with. */
export interface OwnInstanceOptions extends Context {
  readonly identity: Identity
  readonly state: AgentState
  readonly timers: Timers
  readonly epochs: Epochs
  readonly revocations: RevocationSet
  readonly directory: () => Pick<Directory, 'add'>
  /** The plan that is held. */
  readonly plan: () => HeldPlan | undefined
  /** Whether epochs begin for this instance: it has joined, and its clock is confirmed. */
  readonly mayBegin: () => boolean
  /** Called each time, once keys are wiped. */
  readonly onTime: () => void
  /** Called when epochs have come into reach, or are forgotten. */
  readonly onEpochs: () => void
  /** Called when keys have been announced. */
  readonly onAnnounced: () => void
  /** Called when no keys of some epoch are left. */
  readonly onDestroyed: () => void
}

/** The keys of one instance from their making to their end: what it announces, when, and when it wipes them. */
export class OwnInstance {
  readonly keyring: Keyring
  readonly #options: OwnInstanceOptions
  readonly #announcer: Announcer
  readonly #epochWatch: EpochWatch
  readonly #freshKeys: FreshKeys
  readonly #keyEnds: KeyEnds

  constructor(nc: NatsLike, options: OwnInstanceOptions) {
    const { engine, trust, clock, feed, timers, epochs, revocations, identity } = options
    const { plan, mayBegin, onTime, onEpochs, onAnnounced, onDestroyed } = options
    this.#options = options
    this.keyring = new Keyring(engine, identity, engine.randomBytes(INSTANCE_BYTES))
    const { keyring } = this
    const hasKeys = (epoch: Epoch): boolean => keyring.has(epoch.hash)
    this.#epochWatch = new EpochWatch({
      engine,
      clock,
      feed,
      timers,
      epochs,
      plan,
      mayBegin,
      hasKeys,
      onChanged: onEpochs,
      onBegun: (epoch) => this.#announcer.announce(epoch),
    })
    this.#keyEnds = new KeyEnds({ clock, feed, timers, keyring, onTime, onDestroyed })
    this.#announcer = new Announcer(nc, {
      ...options,
      keyring,
      directory: { add: (...announced) => options.directory().add(...announced) },
      onAnnounced: () => {
        this.#keyEnds.lookInTime()
        onAnnounced()
      },
    })
    this.#freshKeys = new FreshKeys({
      engine,
      trust,
      clock,
      timers,
      epochs,
      revocations,
      plan,
      hasKeys,
      renew: (epoch, at) => this.#announcer.renew(epoch, at),
    })
  }

  /** Whether it has retired: nothing is announced any more. */
  get isRetired(): boolean {
    return this.#announcer.isRetired
  }

  /** The own announcements in use; none once it has retired. */
  announcements(): readonly ParsedAnnouncement[] {
    return this.isRetired ? [] : this.keyring.announcements()
  }

  /** The hashes of those that every rotation service should list by now. */
  established(): readonly Uint8Array[] {
    return this.#announcer.established()
  }

  /** Wipes keys whose time is over. */
  wipe(): void {
    this.#keyEnds.look()
  }

  /** Notices epochs that have begun, and those that are over. */
  lookAtEpochs(): void {
    this.#epochWatch.look()
  }

  /** A rotation service says which epoch begins. @throws SubrosaError ERR_MALFORMED */
  takeNotice(bytes: Uint8Array): void {
    this.#epochWatch.notice(bytes)
  }

  /** Somebody orders fresh keys. @throws SubrosaError ERR_MALFORMED */
  takeOrder(bytes: Uint8Array): void {
    this.#freshKeys.take(bytes)
  }

  /**
   * Announces keys for every epoch that has begun, and retires the instances of former processes.
   *
   * @returns whether any epoch has begun
   * @throws SubrosaError ERR_SUITE, ERR_STATE
   */
  join(): boolean {
    const epochs = this.#epochWatch.join()
    const newest = epochs.at(-1)
    if (newest === undefined) return false
    // Before anybody hears of this instance: whoever comes after a crash retires it.
    this.#options.state.keepInstance(hex(this.keyring.instance))
    for (const epoch of epochs) this.#announcer.announce(epoch)
    this.#announcer.retireFormer(newest)
    return true
  }

  /** Tells everyone that this instance takes no more messages. */
  retire(): void {
    this.#announcer.retire()
  }

  /** Wipes all keys, and has nothing to do with the state any more. */
  close(): void {
    this.#announcer.close()
    this.keyring.destroyAll()
  }
}
