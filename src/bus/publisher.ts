import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Padding } from '../crypto/padding.ts'
import type { Unsealed } from '../envelope/open.ts'
import { seal } from '../envelope/seal.ts'
import { SubrosaError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { allows } from '../identity/permissions.ts'
import { isSubject } from '../identity/subject.ts'
import type { Trust, VerifiedClaims } from '../identity/trust.ts'
import type { VerifiedAnnouncement } from '../keys/announcements.ts'
import { type Audience, type AudienceMember, toMember } from '../keys/directory.ts'
import type { AcceptedEpoch } from '../keys/epochs.ts'
import { CLOCK_WINDOW_MS } from '../limits.ts'
import { WireType } from '../wire/preamble.ts'
import type { HeaderPair } from '../wire/sealed.ts'
import { type HeadersLike, MessageHeaders, splitHeaders } from './headers.ts'
import type { NatsLike } from './nats-like.ts'
import type { RealmLink } from './realm-link.ts'

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
}

/** What was published: whom it was sealed to, and the message id. */
export interface Published {
  readonly mid: Uint8Array
  readonly members: readonly AudienceMember[]
}

/** What a publisher works with. */
export interface PublisherOptions {
  readonly engine: CryptoEngine
  readonly identity: Identity
  /** What its token is worth under the trust anchors. */
  readonly claims: VerifiedClaims
  readonly trust: Trust
  readonly clock: Clock
  readonly link: RealmLink
  readonly padding: Padding
}

/** Seals and publishes, in one go: asynchronous sealing would reorder what an agent publishes. */
export class Publisher {
  readonly #nc: NatsLike
  readonly #options: PublisherOptions
  #sealed = 0

