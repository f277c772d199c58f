import { fromHex, hex } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Padding } from '../crypto/padding.ts'
import { seal } from '../envelope/seal.ts'
import { SubrosaError } from '../errors.ts'
import { RateLimit } from '../keys/budget.ts'
import type { AudienceMember } from '../keys/directory.ts'
import type { AcceptedEpoch } from '../keys/epochs.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import { MAX_FRAMES_PER_SESSION, MAX_HANDSHAKE_REPEATS_PER_SECOND, MAX_SESSION_MS } from '../limits.ts'
import { OutgoingSession } from '../session/outgoing.ts'
import { encodeHandshake, type SessionMode } from '../wire/handshake.ts'
import { WireType } from '../wire/preamble.ts'
import type { NatsLike, NatsSubscription } from './nats-like.ts'
import type { RealmLink } from './realm-link.ts'
import { subscribeSafely } from './safely.ts'
import { SessionQuota } from './session-quota.ts'

/** Sessions that are kept open. One more ends the oldest: its audience gets a new one when it is written to again. */
const MAX_OPEN_SESSIONS = 4096

/** What outgoing sessions work with. */
export interface OutgoingSessionsOptions {
  readonly engine: CryptoEngine
  readonly clock: Clock
  readonly link: RealmLink
  readonly subjects: ProtocolSubjects
  readonly padding: Padding
  /** Seals the frames that wait: a session that ends has no key for them any more. */
  readonly flush: () => void
  readonly onError: (error: unknown) => void
}

/** Whom a session is for. */
export interface SessionAudience {
  readonly epoch: AcceptedEpoch
  readonly members: readonly AudienceMember[]
}

interface Open {
  readonly session: OutgoingSession
  readonly requests: NatsSubscription
}

/** An audience by the key ids of its members. */
interface AudienceKey {
  readonly text: string
  readonly kids: readonly string[]
}

/**
 * The sessions that this instance has opened, one for each audience and mode. A session serves exactly the audience
 * that its handshake was sealed to: whoever comes or goes makes a new one. SPEC, "Sessions".
 */
export class OutgoingSessions {
  readonly #nc: NatsLike
  readonly #options: OutgoingSessionsOptions
  readonly #byAudience = new Map<string, Open>()
  readonly #quota = new SessionQuota()
  /** Audiences are kept by the directory while nothing changes: then their keys need not be written down again. */
  readonly #keys = new WeakMap<readonly AudienceMember[], AudienceKey>()

  constructor(nc: NatsLike, options: OutgoingSessionsOptions) {
    this.#nc = nc
    this.#options = options
  }

  /**
   * The session for this audience: the one that is open, or a new one whose handshake is published first.
   *
   * @param subject where a handshake for several goes; one for a single instance goes to its inbox
   * @returns `undefined` where a recipient remembers so many sessions of this instance that it takes no other
   * @throws SubrosaError ERR_STALE, ERR_MESSAGE_TOO_LARGE, ERR_KEY_INVALID
   */
  get(audience: SessionAudience, mode: SessionMode, subject: string): OutgoingSession | undefined {
    const { text, kids } = this.#keyOf(audience)
    const key = `${mode} ${text}`
    const known = this.#byAudience.get(key)
    const nowMs = this.#options.clock.now()
    if (known?.session.isOpen(nowMs) === true) return known.session
    if (known !== undefined) this.#end(key, known)
    if (!this.#quota.hasRoom(kids, nowMs)) return undefined
    this.#prune()
    const open = this.#open(audience, mode, subject)
    this.#byAudience.set(key, open)
    this.#quota.add(kids, open.session.expiresAtMs)
    return open.session
  }

  /** Ends all of them. */
  close(): void {
    for (const [key, open] of [...this.#byAudience]) this.#end(key, open)
  }

  #keyOf({ epoch, members }: SessionAudience): AudienceKey {
    const known = this.#keys.get(members)
    if (known !== undefined) return known
    const kids = members.map(({ key }) => hex(key.kid)).sort()
    const key = { text: `${hex(epoch.hash)} ${kids.join(' ')}`, kids }
    this.#keys.set(members, key)
    return key
  }

  #open({ epoch, members }: SessionAudience, mode: SessionMode, subject: string): Open {
    const { engine, clock, link, subjects, padding } = this.#options
    const keys = link.keyring.sending(epoch.hash)
    if (keys === undefined)
      throw new SubrosaError('ERR_STALE', `this instance has no keys for epoch ${epoch.number} yet`)
    const nowMs = clock.now()
    const lifetimeMs = Math.min(MAX_SESSION_MS, Math.max(0, epoch.notAfter - nowMs))
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
      payload: encodeHandshake({ scope: undefined, mode, maxFrames, lifetimeMs }),
    }
    const { bytes, session: secrets } = seal(engine, content, {
      type: WireType.handshake,
      epoch: epoch.number,
      recipients: members.map((member) => member.key),
      messageKey: keys.messageKey,
      sentAtMs: nowMs,
      padding,
    })
    if (secrets === undefined) throw new SubrosaError('ERR_STALE', 'the handshake opened no session')
    const [only, second] = members
    const isForOne = only !== undefined && second === undefined
    this.#publish(isForOne ? subjects.inbox(only.instanceBytes) : subject, bytes, members.length)
    const session = new OutgoingSession(engine, {
      secrets,
      mode,
      maxFrames,
      expiresAtMs: nowMs + lifetimeMs,
      messageKey: keys.messageKey,
      handshake: bytes,
    })
    return { session, requests: this.#answerRequests(session) }
  }

  #publish(subject: string, handshake: Uint8Array, recipients: number): void {
    const limit = this.#nc.info?.max_payload ?? Number.POSITIVE_INFINITY
    if (handshake.length > limit) {
      throw new SubrosaError(
        'ERR_MESSAGE_TOO_LARGE',
        `the handshake for ${recipients} recipients has ${handshake.length} bytes, and the server takes ${limit}`,
        { hint: 'name fewer recipients with `to`, or raise max_payload on the server' },
      )
    }
    this.#nc.publish(subject, handshake)
  }

  /** Whoever has missed the handshake asks for it by its sid. The answer goes to a subject of its own. */
  #answerRequests(session: OutgoingSession): NatsSubscription {
    const { clock, subjects, onError } = this.#options
    const budget = new RateLimit(MAX_HANDSHAKE_REPEATS_PER_SECOND)
    const sid = fromHex(session.sid)
    return subscribeSafely(this.#nc, subjects.session(sid), {
      take: () => {
        if (clock.now() >= session.expiresAtMs || !budget.take(clock.monotonic())) return
        this.#nc.publish(subjects.handshake(sid), session.handshake)
      },
      onError,
    })
  }

  /** Ends what is over: nothing else reminds of an audience that is not written to any more. */
  #prune(): void {
    const nowMs = this.#options.clock.now()
    for (const [key, open] of this.#byAudience) {
      if (!open.session.isOpen(nowMs) || this.#byAudience.size >= MAX_OPEN_SESSIONS) this.#end(key, open)
    }
  }

  #end(key: string, { session, requests }: Open): void {
    this.#options.flush()
    this.#byAudience.delete(key)
    session.end()
    if (!this.#nc.isClosed()) requests.unsubscribe()
  }
}
