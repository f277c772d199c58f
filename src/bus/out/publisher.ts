// Over 300 lines: every way of publishing takes the same steps, and says in the same words what stands in its way.
import { SubrosaError } from '../../base/errors.ts'
import { CLOCK_WINDOW_MS } from '../../base/limits.ts'
import { isSubject } from '../../base/subject.ts'
import type { Padding } from '../../crypto/padding.ts'
import type { Identity } from '../../identity/identity.ts'
import { allows } from '../../identity/permissions.ts'
import type { VerifiedClaims } from '../../identity/trust.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import { type Absence, type Audience, type AudienceMember, toMember } from '../../keys/directory.ts'
import { SessionMode } from '../../wire/handshake.ts'
import { WireType } from '../../wire/preamble.ts'
import type { Context } from '../context.ts'
import { type HeadersLike, splitHeaders } from '../messages/headers.ts'
import type { Opened, SealMode } from '../messages/opened.ts'
import type { NatsLike } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import { FramePublisher } from './frame-publisher.ts'
import { Newcomers } from './newcomers.ts'
import { sealTo } from './seal-to.ts'
import type { Streams } from './streams.ts'
import { assertSubject, Wire } from './wire-out.ts'

/** What is sealed and where it goes. */
export interface Outgoing {
  /** The subject inside the seal. */
  readonly subject: string
  /** The subject on the wire, where it differs: that of a response whose reply subject was mapped on its way. */
  readonly via?: string
  readonly payload: Uint8Array
  readonly reply?: string | undefined
  readonly inReplyTo?: Uint8Array
  readonly headers?: HeadersLike | undefined
  /** How long after sending it may be delivered; `undefined` for no limit of its own. */
  readonly ttlMs?: number | undefined
}

/** What was published: whom it was sealed to, and what a response names it by. */
export interface Published {
  readonly id: Uint8Array
  readonly members: readonly AudienceMember[]
}

/** A sealed message on its way. */
interface Ready extends Published {
  readonly publish: () => void
}

/** What a publisher works with. */
export interface PublisherOptions extends Context {
  readonly identity: Identity
  /** What its token is worth under the trust anchors. */
  readonly claims: VerifiedClaims
  readonly link: RealmLink
  readonly streams: Streams
  readonly padding: Padding
}

/** To whom, and how. */
export interface Addressing {
  readonly to?: readonly string[] | undefined
  readonly mode?: SealMode | undefined
}

/** An audience that is good for a while. */
interface Kept {
  readonly audience: Audience
  readonly from: number
  readonly until: number
}

/** Epochs begin, and budgets fill up, without a word. */
const REQUESTER_KEPT_MS = 1000
const DEFAULT_MODE: SealMode = 'session'
const MODES: readonly SealMode[] = ['session', 'channel', 'message']
const MAX_CACHED_SUBJECTS = 1024

function sessionMode(mode: Exclude<SealMode, 'message'>): SessionMode {
  return mode === 'channel' ? SessionMode.channel : SessionMode.signed
}

/** Seals and publishes, in one go: asynchronous sealing would reorder what an agent publishes. */
export class Publisher {
  readonly #options: PublisherOptions
  readonly #wire: Wire
  readonly #frames: FramePublisher
  readonly #newcomers: Newcomers
  readonly #allowed = new Map<string, boolean>()
  /** Audiences that `to` has narrowed. The directory keeps an audience while nothing changes. */
  readonly #narrow = new WeakMap<Audience, Map<string, Audience>>()
  /** Where responses go, until something in the directory changes: a requester often asks again. */
  #requesters = new WeakMap<VerifiedAnnouncement, Kept>()
  readonly #stopListening: () => void
  #sealed = 0

