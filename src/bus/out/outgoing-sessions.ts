import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  LOOKUP_TIMEOUT_MS,
  MAX_FRAMES_PER_SESSION,
  MAX_HANDSHAKE_ANSWERS_PER_SECOND,
  MAX_SESSION_MS,
} from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { Padding } from '../../crypto/padding.ts'
import { seal } from '../../envelope/seal.ts'
import type { AudienceMember } from '../../keys/directory.ts'
import type { AcceptedEpoch } from '../../keys/epochs.ts'
import { OutgoingSession } from '../../session/outgoing.ts'
import { encodeHandshake, type SessionMode } from '../../wire/handshake.ts'
import { WireType } from '../../wire/preamble.ts'
import type { Context } from '../context.ts'
import type { NatsLike } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import { HandshakeOut } from './handshake-out.ts'
import { leftOutError } from './left-out.ts'
import { SessionQuota } from './session-quota.ts'

/** Sessions that are kept open. One more ends the oldest: its audience gets a new one when it is written to again. */
const MAX_OPEN_SESSIONS = 4096

/** What outgoing sessions work with. */
export interface OutgoingSessionsOptions extends Context {
  readonly link: RealmLink
  readonly padding: Padding
  /** Seals the frames that wait: a session that ends has no key for them any more. */
  readonly flush: () => void
}

/** Whom a session is for. */
export interface SessionAudience {
  readonly epoch: AcceptedEpoch
  readonly members: readonly AudienceMember[]
}

/** Where the frame that follows goes, and the time that it will state. */
interface At {
  readonly subject: string
  readonly nowMs: number
}

interface Open {
  readonly session: OutgoingSession
  readonly handshake: HandshakeOut
  /** When its life is over by what has passed since it was opened, whatever becomes of the wall clock. */
  readonly endsAtLateMs: number
}

/** An audience by the key ids of its members, and the sessions that it had last, by their modes. */
interface AudienceKey {
  readonly text: string
  readonly kids: readonly string[]
  readonly last: (Open | undefined)[]
}

/**
 * The sessions that this instance has opened, one for each audience and mode. A session serves exactly the audience
 * that its handshake was sealed to: whoever comes or goes makes a new one. SPEC, "Sessions".
 */
export class OutgoingSessions {
  readonly #nc: NatsLike
  readonly #options: OutgoingSessionsOptions
  readonly #byAudience = new Map<string, Open>()
  /** Of sessions that have ended, and for which requests are still answered. */
  readonly #ended = new Set<HandshakeOut>()
  readonly #quota = new SessionQuota()
  readonly #answers = new RateLimit(MAX_HANDSHAKE_ANSWERS_PER_SECOND)
  /** Audiences are kept by the directory while nothing changes: then their keys need not be written down again. */
  readonly #keys = new WeakMap<readonly AudienceMember[], AudienceKey>()

  constructor(nc: NatsLike, options: OutgoingSessionsOptions) {
    this.#nc = nc
    this.#options = options
  }

  /**
   * The session for this audience: the one that is open, or a new one whose handshake is published first.
   *
   * @returns `undefined` where a recipient remembers so many sessions of this instance that it takes no other, and
   *   where the epoch is over
   * @throws SubrosaError ERR_STALE, ERR_MESSAGE_TOO_LARGE, ERR_KEY_INVALID
   */
  get(audience: SessionAudience, mode: SessionMode, at: At): OutgoingSession | undefined {
    const key = this.#keyOf(audience)
    const last = key.last[mode]
    const open = last !== undefined && this.#isOpen(last, at) ? last : this.#find(audience, mode, at)
    if (open === undefined) return undefined
    key.last[mode] = open
    open.handshake.precede(at.subject)
    return open.session
  }

