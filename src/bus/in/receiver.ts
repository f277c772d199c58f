import { fromHex, hex } from '../../base/bytes.ts'
import { CLOCK_WINDOW_MS, FAILED_OPENS_PER_SECOND } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import { type Unsealed, unseal, verifySender } from '../../envelope/open.ts'
import { allows } from '../../identity/permissions.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { SenderStanding } from '../../keys/directory.ts'
import type { AcceptedEpoch } from '../../keys/epochs.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import type { Context } from '../context.ts'
import { clearHeadersMatch } from '../messages/headers.ts'
import { type Opened, openedMessage } from '../messages/opened.ts'
import type { NatsLike, NatsMessage } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import type { RejectReason } from '../status.ts'
import { type Arrival, isInTime, isOfEpoch } from './arrival.ts'
import { FrameReceiver } from './frame-receiver.ts'
import { IncomingSessions } from './incoming-sessions.ts'
import { Lookups } from './lookups.ts'
import { seenIn, windowFor } from './replay.ts'
import type { SubjectPolicy } from './subject-policy.ts'

/** What a receiver works with. */
export interface ReceiverOptions extends Context {
  readonly link: RealmLink
  /** On which other subjects than its own a message may arrive. */
  readonly policy: SubjectPolicy
  /** Called with sessions (their sids in hexadecimal) of which nothing is known any more. */
  readonly onForgotten: (sids: readonly string[]) => void
}

/** What is done with a sealed message whose sender is known. */
interface Fate {
  readonly delivered: NatsMessage
  /** `undefined` for a handshake on a subject of the protocol, where nothing is delivered. */
  readonly arrival: Arrival | undefined
}

/**
 * Opens what arrives: SPEC, "Opening", in its order. Nothing that arrives can make it throw. What is not good is
 * counted and reported with its reason on this side, and tells the sender nothing.
 */
export class Receiver {
  readonly #options: ReceiverOptions
  readonly #failures = new RateLimit(FAILED_OPENS_PER_SECOND)
  readonly #lookups: Lookups
  readonly #sessions: IncomingSessions
  readonly #frames: FrameReceiver
  readonly #stopListening: () => void