  constructor(nc: NatsLike, options: PublisherOptions) {
    this.#options = options
    this.#wire = new Wire(nc)
    this.#frames = new FramePublisher(nc, { ...options, wire: this.#wire })
    this.#newcomers = new Newcomers(options.clock, ({ name, instance }) =>
      options.link.leftOut.report({ name, instance, why: 'too many newcomers' }),
    )
    this.#stopListening = options.link.onChange(() => {
      this.#requesters = new WeakMap()
    })
  }

  /** How many messages were sealed and published. */
  get sealed(): number {
    return this.#sealed
  }

  /**
   * Seals to everyone who may read the subject, or to those of them that `to` names.
   *
   * @throws SubrosaError ERR_PUBLISH_DENIED, ERR_EMPTY_AUDIENCE, ERR_RECIPIENT_NOT_ALLOWED, ERR_MESSAGE_TOO_LARGE,
   *   ERR_STALE, ERR_REVOKED, ERR_TOKEN_EXPIRED, ERR_CLOSED, ERR_HEADER
   * @throws TypeError when the subject is none
   */
  publish(outgoing: Outgoing, { to, mode = DEFAULT_MODE }: Addressing = {}): Published {
    // One reading of the clock: each costs as much as anything else here.
    const nowMs = this.#options.clock.now()
    const audience = this.#audienceFor(outgoing, to, nowMs)
    return this.#send(outgoing, audience, { mode: this.#modeFor(outgoing.subject, audience, mode), nowMs })
  }

  /** As {@link publish}, with many payloads: as many in one message as fit. */
  publishMany(
    outgoing: Omit<Outgoing, 'payload'>,
    payloads: readonly Uint8Array[],
    { to, mode = DEFAULT_MODE }: Addressing = {},
  ): void {
    const audience = this.#audienceFor(outgoing, to, this.#options.clock.now())
    const kind = this.#modeFor(outgoing.subject, audience, mode)
    const sent =
      kind === 'message'
        ? 0
        : this.#frames.publishMany(outgoing, payloads, { audience, mode: sessionMode(kind) })
    this.#sealed += sent
    if (sent < payloads.length) {
      this.#frames.flush()
      // All of them are sealed before the first is published: where one is too large, none goes out.
      const messages = payloads
        .slice(sent)
        .map((payload) => this.#sealMessage({ ...outgoing, payload }, audience))
      for (const message of messages) message.publish()
      this.#sealed += messages.length
    }
  }

  /** Seals and publishes what waits for the end of this turn of the event loop. */
  flush(): void {
    this.#frames.flush()
  }

  /** Ends the sessions that are over: their keys go before those of their epoch. */
  prune(): void {
    this.#frames.prune()
  }

  close(): void {
    this.#stopListening()
    this.#frames.close()
  }

  /** Resolves when nobody has to ask for the handshake of a session any more that {@link close} has ended. */
  answered(): Promise<void> {
    return this.#frames.answered()
  }

  /** Answers nobody who asks for a handshake any more. */
  stopAnswering(): void {
    this.#frames.stopAnswering()
  }

  /**
   * Whom a message on this subject would be sealed to now.
   *
   * @throws SubrosaError ERR_STALE without a current epoch, ERR_RECIPIENT_NOT_ALLOWED for a name in `to` that is not
   *   in the audience
   */
  audience(subject: string, to?: readonly string[], nowMs = this.#options.clock.now()): Audience {
    const audience = this.#options.link.directory.audience(subject, nowMs)
    if (audience === undefined) {
      throw new SubrosaError('ERR_STALE', 'there is no current epoch', {
        hint: 'check that the rotation service runs',
      })
    }
    const settled = this.#newcomers.settle(audience)
    return to === undefined ? settled : this.#narrowed(subject, settled, to)
  }

  /**
   * Seals a response in the way of its request, but in a message where a stream captures the reply subject, or where
   * its epoch is over: no session begins in one, its grace is for single messages.
   *
   * @throws SubrosaError ERR_EMPTY_AUDIENCE where nothing can be sealed to the requester, ERR_MESSAGE_TOO_LARGE,
   *   ERR_STALE, ERR_HEADER, ERR_MALFORMED where the delivered reply subject is not a valid subject
   */
  respond(outgoing: Outgoing, audience: Audience, mode: SealMode): void {
    const { clock, streams } = this.#options
    const { subject, via = subject } = outgoing
    // A frame is published at the end of the turn: its sender is told now.
    assertSubject(via)
    const nowMs = clock.now()
    const isOver = audience.epoch.notAfter <= Math.max(nowMs, clock.latest)
    const isSingle = mode === 'message' || isOver || !streams.isLiveReply(via)
    this.#send(outgoing, audience, { mode: isSingle ? 'message' : mode, nowMs })
  }

  #send(
    outgoing: Outgoing,
    audience: Audience,
    { mode, nowMs }: { readonly mode: SealMode; readonly nowMs: number },
  ): Published {
    const framed =
      mode === 'message'
        ? undefined
        : this.#frames.publish(outgoing, audience, { mode: sessionMode(mode), nowMs })
    const published = framed ?? this.#publishMessage(outgoing, audience)
    this.#sealed++
    return published
  }

  #publishMessage(outgoing: Outgoing, audience: Audience): Published {
    // What was published before goes before.
    this.#frames.flush()
    const message = this.#sealMessage(outgoing, audience)
    message.publish()
    return message
  }

  #sealMessage(outgoing: Outgoing, audience: Audience): Ready {
    const { engine, clock, link, padding } = this.#options
    const { epoch } = audience
    const { subject, via = subject, payload, reply, inReplyTo, ttlMs = 0 } = outgoing
    const { sealed, clear } = splitHeaders(outgoing.headers)
    const keys = link.keyring.sending(epoch.hash)
    if (keys === undefined)
      throw new SubrosaError('ERR_STALE', `this instance has no keys for epoch ${epoch.number} yet`)
    const { bytes, mid, members } = sealTo(
      audience.members,
      {
        sender: keys.announcementHash,
        seq: keys.seq,
        subject,
        reply,
        inReplyTo,
        ttlMs,
        headers: sealed,
        clearHeaders: clear,
        payload,
      },
      {
        engine,
        reports: link.leftOut,
        type: WireType.sealed,
        epoch: epoch.number,
        messageKey: keys.messageKey,
        sentAtMs: clock.now(),
        padding,
      },
    )
    if (bytes.length > this.#wire.room(clear)) throw this.#wire.tooLarge(bytes.length, members.length)
    return { id: mid, members, publish: () => this.#wire.publish({ subject: via, reply, clear }, bytes) }
  }

  /**
   * The requester's instance alone: in the newest current epoch that both have announced, else in the request's own
   * until its grace ends.
   *
   * @throws SubrosaError ERR_EMPTY_AUDIENCE when neither is left
   */
  responseTo(request: Opened, requester: VerifiedAnnouncement): Audience {
    const { clock } = this.#options
    const nowMs = clock.now()
    const known = this.#requesters.get(requester)
    const isKept = known !== undefined && nowMs >= known.from && Math.max(nowMs, clock.latest) < known.until
    if (isKept) return known.audience
    const audience = this.#responseTo(request, requester, nowMs)
    const end = Math.min(audience.epoch.notAfter, requester.claims.expiresAt * 1000)
    this.#requesters.set(requester, {
      audience,
      from: nowMs,
      until: Math.min(nowMs + REQUESTER_KEPT_MS, end),
    })
    return audience
  }

  #responseTo(request: Opened, requester: VerifiedAnnouncement, nowMs: number): Audience {
    const { link, clock } = this.#options
    if (link.directory.sender(requester.hash, nowMs).standing !== 'known') throw requesterGone()
    for (const epoch of link.epochs.current(nowMs)) {
      if (!link.keyring.has(epoch.hash)) continue
      const member = link.directory.memberOf(requester, epoch, nowMs)
      if (member !== undefined) return { epoch, members: [member] }
    }
    const epoch = link.epochs.byHash(request.epochHash)
    const member = toMember(requester)
    // What is sent later than that, no receiver takes: SPEC, "Opening".
    const lastsMs = Math.min(epoch?.graceMs ?? 0, CLOCK_WINDOW_MS)
    const isOver = epoch !== undefined && Math.max(nowMs, clock.latest) >= epoch.notAfter + lastsMs
    if (epoch === undefined || member === undefined || isOver) throw requesterGone()
    return { epoch, members: [member] }
  }

  /** Whom it goes to, where this agent may send it. */
  #audienceFor(
    { subject, reply }: Omit<Outgoing, 'payload'>,
    to: readonly string[] | undefined,
    nowMs: number,
  ): Audience {
    const { trust, link } = this.#options
    const isAllowed = this.#isAllowed(subject)
    if (reply !== undefined && !isSubject(reply)) throw new TypeError('reply must be a subject')
    link.assertUsable(nowMs)
    if (!isAllowed) throw this.#denied(subject)
    if (to === undefined && trust.isByPins) {
      throw new SubrosaError('ERR_RECIPIENT_NOT_ALLOWED', 'under pins every publish names its recipients', {
        hint: "publish(subject, payload, { to: ['billing'] })",
      })
    }
    const audience = this.audience(subject, to, nowMs)
    if (audience.members.length === 0) throw this.#emptyAudience(subject)
    return audience
  }

  /** Whether this agent may publish on a subject. Permissions do not change while it is connected. */
  #isAllowed(subject: string): boolean {
    const known = this.#allowed.get(subject)
    if (known !== undefined) return known
    if (!isSubject(subject))
      throw new TypeError('subject must be dot-separated tokens without wildcards or spaces')
    const isAllowed = allows(this.#options.claims.permissions.pub, subject)
    if (this.#allowed.size >= MAX_CACHED_SUBJECTS) this.#allowed.clear()
    this.#allowed.set(subject, isAllowed)
    return isAllowed
  }

  /** What is stored is opened later: a session's frames would have no handshake by then. */
  #modeFor(subject: string, { members }: Audience, mode: SealMode): SealMode {
    if (!MODES.includes(mode)) throw new TypeError(`mode must be one of ${MODES.join(', ')}`)
    if (mode === 'channel' && members.length !== 1) {
      throw new SubrosaError(
        'ERR_RECIPIENT_NOT_ALLOWED',
        `a channel has one recipient, and "${subject}" has ${members.length} now`,
        { hint: "name one instance: { mode: 'channel', to: ['billing/3f…'] }" },
      )
    }
    if (mode === 'message' || this.#options.streams.isLive(subject)) return mode
    return 'message'
  }

  #narrowed(subject: string, audience: Audience, to: readonly string[]): Audience {
    const narrowed = this.#narrow.get(audience) ?? new Map<string, Audience>()
    this.#narrow.set(audience, narrowed)
    const key = to.join(' ')
    const known = narrowed.get(key)
    if (known !== undefined) return known
    for (const name of to) {
      if (!audience.members.some((member) => isNamed(member, name))) throw this.#notAllowed(subject, name)
    }
    const members = audience.members.filter((member) => to.some((name) => isNamed(member, name)))
    const fewer = { epoch: audience.epoch, members }
    if (narrowed.size >= MAX_CACHED_SUBJECTS) narrowed.clear()
    narrowed.set(key, fewer)
    return fewer
  }

  #denied(subject: string): SubrosaError {
    const { identity, trust } = this.#options
    return new SubrosaError(
      'ERR_PUBLISH_DENIED',
      `${identity.name} is not allowed to publish on "${subject}"`,
      {
        hint: trust.isByPins
          ? 'its own pin does not allow it'
          : 'ask the authority for a token whose pub list allows it',
      },
    )
  }

  #emptyAudience(subject: string): SubrosaError {
    const absences = this.#absences(subject)
    const why = absences.map((absence) => `${absence.name}: ${absence.why}`).join('; ')
    return new SubrosaError('ERR_EMPTY_AUDIENCE', `no agent can read "${subject}" now`, {
      hint: absences.length === 0 ? 'no agent has announced itself yet: wait with waitForAudience()' : why,
    })
  }

  #absences(subject: string): readonly Absence[] {
    const { link, clock } = this.#options
    const nowMs = clock.now()
    const audience = link.directory.audience(subject, nowMs)
    const waiting = audience === undefined ? [] : this.#newcomers.waiting(audience)
    return [
      ...waiting.map((name) => ({ name, why: 'it has started too many instances lately: wait' })),
      ...link.directory.absences(subject, nowMs),
    ]
  }

  #notAllowed(subject: string, name: string): SubrosaError {
    const { trust } = this.#options
    const [agent = name, instance] = name.split('/')
    const absence = this.#absences(subject).find((entry) => entry.name === agent)
    const why = instance === undefined ? absence?.why : (absence?.why ?? 'this instance of it is not live')
    return new SubrosaError('ERR_RECIPIENT_NOT_ALLOWED', `"${name}" cannot be a recipient on "${subject}"`, {
      hint: why ?? trust.pinAbsence(agent) ?? 'no agent of this name has announced itself',
    })
  }
}

/** `to` takes an agent's name, or `name/instance` for one instance of it. */
function isNamed({ name, instance }: AudienceMember, wanted: string): boolean {
  return wanted === name || wanted === `${name}/${instance}`
}

function requesterGone(): SubrosaError {
  return new SubrosaError(
    'ERR_EMPTY_AUDIENCE',
    'the requester is gone: its keys have ended, or it is not trusted any more',
  )
}