  /**
   * Ends those that are over: nothing else reminds of an audience that is not written to any more. What has passed counts
   * too, so that a clock which was set back keeps no key alive.
   */
  prune(): void {
    const { clock } = this.#options
    const lateMs = clock.late()
    const notBeforeMs = clock.notBefore()
    for (const [key, open] of this.#byAudience)
      if (!open.session.isOpen(notBeforeMs) || lateMs >= open.endsAtLateMs) this.#retire(key, open)
  }

  /** Ends all of them. */
  close(): void {
    for (const [key, open] of [...this.#byAudience]) {
      this.#end(key, open)
      open.handshake.close()
    }
    for (const handshake of this.#ended) handshake.close()
    this.#ended.clear()
  }

  #find(audience: SessionAudience, mode: SessionMode, at: At): Open | undefined {
    const { nowMs } = at
    const { text, kids } = this.#keyOf(audience)
    const key = `${mode} ${text}`
    const known = this.#byAudience.get(key)
    if (known !== undefined && this.#isOpen(known, at)) return known
    if (known !== undefined) this.#retire(key, known)
    const { latest } = this.#options.clock
    // What recipients still remember is forgotten by the latest time: a clock that is ahead for a moment makes no room.
    if (Math.max(nowMs, latest) >= audience.epoch.notAfter || !this.#quota.hasRoom(kids, latest))
      return undefined
    this.#makeRoom()
    const open = this.#open(audience, mode, at)
    this.#byAudience.set(key, open)
    this.#quota.add(kids, open.session.expiresAtMs)
    return open
  }

  /** By the time that the next frame will state, and by the latest one: what is over stays over. */
  #isOpen({ session }: Open, { nowMs }: Pick<At, 'nowMs'>): boolean {
    return session.isOpen(Math.max(nowMs, this.#options.clock.latest))
  }

  #keyOf({ epoch, members }: SessionAudience): AudienceKey {
    const known = this.#keys.get(members)
    if (known !== undefined) return known
    const kids = members.map(({ key }) => hex(key.kid)).sort()
    const key = { text: `${hex(epoch.hash)} ${kids.join(' ')}`, kids, last: [] }
    this.#keys.set(members, key)
    return key
  }

  #open({ epoch, members }: SessionAudience, mode: SessionMode, { subject, nowMs }: At): Open {
    const { engine, link, padding, clock } = this.#options
    const keys = link.keyring.sending(epoch.hash)
    if (keys === undefined)
      throw new SubrosaError('ERR_STALE', `this instance has no keys for epoch ${epoch.number} yet`)
    const lifetimeMs = Math.min(MAX_SESSION_MS, epoch.notAfter - nowMs)
    const maxFrames = MAX_FRAMES_PER_SESSION
    const content = {
      sender: keys.announcementHash,
      seq: keys.seq,
      subject,
      reply: undefined,
      inReplyTo: undefined,
      ttlMs: 0,
      headers: [],
      clearHeaders: [],
      payload: encodeHandshake({ mode, maxFrames, lifetimeMs }),
    }
    const {
      bytes,
      session: secrets,
      leftOut,
    } = seal(engine, content, {
      type: WireType.handshake,
      epoch: epoch.number,
      recipients: members.map((member) => member.key),
      messageKey: keys.messageKey,
      sentAtMs: nowMs,
      padding,
    })
    if (secrets === undefined) throw new SubrosaError('ERR_STALE', 'the handshake opened no session')
    if (leftOut.length > 0) this.#options.onError(leftOutError(members, leftOut))
    try {
      const handshake = new HandshakeOut(
        this.#nc,
        { ...this.#options, answers: this.#answers },
        { bytes, sid: secrets.sid, members },
      )
      const expiresAtMs = nowMs + lifetimeMs
      const { messageKey } = keys
      const session = new OutgoingSession(engine, { secrets, mode, maxFrames, expiresAtMs, messageKey })
      return { session, handshake, endsAtLateMs: clock.late() + lifetimeMs }
    } catch (error) {
      engine.wipe(secrets.key)
      throw error
    }
  }

  #makeRoom(): void {
    this.prune()
    for (const [key, open] of this.#byAudience) {
      if (this.#byAudience.size < MAX_OPEN_SESSIONS) return
      this.#retire(key, open)
    }
  }

  /** Who has missed the handshake may ask for it a little longer. */
  #retire(key: string, open: Open): void {
    const { handshake } = open
    this.#end(key, open)
    this.#ended.add(handshake)
    this.#options.clock.after(LOOKUP_TIMEOUT_MS, () => {
      if (this.#ended.delete(handshake)) handshake.close()
    })
  }

  #end(key: string, { session }: Open): void {
    this.#byAudience.delete(key)
    this.#options.flush()
    session.end()
  }
}
