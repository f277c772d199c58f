import { hex } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import type { CryptoEngine, KeyPair } from '../crypto/engine.ts'
import { type KeyResolver, KeyUse, keyId, type OwnKey, SUITE_X25519, wrapContext } from '../envelope/keys.ts'
import type { Identity } from '../identity/identity.ts'
import { type ParsedAnnouncement, signAnnouncement } from './announcements.ts'
import type { AcceptedEpoch } from './epochs.ts'

/** An instance's keys for one epoch. They live in memory only. */
interface EpochKeys {
  readonly epoch: AcceptedEpoch
  readonly message: KeyPair
  readonly recipient: OwnKey
  readonly announcement: ParsedAnnouncement
  /** When the grace of the epoch has ended by what has passed since they were made, on the clock that counts that. */
  readonly endsAtLateMs: number
  nextSeq: number
}

/** When keys are made. */
export interface MakingTime {
  /** The time that it is at least, in ms since 1970. */
  readonly notBeforeMs: number
  /** The most that can have passed since an arbitrary start, in ms. */
  readonly lateMs: number
}

/** What sealing in an epoch takes from the keyring. */
export interface SendingKeys {
  readonly messageKey: Uint8Array
  readonly announcementHash: Uint8Array
  readonly seq: number
}

/**
 * The keys of one instance: for each epoch a fresh message key and a fresh live key, destroyed when the epoch's
 * grace is over. Destroying is best effort in JavaScript: copies that the engine made are out of reach.
 */
export class Keyring implements KeyResolver {
  readonly instance: Uint8Array
  readonly #engine: CryptoEngine
  readonly #identity: Identity
  readonly #byEpoch = new Map<string, EpochKeys>()
  #recipients: readonly OwnKey[] = []

  constructor(engine: CryptoEngine, identity: Identity, instance: Uint8Array) {
    this.#engine = engine
    this.#identity = identity
    this.instance = instance
  }

  /**
   * Makes keys for an epoch and signs their announcement; for an epoch that has keys, the announcement made before.
   *
   * @throws SubrosaError ERR_SUITE when the epoch allows no suite that this version has: it never falls back.
   */
  announce(epoch: AcceptedEpoch, at: MakingTime): ParsedAnnouncement {
    const known = this.#byEpoch.get(hex(epoch.hash))
    if (known !== undefined) return known.announcement
    if (!epoch.suites.includes(SUITE_X25519)) {
      throw new SubrosaError(
        'ERR_SUITE',
        `epoch ${epoch.number} allows only suites that this version does not have`,
        {
          hint: `the epoch allows ${epoch.suites.join(', ')}, this version has ${SUITE_X25519}`,
        },
      )
    }
    const keys = this.#make(epoch, at)
    this.#byEpoch.set(hex(epoch.hash), keys)
    this.#listRecipients()
    return keys.announcement
  }

  /** The own keys that a wrap may be for: of every epoch whose grace lasts. */
  ownKeys(): readonly OwnKey[] {
    return this.#recipients
  }

  /** Whether keys for this epoch have been announced. */
  has(epochHash: Uint8Array): boolean {
    return this.#byEpoch.has(hex(epochHash))
  }

  /** The keys to seal with in this epoch, and the next sequence number; `undefined` without keys for it. */
  sending(epochHash: Uint8Array): SendingKeys | undefined {
    const keys = this.#byEpoch.get(hex(epochHash))
    if (keys === undefined) return undefined
    return {
      messageKey: keys.message.secretKey,
      announcementHash: keys.announcement.hash,
      seq: keys.nextSeq++,
    }
  }

  /** The announcements of every epoch that has keys, oldest first. */
  announcements(): readonly ParsedAnnouncement[] {
    return [...this.#byEpoch.values()].map(({ announcement }) => announcement)
  }

  /**
   * Wipes the keys of every epoch whose grace is over: by the latest confirmed time, or by what can have passed since the
   * keys were made, whichever is first. A clock that is set back keeps no keys alive, and one that is ahead for a moment
   * wipes none.
   *
   * @returns the numbers of those epochs
   */
  destroyEnded({
    latestMs,
    lateMs,
  }: {
    readonly latestMs: number
    readonly lateMs: number
  }): readonly number[] {
    const ended = [...this.#byEpoch.values()].filter(
      ({ epoch, endsAtLateMs }) => endOf(epoch) <= latestMs || endsAtLateMs <= lateMs,
    )
    for (const keys of ended) this.#destroy(keys)
    return ended.map(({ epoch }) => epoch.number)
  }

  /** When the next keys end by what has passed, on the clock that counts it; `undefined` without keys. */
  get endsAtLateMs(): number | undefined {
    const ends = [...this.#byEpoch.values()].map(({ endsAtLateMs }) => endsAtLateMs)
    return ends.length === 0 ? undefined : Math.min(...ends)
  }

  /** Wipes everything. */
  destroyAll(): void {
    for (const keys of [...this.#byEpoch.values()]) this.#destroy(keys)
  }

  toJSON(): { readonly instance: string } {
    return { instance: hex(this.instance) }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Keyring { instance: '${hex(this.instance)}', epochs: ${this.#byEpoch.size}, keys: [secret] }`
  }

  #make(epoch: AcceptedEpoch, { notBeforeMs, lateMs }: MakingTime): EpochKeys {
    const engine = this.#engine
    const identity = this.#identity
    const message = engine.ed25519KeyPair()
    const live = engine.x25519KeyPair()
    const announcement = signAnnouncement(
      engine,
      {
        realm: epoch.realm,
        agent: identity.name,
        instance: this.instance,
        epoch: epoch.number,
        epochHash: epoch.hash,
        identity: identity.publicKey,
        messageKey: message.publicKey,
        keys: [{ suite: SUITE_X25519, use: KeyUse.live, publicKey: live.publicKey }],
        notBefore: Math.min(Math.max(epoch.notBefore, notBeforeMs), epoch.notAfter - 1),
        notAfter: epoch.notAfter,
        storedMs: 0,
        seq: 1,
        token: identity.token,
      },
      { identity, messageKey: message.secretKey },
    )
    const announcementHash = announcement.hash
    const recipient: OwnKey = {
      kid: keyId(engine, { suite: SUITE_X25519, use: KeyUse.live, announcementHash }),
      context: wrapContext(engine, SUITE_X25519, { epochHash: epoch.hash, announcementHash }),
      publicKey: live.publicKey,
      secretKey: live.secretKey,
      suite: SUITE_X25519,
      epoch: epoch.number,
      epochHash: epoch.hash,
    }
    const endsAtLateMs = lateMs + endOf(epoch) - notBeforeMs
    return { epoch, message, recipient, announcement, endsAtLateMs, nextSeq: 1 }
  }

  #destroy(keys: EpochKeys): void {
    this.#engine.wipe(keys.message.secretKey, keys.recipient.secretKey)
    this.#byEpoch.delete(hex(keys.epoch.hash))
    this.#listRecipients()
  }

  #listRecipients(): void {
    this.#recipients = [...this.#byEpoch.values()].map(({ recipient }) => recipient)
  }
}

/** When the grace of an epoch is over, in ms since 1970. */
function endOf({ notAfter, graceMs }: AcceptedEpoch): number {
  return notAfter + graceMs
}