  constructor(nc: NatsLike, options: ReceiverOptions) {
    const { clock, link, feed } = options
    const onError = (error: unknown): void => feed.emit({ type: 'error', error })
    this.#options = options
    this.#lookups = new Lookups({
      clock,
      isKnown: (announcement) => this.#isKnown(announcement),
      ask: (announcement) => link.lookUp(fromHex(announcement)),
      onError,
    })
    this.#sessions = new IncomingSessions(nc, {
      ...options,
      onHandshake: (message) => this.takeHandshake(message),
      onError,
    })
    this.#frames = new FrameReceiver({
      ...options,
      sessions: this.#sessions,
      reject: (reason, delivered) => this.#reject(reason, delivered),
    })
    this.#stopListening = link.onChange(() => {
      this.#frames.directoryChanged()
      this.#lookups.check()
    })
  }

  /** Takes one delivered message. It is delivered at once, later in its sender's order, or never. */
  take(delivered: NatsMessage, arrival: Arrival): void {
    const type = wireType(delivered.data)
    if (type === undefined) return this.#reject('plaintext', delivered)
    if (this.#mayNotOpen()) return this.#reject('stale', delivered)
    if (type === WireType.frame) this.#frames.take(delivered, arrival)
    else if (type === WireType.sealed || type === WireType.handshake) this.#unseal(delivered, arrival)
    else this.#reject('malformed', delivered)
  }

  /** Takes a handshake from a subject of the protocol: one's own inbox, or where one was asked for. */
  takeHandshake(delivered: NatsMessage): void {
    if (wireType(delivered.data) !== WireType.handshake) return
    if (this.#mayNotOpen()) return this.#reject('stale', delivered)
    this.#unseal(delivered, undefined)
  }

  /** Whether replay windows of this announcement or session (in hexadecimal) are still needed. */
  needsWindow(key: string): boolean {
    return this.#options.link.directory.has(key) || this.#sessions.holds(key)
  }

  /** Forgets sessions that are long over. */
  prune(): void {
    this.#sessions.prune()
  }

  /** Resolves when nothing waits for its sender's announcement or its session's handshake. */
  async idle(): Promise<void> {
    await this.#lookups.idle()
    await this.#sessions.idle()
  }

  close(): void {
    this.#stopListening()
    this.#lookups.close()
    this.#sessions.close()
  }

  #unseal(delivered: NatsMessage, arrival: Arrival | undefined): void {
    const { link, engine, clock } = this.#options
    // Anybody can send a handshake again, and what it opens is known.
    if (this.#sessions.knows(delivered.data)) return
    const mayUnwrap = () => this.#failures.available(clock.monotonic()) >= 1
    const result = unseal(engine, delivered.data, link.keyring, mayUnwrap)
    switch (result.outcome) {
      case 'not addressed':
        if (arrival === undefined) this.#sessions.refuse(delivered.subject)
        else if (wireType(delivered.data) === WireType.sealed) arrival.onUnaddressed?.(delivered)
        return
      case 'not tried':
        return this.#reject('flood', delivered)
      case 'failed':
        if (result.unwrapped) this.#failures.take(clock.monotonic())
        return this.#reject(result.failure, delivered)
      case 'opened':
        this.#findSender(result.message, { delivered, arrival })
    }
  }

  #mayNotOpen(): boolean {
    try {
      this.#options.link.assertUsable()
      return false
    } catch {
      return true
    }
  }

  #findSender(message: Unsealed, fate: Fate): void {
    const announcement = hex(message.content.sender)
    const found = this.#standing(message)
    if (!this.#lookups.mustWait(announcement, found.standing !== 'unknown')) {
      this.#judge(message, found, fate)
      return
    }
    this.#lookups.wait(announcement, {
      bytes: fate.delivered.data.length,
      proceed: () => this.#judge(message, this.#standing(message), fate),
      giveUp: () => this.#refuse(message, 'unknown sender', fate.delivered),
      drop: () => this.#discard(message),
    })
  }

  #standing({ content }: Unsealed): SenderStanding {
    const { link, clock } = this.#options
    return link.directory.sender(content.sender, clock.now())
  }

  #judge(message: Unsealed, found: SenderStanding, { delivered, arrival }: Fate): void {
    const { clock, engine, link } = this.#options
    if (found.standing === 'unknown') return this.#refuse(message, 'unknown sender', delivered)
    if (found.standing === 'refused') return this.#refuse(message, 'revoked', delivered)
    const sender = found.announcement
    const epoch = link.epochs.byHash(message.epochHash)
    const isOfEpoch = epoch !== undefined && hex(sender.announcement.epochHash) === hex(message.epochHash)
    if (!isOfEpoch || sender.recipient === undefined) return this.#refuse(message, 'epoch', delivered)
    if (!verifySender(engine, message, sender.announcement.messageKey)) {
      this.#failures.take(clock.monotonic())
      return this.#refuse(message, 'signature', delivered)
    }
    engine.wipe(message.toVerify)
    if (message.type === WireType.handshake) this.#openSession(message, { sender, epoch, delivered })
    else if (arrival === undefined) this.#reject('malformed', delivered)
    else this.#deliver(message, { sender, epoch, delivered, arrival })
  }

  #deliver(
    message: Unsealed,
    at: {
      readonly sender: VerifiedAnnouncement
      readonly epoch: AcceptedEpoch
      readonly delivered: NatsMessage
      readonly arrival: Arrival
    },
  ): void {
    const { sender, epoch, delivered, arrival } = at
    const opened = openedMessage(message)
    const reason = this.#fault(opened, sender, delivered, arrival)
    if (reason !== undefined) return this.#reject(reason, delivered)
    if (!isInTime(opened, epoch, { nowMs: this.#options.clock.now(), ttlMs: message.content.ttlMs }))
      return this.#reject('time', delivered)
    const { sender: announcement, seq } = message.content
    if (seenIn(arrival.windows, hex(announcement), seq)) return this.#reject('replay', delivered)
    // Only now, with everything proved, does the window move.
    windowFor(arrival.windows, hex(announcement)).mark(seq)
    arrival.deliver({ opened, sender, delivered })
  }

  #fault(
    opened: Opened,
    sender: VerifiedAnnouncement,
    delivered: NatsMessage,
    arrival: Arrival,
  ): RejectReason | undefined {
    // A response comes back to the very inbox that was sealed in the request, whatever mappings there are.
    const isWhereItBelongs =
      arrival.mayRespond === undefined
        ? this.#options.policy.accepts(opened.subject, delivered.subject)
        : opened.subject === delivered.subject
    if (!isWhereItBelongs) return 'subject'
    if (!clearHeadersMatch(delivered, opened.clearHeaders)) return 'headers'
    if (arrival.mayRespond === undefined)
      return allows(sender.claims.permissions.pub, opened.subject) ? undefined : 'not permitted'
    return arrival.mayRespond(opened, sender) ? undefined : 'not a response'
  }

  /** A handshake says nothing to anybody: what its frames say is judged frame by frame. */
  #openSession(
    message: Unsealed,
    of: {
      readonly sender: VerifiedAnnouncement
      readonly epoch: AcceptedEpoch
      readonly delivered: NatsMessage
    },
  ): void {
    const nowMs = this.#options.clock.now()
    const { epoch, delivered } = of
    // How long it lasts, its session says: it may come again until then.
    const isOver = nowMs >= epoch.notAfter + epoch.graceMs
    if (isOver || message.sentAtMs > nowMs + CLOCK_WINDOW_MS || !isOfEpoch(message.sentAtMs, epoch))
      return this.#refuse(message, 'time', delivered)
    const refusal = this.#sessions.accept(message, { sender: of.sender, epoch, wire: delivered.data })
    if (refusal !== undefined) this.#reject(refusal, delivered)
  }

  #isKnown(announcement: string): boolean {
    const { link, clock } = this.#options
    return link.directory.sender(fromHex(announcement), clock.now()).standing !== 'unknown'
  }

  /** Rejects what was opened: the key of its session goes with it. */
  #refuse(message: Unsealed, reason: RejectReason, delivered: NatsMessage): void {
    this.#discard(message)
    this.#reject(reason, delivered)
  }

  #discard({ session }: Unsealed): void {
    if (session !== undefined) this.#options.engine.wipe(session.key)
  }

  #reject(reason: RejectReason, { subject }: NatsMessage): void {
    this.#options.feed.emit({ type: 'rejected', reason, subject })
  }
}
