import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  LOOKUP_TIMEOUT_MS,
  MAX_FRAMES_PER_SESSION,
  MAX_HANDSHAKE_INBOXES,
  MAX_SESSION_MS,
  REFUSED_SESSION_MS,
} from '../../base/limits.ts'
import type { Padding } from '../../crypto/padding.ts'
import type { AudienceMember } from '../../keys/directory.ts'
import type { Epoch } from '../../keys/epochs.ts'
import { OutgoingSession } from '../../session/outgoing.ts'
import { encodeHandshake, type SessionMode } from '../../wire/handshake.ts'
import { WireType } from '../../wire/preamble.ts'
import type { Refusal } from '../../wire/refusal.ts'
import type { Context } from '../context.ts'
import type { NatsLike } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import { sessionRefusal } from '../status.ts'
import { HandshakeAnswers } from './handshake-answers.ts'
import { HandshakeOut } from './handshake-out.ts'
import { sealTo } from './seal-to.ts'

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
  readonly epoch: Epoch
  readonly members: readonly AudienceMember[]
}

/** Where the frame that follows goes, and the time that it will state. */
interface At {
  readonly subject: string
  readonly nowMs: number
}

/** A session that is open, and whom its handshake was sealed to. */
export interface SessionTo {
  readonly session: OutgoingSession
  readonly members: readonly AudienceMember[]
}

interface Open extends SessionTo {
  readonly handshake: HandshakeOut
  /** When its life is over by what has passed since it was opened, whatever becomes of the wall clock. */
  readonly endsAtLateMs: number
  /** How many times the own keys had been renewed: those that sign it are wiped soon after the next time. */
  readonly renewals: number
  /** The recipients that have refused it, by their instances. */
  readonly refusers: Set<string>
}

/** An audience by the key ids of its members, and the sessions that it had last, by their modes. */
interface AudienceKey {
  readonly text: string
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
  readonly #whenAnswered: (() => void)[] = []
  /** Audiences of which a recipient has refused a session: until when they get none, by the monotonic clock. */
  readonly #refused = new Map<string, number>()
  readonly #answers: HandshakeAnswers
  /** Audiences are kept by the directory while nothing changes: then their keys need not be written down again. */
  readonly #keys = new WeakMap<readonly AudienceMember[], AudienceKey>()

  constructor(nc: NatsLike, options: OutgoingSessionsOptions) {
    this.#nc = nc
    this.#options = options
    this.#answers = new HandshakeAnswers(options)
  }