  constructor(nc: NatsLike, options: PublisherOptions) {
    this.#nc = nc
    this.#options = options
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
  publish(outgoing: Outgoing, to?: readonly string[]): Published {
    const { identity, claims, trust, link } = this.#options
    const { subject } = outgoing
    if (!isSubject(subject))
      throw new TypeError('subject must be dot-separated tokens without wildcards or spaces')
    if (outgoing.reply !== undefined && !isSubject(outgoing.reply))
      throw new TypeError('reply must be a subject')
    link.assertUsable()
    if (!allows(claims.permissions.pub, subject)) {
      throw new SubrosaError(
        'ERR_PUBLISH_DENIED',
        `${identity.name} is not allowed to publish on "${subject}"`,
        {
          hint: trust.isByPins
            ? 'its own pin does not allow it'
            : 'ask the authority for a token whose pub list allows it',
        },
      )
    }
    if (to === undefined && trust.isByPins) {
      throw new SubrosaError('ERR_RECIPIENT_NOT_ALLOWED', 'under pins every publish names its recipients', {
        hint: "publish(subject, payload, { to: ['billing'] })",
      })
    }
    const { epoch, members } = this.audience(subject, to)
    if (members.length === 0) throw this.#emptyAudience(subject)
    return this.sealTo(outgoing, epoch, members)
  }

  /**
   * Whom a message on this subject would be sealed to now.
   *
   * @throws SubrosaError ERR_STALE without a current epoch, ERR_RECIPIENT_NOT_ALLOWED for a name in `to` that is not
   *   in the audience
   */
  audience(subject: string, to?: readonly string[]): Audience {
    const { link, clock } = this.#options
    const audience = link.directory.audience(subject, clock.now())
    if (audience === undefined) {
      throw new SubrosaError('ERR_STALE', 'there is no current epoch', {
        hint: 'check that the rotation service runs',
      })
    }
    if (to === undefined) return audience
    for (const name of to) {
      if (!audience.members.some((member) => isNamed(member, name))) throw this.#notAllowed(subject, name)
    }
    const members = audience.members.filter((member) => to.some((name) => isNamed(member, name)))
    return { epoch: audience.epoch, members }
  }

  /** Seals to these recipients in this epoch. @throws SubrosaError ERR_MESSAGE_TOO_LARGE, ERR_STALE, ERR_HEADER */
  sealTo(outgoing: Outgoing, epoch: AcceptedEpoch, members: readonly AudienceMember[]): Published {
    const { engine, clock, link, padding } = this.#options
    const { subject, via = subject, payload, reply, inReplyTo } = outgoing
    const { sealed, clear } = splitHeaders(outgoing.headers)
    const keys = link.keyring.sending(epoch.hash)
    if (keys === undefined)
      throw new SubrosaError('ERR_STALE', `this instance has no keys for epoch ${epoch.number} yet`)
    const { bytes, mid } = seal(
      engine,
      {
        sender: keys.announcementHash,
        seq: keys.seq,
        subject,
        reply,
        inReplyTo,
        ttlMs: 0,
        headers: sealed,
        clearHeaders: clear,
        payload,
      },
      {
        type: WireType.sealed,
        epoch: epoch.number,
        recipients: members.map(({ key }) => key),
        messageKey: keys.messageKey,
        sentAtMs: clock.now(),
        padding,
      },
    )
    this.#send(via, bytes, { reply, clear, recipients: members.length })
    this.#sealed++
    return { mid, members }
  }

  /**
   * The requester's instance alone: in the newest current epoch that both have announced, else in the request's own
   * until its grace ends.
   *
   * @throws SubrosaError ERR_EMPTY_AUDIENCE when neither is left
   */
  responseTo(
    request: Unsealed,
    requester: VerifiedAnnouncement,
  ): { readonly epoch: AcceptedEpoch; readonly member: AudienceMember } {
    const { link, clock } = this.#options
    const nowMs = clock.now()
    if (link.directory.sender(request.content.sender, nowMs).standing !== 'known') throw requesterGone()
    for (const epoch of link.epochs.current(nowMs)) {
      if (!link.keyring.has(epoch.hash)) continue
      const member = link.directory.memberOf(requester, epoch, nowMs)
      if (member !== undefined) return { epoch, member }
    }
    const epoch = link.epochs.byHash(request.epochHash)
    const member = toMember(requester)
    // What is sent later than that, no receiver takes: SPEC, "Opening".
    const lastsMs = Math.min(epoch?.graceMs ?? 0, CLOCK_WINDOW_MS)
    if (epoch === undefined || member === undefined || nowMs >= epoch.notAfter + lastsMs)
      throw requesterGone()
    return { epoch, member }
  }

  #send(
    subject: string,
    bytes: Uint8Array,
    options: {
      readonly reply: string | undefined
      readonly clear: readonly HeaderPair[]
      readonly recipients: number
    },
  ): void {
    const { reply, clear, recipients } = options
    const headers = clear.length === 0 ? undefined : new MessageHeaders(clear)
    // The server counts headers and payload together, and its limit can change with a reconnect.
    const total = bytes.length + (headers?.encode().length ?? 0)
    const limit = this.#nc.info?.max_payload ?? Number.POSITIVE_INFINITY
    if (total > limit) {
      throw new SubrosaError(
        'ERR_MESSAGE_TOO_LARGE',
        `the message has ${total} bytes sealed to ${recipients}, and the server takes ${limit}`,
        {
          hint: 'send less at once, name fewer recipients with `to`, or raise max_payload on the server',
        },
      )
    }
    this.#nc.publish(subject, bytes, {
      ...(reply === undefined ? {} : { reply }),
      ...(headers === undefined ? {} : { headers }),
    })
  }

  #emptyAudience(subject: string): SubrosaError {
    const { link, clock } = this.#options
    const absences = link.directory.absences(subject, clock.now())
    const why = absences.map((absence) => `${absence.name}: ${absence.why}`).join('; ')
    return new SubrosaError('ERR_EMPTY_AUDIENCE', `no agent can read "${subject}" now`, {
      hint: absences.length === 0 ? 'no agent has announced itself yet: wait with waitForAudience()' : why,
    })
  }

  #notAllowed(subject: string, name: string): SubrosaError {
    const { link, clock, trust } = this.#options
    const [agent = name, instance] = name.split('/')
    const absence = link.directory.absences(subject, clock.now()).find((entry) => entry.name === agent)
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
