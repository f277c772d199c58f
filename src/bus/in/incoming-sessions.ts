import { fromHex, hex } from '../../base/bytes.ts'
import {
  CLOCK_WINDOW_MS,
  FAILED_LOOKUP_TTL_MS,
  MAX_SIDS_REMEMBERED,
  NOT_ADDRESSED_MS,
} from '../../base/limits.ts'
import type { Unsealed } from '../../envelope/open.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { Epoch } from '../../keys/epochs.ts'
import { IncomingSession } from '../../session/incoming.ts'
import { frameSid, isFrameOf } from '../../wire/frame.ts'
import { decodeHandshake, SessionMode } from '../../wire/handshake.ts'
import { RefusalReason } from '../../wire/refusal.ts'
import type { Context } from '../context.ts'
import type { NatsLike } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import { HandshakeSearch, type HandshakeSearchOptions } from './handshake-search.ts'
import { HeldSession, ownKeyName } from './held-session.ts'
import { Lookups } from './lookups.ts'
import { Recent } from './recent.ts'
import { SessionPool, type SessionPoolOptions } from './session-pool.ts'
import { type OwnRefusal, SessionRefusals } from './session-refusals.ts'

const PRUNE_EVERY_MS = 1000
const SEED_BYTES = 8

/** What incoming sessions work with. */
export interface IncomingSessionsOptions
  extends Context,
    Pick<HandshakeSearchOptions, 'line' | 'onHandshake'> {
  readonly link: RealmLink
  /** Called with sessions (their sids in hexadecimal) of which no frame is opened any more. */
  readonly onForgotten: (sids: readonly string[]) => void
  /** Memory for them. Default: as SPEC has it. */
  readonly maxBytes?: SessionPoolOptions['maxBytes']
}

/** Where a session comes from: its proved sender. */
export interface Origin {
  readonly sender: VerifiedAnnouncement
  readonly epoch: Epoch
}

/** Why the frame of a session that is not held is not kept waiting. */
export type TurnedAway = 'not addressed' | 'session' | 'flood'

/** The sessions that others have opened to this instance. SPEC, "Sessions". */
export class IncomingSessions {
  readonly #options: IncomingSessionsOptions
  readonly #pool: SessionPool
  readonly #refusals: SessionRefusals
  readonly #search: HandshakeSearch
  readonly #lookups: Lookups
  readonly #notAddressed: Recent<true>
  /** Sessions for which there was no room lately, with the refusals of them. */
  readonly #refused: Recent<OwnRefusal>
  #prunedAtMs = Number.NEGATIVE_INFINITY
  #last: { readonly sid: Uint8Array; readonly held: HeldSession } | undefined