  /**
   * The session for this audience: the one that is open, or a new one whose handshake is published first.
   *
   * @returns `undefined` where a recipient has refused one lately, and where the epoch is over
   * @throws SubrosaError ERR_STALE, ERR_MESSAGE_TOO_LARGE, ERR_EMPTY_AUDIENCE where nothing can be sealed to anybody
   */
  get(audience: SessionAudience, mode: SessionMode, at: At): SessionTo | undefined {
    const key = this.#keyOf(audience)
    const last = key.last[mode]
    const open = last !== undefined && this.#isOpenAt(last, at) ? last : this.#find(audience, mode, at)
    if (open === undefined) return undefined
    key.last[mode] = open
    open.handshake.precede(at.subject)
    return open
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
      if (!this.#isOpen(open, notBeforeMs) || lateMs >= open.endsAtLateMs) this.#retire(key, open)
    for (const key of [...this.#refused.keys()]) this.#isRefused(key)
  }

  /** Ends all of them, and wipes their keys. Handshakes that somebody may still have to ask for are given: they are no secret. */
  close(): void {
    const ended = [...this.#ended]
    for (const [key, open] of [...this.#byAudience]) {
      this.#end(key, open)
      this.#answerFor(open.handshake, open.handshake.askedForMs())
    }
    for (const handshake of ended) if (handshake.askedForMs() === 0) this.#forget(handshake)
  }

  /** Resolves when nobody has to ask for the handshake of a session that has ended. */
  async answered(): Promise<void> {
    if (this.#ended.size > 0) await new Promise<void>((resolve) => this.#whenAnswered.push(resolve))
  }

  /** Answers nobody any more. */
  stopAnswering(): void {
    for (const handshake of [...this.#ended]) this.#forget(handshake)
  }

  #find(audience: SessionAudience, mode: SessionMode, at: At): Open | undefined {
    const { nowMs } = at
    const key = `${mode} ${this.#keyOf(audience).text}`
    const known = this.#byAudience.get(key)
    if (known !== undefined && this.#isOpenAt(known, at)) return known
    if (known !== undefined) this.#retire(key, known)
    const { latest } = this.#options.clock
    if (Math.max(nowMs, latest) >= audience.epoch.notAfter || this.#isRefused(key)) return undefined
    this.#makeRoom()
    const open = this.#open(audience, mode, { ...at, key })
    this.#byAudience.set(key, open)
    return open
  }

  /** By the time that the next frame will state, and by the latest one: what is over stays over. */
  #isOpenAt(open: Open, { nowMs }: Pick<At, 'nowMs'>): boolean {
    return this.#isOpen(open, Math.max(nowMs, this.#options.clock.latest))
  }

  #isOpen({ session, renewals }: Open, notBeforeMs: number): boolean {
    return session.isOpen(notBeforeMs) && renewals === this.#options.link.keyring.renewals
  }

  #isRefused(key: string): boolean {
    const until = this.#refused.get(key)
    if (until === undefined) return false
    if (this.#options.clock.monotonic() < until) return true
    this.#refused.delete(key)
    return false
  }

  /**
   * A recipient says that it does not take the frames of a session. A small audience then gets messages for a while. A
   * large one goes on: messages to a thousand cost a thousand key agreements each, and one of them must not have that done
   * to the others.
   */
  #takeRefusal(key: string, refusal: Refusal, by: AudienceMember): void {
    const open = this.#byAudience.get(key)
    if (open === undefined || open.refusers.has(by.instance)) return
    if (!open.session.isRefusedBy(refusal, by.announcementHash)) return
    open.refusers.add(by.instance)
    const { feed, clock } = this.#options
    feed.emit({
      type: 'sessionRefused',
      by: by.name,
      instance: by.instance,
      reason: sessionRefusal(refusal.reason),
    })
    if (open.members.length > MAX_HANDSHAKE_INBOXES) return
    this.#refused.set(key, clock.monotonic() + REFUSED_SESSION_MS)
    this.#retire(key, open)
  }

  #keyOf({ epoch, members }: SessionAudience): AudienceKey {
    const known = this.#keys.get(members)
    if (known !== undefined) return known
    const kids = members.map(({ key }) => hex(key.kid)).sort()
    const key = { text: `${hex(epoch.hash)} ${kids.join(' ')}`, last: [] }
    this.#keys.set(members, key)
    return key
  }

  #open(
    audience: SessionAudience,
    mode: SessionMode,
    { subject, nowMs, key }: At & { readonly key: string },
  ): Open {
    const { engine, link, padding, clock } = this.#options
    const { epoch } = audience
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
    const sealed = sealTo(audience.members, content, {
      engine,
      reports: link.leftOut,
      type: WireType.handshake,
      epoch: epoch.number,
      messageKey: keys.messageKey,
      sentAtMs: nowMs,
      padding,
    })
    // Those that were wrapped: the others hear nothing, and their answers do not count.
    const { bytes, session: secrets, members } = sealed
    if (secrets === undefined) throw new SubrosaError('ERR_STALE', 'the handshake opened no session')
    try {
      const handshake = new HandshakeOut(
        this.#nc,
        {
          ...this.#options,
          answers: this.#answers,
          onRefusal: (refusal, by) => this.#takeRefusal(key, refusal, by),
        },
        { bytes, sid: secrets.sid, members },
      )
      const expiresAtMs = nowMs + lifetimeMs
      const { messageKey } = keys
      const session = new OutgoingSession(engine, { secrets, mode, maxFrames, expiresAtMs, messageKey })
      return {
        session,
        handshake,
        members,
        endsAtLateMs: clock.late() + lifetimeMs,
        renewals: link.keyring.renewals,
        refusers: new Set(),
      }
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

  /** A recipient that missed the handshake may ask for it a little longer. */
  #retire(key: string, open: Open): void {
    this.#end(key, open)
    this.#answerFor(open.handshake, LOOKUP_TIMEOUT_MS)
  }

  #answerFor(handshake: HandshakeOut, ms: number): void {
    this.#ended.add(handshake)
    if (ms === 0) this.#forget(handshake)
    else this.#options.clock.after(ms, () => this.#forget(handshake))
  }

  #forget(handshake: HandshakeOut): void {
    if (!this.#ended.delete(handshake)) return
    handshake.close()
    if (this.#ended.size === 0) for (const resolve of this.#whenAnswered.splice(0)) resolve()
  }

  #end(key: string, { session }: Open): void {
    this.#byAudience.delete(key)
    this.#options.flush()
    session.end()
  }
}
