import { hex, samePublic } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import type { CryptoEngine, KeyPair } from '../crypto/engine.ts'
import { type KeyResolver, KeyUse, keyId, type OwnKey, SUITE_X25519, wrapContext } from '../envelope/keys.ts'
import type { Identity } from '../identity/identity.ts'
import { type ParsedAnnouncement, signAnnouncement } from './announcements.ts'
import type { Epoch } from './epochs.ts'

/** An instance's keys, announced together for one epoch. They live in memory only. */
interface AnnouncedKeys {
  readonly epoch: Epoch
  readonly message: KeyPair
  readonly recipient: OwnKey
  readonly announcement: ParsedAnnouncement
  nextSeq: number
  /** When they end, in ms since 1970: with the grace of the epoch, or with that of their own once others take their place. */
  endsAtMs: number
  /** The same by what has passed since they were made, on the clock that counts that. */
  endsAtLateMs: number
}

/** When keys are made. */
export interface MakingTime {
  /** The time that it is at least, in ms since 1970. */
  readonly notBeforeMs: number
  /** The most that can have passed since an arbitrary start, in ms. */
  readonly lateMs: number
}

/** Of which announcement fresh keys are, and since when. */
export interface Renewal {
  readonly at: MakingTime
  /** Above that of the announcement in use. */
  readonly seq: number
}

/** What sealing in an epoch takes from the keyring. */
export interface SendingKeys {
  readonly messageKey: Uint8Array
  readonly announcementHash: Uint8Array
  readonly seq: number
}

/**
 * The keys of one instance: for each epoch a fresh message key and a fresh live key, destroyed when the epoch's
 * grace is over, or as much time after fresh ones took their place within it. Destroying is best effort in JavaScript: copies that
 * the engine made are out of reach.
 */
export class Keyring implements KeyResolver {
  readonly instance: Uint8Array
  readonly #engine: CryptoEngine
  readonly #identity: Identity
  /** Newest last: those to seal with. */
  readonly #byEpoch = new Map<string, readonly AnnouncedKeys[]>()
  #recipients: readonly OwnKey[] = []
  #renewals = 0

  constructor(engine: CryptoEngine, identity: Identity, instance: Uint8Array) {
    this.#engine = engine
    this.#identity = identity
    this.instance = instance
  }

  /**
   * Makes keys for an epoch and signs their announcement; for an epoch that has keys, the announcement in use.
   *
   * @throws SubrosaError ERR_SUITE when the epoch allows no suite that this version has: it never falls back.
   */
  announce(epoch: Epoch, at: MakingTime): ParsedAnnouncement {
    return this.#newest(epoch.hash)?.announcement ?? this.#add(epoch, { at, seq: 1 })
  }

  /**
   * Makes fresh keys for an epoch and signs their announcement. Those before go on opening for as long as the epoch's grace
   * lasts.
   *
   * @returns the announcement; where that in use has this `seq` or a higher one, `undefined`: then nothing changes
   * @throws SubrosaError ERR_SUITE
   */
  renew(epoch: Epoch, { at, seq }: Renewal): ParsedAnnouncement | undefined {
    const before = this.#newest(epoch.hash)
    if (before !== undefined && before.announcement.announcement.seq >= seq) return undefined
    const announcement = this.#add(epoch, { at, seq })
    if (before !== undefined) {
      this.#renewals++
      before.endsAtMs = Math.min(before.endsAtMs, at.notBeforeMs + epoch.graceMs)
      before.endsAtLateMs = Math.min(before.endsAtLateMs, at.lateMs + epoch.graceMs)
    }
    return announcement
  }

  /** The own keys that a wrap may be for: of every epoch whose grace lasts. */
  ownKeys(): readonly OwnKey[] {
    return this.#recipients
  }