  constructor(nc: NatsLike, options: IncomingSessionsOptions) {
    const { clock, engine, maxBytes, onError, onForgotten } = options
    this.#options = options
    this.#refusals = new SessionRefusals(nc, options)
    this.#search = new HandshakeSearch(nc, options)
    this.#notAddressed = new Recent(clock, { ttlMs: NOT_ADDRESSED_MS, max: MAX_SIDS_REMEMBERED })
    this.#refused = new Recent(clock, { ttlMs: FAILED_LOOKUP_TTL_MS, max: MAX_SIDS_REMEMBERED })
    this.#pool = new SessionPool({
      clock,
      random: engine.randomBytes(SEED_BYTES),
      ...(maxBytes === undefined ? {} : { maxBytes }),
      tagOf: ({ session, kid }) => {
        const hash = options.link.keyring.announcementOf(kid)
        return hash && session.refusalTag(RefusalReason.ended, hash)
      },
      onGone: (sids) => onForgotten(sids),
    })
    this.#lookups = new Lookups({
      clock,
      isKnown: (sid) => this.#isKnown(sid),
      ask: (sid) => this.#search.ask(sid),
      onDone: (sid) => this.#search.stop(sid),
      onError,
    })
  }

  /** The session of this frame. */
  find(frame: Uint8Array): HeldSession | undefined {
    const last = this.#last
    if (last !== undefined && !last.held.isEnded && isFrameOf(frame, last.sid)) return last.held
    const sid = frameSid(frame)
    const held = this.#pool.get(hex(sid))
    if (held !== undefined) this.#last = { sid, held }
    return held
  }

  /**
   * Why a frame of a session that is not held does not wait for its handshake; `undefined` where it does. A session that
   * has ended here, or that was refused, is refused: its sender hears of it.
   */
  turnAway(frame: Uint8Array): TurnedAway | undefined {
    const sid = frameSid(frame)
    const name = hex(sid)
    if (this.#notAddressed.get(name) === true) return 'not addressed'
    if (this.#refuseEnded(sid)) return 'session'
    return this.#refuseAgain(name) ? 'flood' : undefined
  }

  /**
   * Whether the handshake of this session changes nothing: it is held, has ended, or was refused lately. Then it need not be
   * opened, and a session that is not held is refused.
   */
  isSettled(sid: Uint8Array): boolean {
    const name = hex(sid)
    return this.#pool.get(name) !== undefined || this.#refuseEnded(sid) || this.#refuseAgain(name)
  }

  /** Whether a frame of this session has to wait: for its handshake, or behind others that do. */
  mustWait(frame: Uint8Array, isKnown: boolean): boolean {
    return (!isKnown || this.#lookups.isBusy) && this.#lookups.mustWait(hex(frameSid(frame)), isKnown)
  }

  /** Keeps a frame until the handshake of its session has come, and asks for it. */
  wait(frame: Uint8Array, waiting: Parameters<Lookups['wait']>[1]): void {
    this.#lookups.wait(hex(frameSid(frame)), waiting)
  }

  /**
   * Takes in a handshake whose sender is proved. One that is known already changes nothing.
   *
   * @returns why it is refused, where it is
   */
  accept(message: Unsealed, { sender, epoch }: Origin): 'content' | 'time' | 'session' | 'flood' | undefined {
    const { engine, clock } = this.#options
    const { session: secrets, content, sentAtMs, recipients, kid } = message
    if (secrets === undefined) return 'content'
    if (this.isSettled(secrets.sid)) {
      engine.wipe(secrets.key)
      return undefined
    }
    const handshake = decodeOrNothing(content.payload)
    // A channel proves its sender only where nobody else has its key.
    if (handshake === undefined || (handshake.mode === SessionMode.channel && recipients !== 1)) {
      engine.wipe(secrets.key)
      return 'content'
    }
    const { messageKey } = sender.announcement
    const session = new IncomingSession(engine, { secrets, handshake, sentAtMs, messageKey })
    const held = new HeldSession(session, { sender, epoch, recipients, kid })
    const { nowMs, notBeforeMs } = clock.moment()
    if (sentAtMs > nowMs + CLOCK_WINDOW_MS || notBeforeMs >= held.until) {
      session.end()
      return 'time'
    }
    return this.#admit(held)
  }

  /** In how many sessions of this identity nothing was said yet. */
  silentOf(identity: string): number {
    return this.#pool.silentOf(identity)
  }

  /** A frame of this session was opened and everything about it is proved. */
  heard(held: HeldSession): void {
    this.#pool.heard(held)
  }

  /** Somebody forges in a session: its sender is told, and goes on in messages. What is under way in it is still taken. */
  complain(held: HeldSession): void {
    // Every frame of the session comes here, and its tag costs more than the look at it.
    if (this.#refusals.isPublished(held.session.sid)) return
    const refusal = this.#refusalOf(held, RefusalReason.forged)
    if (refusal !== undefined) this.#refusals.refuse(refusal)
  }

  /** A session whose sender is not trusted any more: its key is wiped, and its sid stays refused. */
  end(held: HeldSession): void {
    this.#pool.end(held)
  }

  /** A handshake that was asked for is not for this instance. It is the very one, so it never will be. */
  notAddressed(subject: string): void {
    const sid = subject.slice(subject.lastIndexOf('.') + 1)
    if (!this.#search.has(sid)) return
    this.#notAddressed.set(sid, true)
    this.#lookups.check()
  }

  /** Whether windows of this session (its sid in hexadecimal) are still needed. */
  holds(sid: string): boolean {
    return this.#pool.get(sid) !== undefined
  }

  /** The windows of this session (its sid in hexadecimal) take so many bytes more, or less, than before. */
  countWindows(sid: string, bytes: number): void {
    this.#pool.countWindows(sid, bytes)
  }

  /** Memory that they take, as it is counted, in bytes. */
  get bytes(): number {
    return this.#pool.bytes
  }

  /** Forgets what is long over. */
  prune(): void {
    this.#prunedAtMs = this.#options.clock.monotonic()
    this.#pool.prune()
  }

  /** Resolves when no frame waits that came by this subscription. */
  async idle(by: object): Promise<void> {
    await this.#lookups.idle(by)
  }

  close(): void {
    this.#lookups.close()
    this.#pool.close()
    this.#refusals.close()
    this.#notAddressed.clear()
    this.#refused.clear()
    this.#last = undefined
  }

  #admit(held: HeldSession): 'session' | 'flood' | undefined {
    const { session } = held
    // Looking at all of them for each handshake would take more than the handshake does.
    if (this.#options.clock.monotonic() - this.#prunedAtMs >= PRUNE_EVERY_MS) this.prune()
    const admittance = this.#pool.admit(held)
    if (admittance !== 'held') {
      const reason = admittance === 'ended' ? RefusalReason.ended : RefusalReason.noRoom
      const refusal = this.#refusalOf(held, reason)
      if (refusal !== undefined) {
        this.#refused.set(session.sid, refusal)
        this.#refusals.refuse(refusal)
      }
      session.end()
    }
    this.#lookups.check()
    if (admittance === 'held') return undefined
    return admittance === 'ended' ? 'session' : 'flood'
  }

  #refusalOf({ session, kid, sender }: HeldSession, reason: RefusalReason): OwnRefusal | undefined {
    const hash = this.#options.link.keyring.announcementOf(kid)
    if (hash === undefined) return undefined
    const tag = session.refusalTag(reason, hash)
    return { sid: fromHex(session.sid), tag, reason, key: ownKeyName(kid), sender: sender.claims.name }
  }

  #isKnown(name: string): boolean {
    return (
      this.#pool.get(name) !== undefined ||
      this.#notAddressed.get(name) === true ||
      this.#refused.get(name) !== undefined
    )
  }

  /** Refuses a session that has ended here. @returns `false` where it has not */
  #refuseEnded(sid: Uint8Array): boolean {
    const tombstone = this.#pool.tombstone(sid)
    if (tombstone === undefined) return false
    const { tag, key, holder } = tombstone
    if (tag !== undefined)
      this.#refusals.refuse({ sid, tag, key, reason: RefusalReason.ended, sender: holder })
    return true
  }

  #refuseAgain(name: string): boolean {
    const refusal = this.#refused.get(name)
    if (refusal !== undefined) this.#refusals.refuse(refusal)
    return refusal !== undefined
  }
}

function decodeOrNothing(payload: Uint8Array): ReturnType<typeof decodeHandshake> | undefined {
  try {
    return decodeHandshake(payload)
  } catch {
    return undefined
  }
}