  /** The hash of the announcement of an own key, by its kid; `undefined` once it is wiped. */
  announcementOf(kid: Uint8Array): Uint8Array | undefined {
    for (const keys of this.#byEpoch.values())
      for (const { recipient, announcement } of keys)
        if (samePublic(recipient.kid, kid)) return announcement.hash
    return undefined
  }

  /** How often fresh keys have taken the place of others within their epoch: what was begun with those is to end. */
  get renewals(): number {
    return this.#renewals
  }

  /** Whether keys for this epoch have been announced. */
  has(epochHash: Uint8Array): boolean {
    return this.#byEpoch.has(hex(epochHash))
  }

  /** The keys to seal with in this epoch, and the next sequence number; `undefined` without keys for it. */
  sending(epochHash: Uint8Array): SendingKeys | undefined {
    const keys = this.#newest(epochHash)
    if (keys === undefined) return undefined
    return {
      messageKey: keys.message.secretKey,
      announcementHash: keys.announcement.hash,
      seq: keys.nextSeq++,
    }
  }

  /** The announcements in use, one for every epoch that has keys, oldest first. */
  announcements(): readonly ParsedAnnouncement[] {
    return [...this.#byEpoch.values()].flatMap((keys) => keys.at(-1)?.announcement ?? [])
  }

  /**
   * Wipes the keys of every epoch whose grace is over, and those that fresh ones have replaced for so long: by the latest confirmed time, or by what can have passed since the
   * keys were made, whichever is first. A clock that is set back keeps no keys alive, and one that is ahead for a moment
   * wipes none.
   *
   * @returns the numbers of the epochs that have no keys any more
   */
  destroyEnded({
    latestMs,
    lateMs,
  }: {
    readonly latestMs: number
    readonly lateMs: number
  }): readonly number[] {
    const isOver = ({ endsAtMs, endsAtLateMs: endsLate }: AnnouncedKeys): boolean =>
      endsAtMs <= latestMs || endsLate <= lateMs
    return this.#destroy(isOver)
  }

  /** When the next keys end by what has passed, on the clock that counts it; `undefined` without keys. */
  get endsAtLateMs(): number | undefined {
    const ends = [...this.#byEpoch.values()].flat().map(({ endsAtLateMs }) => endsAtLateMs)
    return ends.length === 0 ? undefined : Math.min(...ends)
  }

  /** Wipes everything. */
  destroyAll(): void {
    this.#destroy(() => true)
  }

  toJSON(): { readonly instance: string } {
    return { instance: hex(this.instance) }
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Keyring { instance: '${hex(this.instance)}', epochs: ${this.#byEpoch.size}, keys: [secret] }`
  }

  #newest(epochHash: Uint8Array): AnnouncedKeys | undefined {
    return this.#byEpoch.get(hex(epochHash))?.at(-1)
  }

  #add(epoch: Epoch, renewal: Renewal): ParsedAnnouncement {
    if (!epoch.suites.includes(SUITE_X25519)) {
      throw new SubrosaError(
        'ERR_SUITE',
        `epoch ${epoch.number} allows only suites that this version does not have`,
        {
          hint: `the epoch allows ${epoch.suites.join(', ')}, this version has ${SUITE_X25519}`,
        },
      )
    }
    const keys = this.#make(epoch, renewal)
    const key = hex(epoch.hash)
    this.#byEpoch.set(key, [...(this.#byEpoch.get(key) ?? []), keys])
    this.#listRecipients()
    return keys.announcement
  }

  #make(epoch: Epoch, renewal: Renewal): AnnouncedKeys {
    const pairs = { message: this.#engine.ed25519KeyPair(), live: this.#engine.x25519KeyPair() }
    try {
      return this.#announced(epoch, renewal, pairs)
    } catch (error) {
      // Nobody else has them: what is not announced is of no use.
      this.#engine.wipe(pairs.message.secretKey, pairs.live.secretKey)
      throw error
    }
  }

  #announced(
    epoch: Epoch,
    { at: { notBeforeMs, lateMs }, seq }: Renewal,
    { message, live }: { readonly message: KeyPair; readonly live: KeyPair },
  ): AnnouncedKeys {
    const engine = this.#engine
    const identity = this.#identity
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
        seq,
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
    const endsAtMs = epoch.notAfter + epoch.graceMs
    const endsAtLateMs = lateMs + endsAtMs - notBeforeMs
    return { epoch, message, recipient, announcement, endsAtMs, endsAtLateMs, nextSeq: 1 }
  }

  /** @returns the numbers of the epochs that have no keys any more */
  #destroy(isOver: (keys: AnnouncedKeys) => boolean): readonly number[] {
    const emptied: number[] = []
    for (const [key, all] of this.#byEpoch) {
      const over = all.filter(isOver)
      if (over.length === 0) continue
      for (const { message, recipient } of over) this.#engine.wipe(message.secretKey, recipient.secretKey)
      const left = all.filter((keys) => !over.includes(keys))
      if (left.length > 0) this.#byEpoch.set(key, left)
      else {
        this.#byEpoch.delete(key)
        emptied.push(...over.slice(0, 1).map(({ epoch }) => epoch.number))
      }
    }
    this.#listRecipients()
    return emptied
  }

  #listRecipients(): void {
    this.#recipients = [...this.#byEpoch.values()].flat().map(({ recipient }) => recipient)
  }
}
