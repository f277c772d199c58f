import { fromHex, hex } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { type Unsealed, unseal, verifySender } from '../envelope/open.ts'
import { allows } from '../identity/permissions.ts'
import type { VerifiedAnnouncement } from '../keys/announcements.ts'
import { RateLimit } from '../keys/budget.ts'
import type { SenderStanding } from '../keys/directory.ts'
import { CLOCK_WINDOW_MS, FAILED_OPENS_PER_SECOND } from '../limits.ts'
import { WireType, wireType } from '../wire/preamble.ts'
import { sameClearHeaders } from './headers.ts'
import { Lookups } from './lookups.ts'
import type { NatsMessage } from './nats-like.ts'
import type { RealmLink } from './realm-link.ts'
import { type SubscriptionWindows, windowFor } from './replay.ts'
import type { RejectReason, StatusFeed } from './status.ts'
import type { SubjectPolicy } from './subject-policy.ts'

/** A message that was opened and whose sender, permission, time and novelty were checked. */
export interface Received {
  readonly message: Unsealed
  readonly sender: VerifiedAnnouncement
  readonly delivered: NatsMessage
}

/** Where a message arrived, and what becomes of it. */
export interface Arrival {
  readonly windows: SubscriptionWindows
  /** Called with a message that is good. */
  readonly deliver: (received: Received) => void
  /** Called when no wrap is for this instance. */
  readonly onUnaddressed?: (delivered: NatsMessage) => void
  /**
   * Takes the place of the check that the sender may publish on the subject: for responses, which only an instance
   * may send that was asked.
   */
  readonly mayRespond?: (message: Unsealed, sender: VerifiedAnnouncement) => boolean
}

/** What a receiver works with. */
export interface ReceiverOptions {
  readonly engine: CryptoEngine
  readonly clock: Clock
  readonly link: RealmLink
  readonly feed: StatusFeed
  /** On which other subjects than its own a message may arrive. */
  readonly policy: SubjectPolicy
}

/**
 * Opens what arrives: SPEC, "Opening", in its order. Nothing that arrives can make it throw. What is not good is
 * counted and reported with its reason on this side, and tells the sender nothing.
 */
export class Receiver {
  readonly #options: ReceiverOptions
  readonly #failures = new RateLimit(FAILED_OPENS_PER_SECOND)
  readonly #lookups: Lookups
  readonly #stopListening: () => void

  constructor(options: ReceiverOptions) {
    const { clock, link } = options
    this.#options = options
    this.#lookups = new Lookups({
      clock,
      isKnown: (announcement) => this.#isKnown(announcement),
      ask: (announcement) => link.lookUp(fromHex(announcement)),
    })
    this.#stopListening = link.onChange(() => this.#lookups.check())
  }

  /** Takes one delivered message. It is delivered at once, later in its sender's order, or never. */
  take(delivered: NatsMessage, arrival: Arrival): void {
    const { link, engine, clock } = this.#options
    if (wireType(delivered.data) === undefined) return this.#reject('plaintext', delivered)
    if (wireType(delivered.data) !== WireType.sealed) return this.#reject('malformed', delivered)
    if (this.#mayNotOpen()) return this.#reject('stale', delivered)
    const mayUnwrap = () => this.#failures.available(clock.monotonic()) >= 1
    const result = unseal(engine, delivered.data, link.keyring, mayUnwrap)
    switch (result.outcome) {
      case 'not addressed':
        arrival.onUnaddressed?.(delivered)
        return
      case 'not tried':
        return this.#reject('flood', delivered)
      case 'failed':
        if (result.unwrapped) this.#failures.take(clock.monotonic())
        return this.#reject(result.failure, delivered)
      case 'opened':
        this.#findSender(result.message, delivered, arrival)
    }
  }

  /** Resolves when no message waits for its sender's announcement. */
  async idle(): Promise<void> {
    await this.#lookups.idle()
  }

  close(): void {
    this.#stopListening()
    this.#lookups.close()
  }

  #mayNotOpen(): boolean {
    try {
      this.#options.link.assertUsable()
      return false
    } catch {
      return true
    }
  }

  #findSender(message: Unsealed, delivered: NatsMessage, arrival: Arrival): void {
    const announcement = hex(message.content.sender)
    const found = this.#standing(message)
    if (!this.#lookups.mustWait(announcement, found.standing !== 'unknown')) {
      this.#judge(message, found, { delivered, arrival })
      return
    }
    this.#lookups.wait(announcement, {
      bytes: delivered.data.length,
      proceed: () => this.#judge(message, this.#standing(message), { delivered, arrival }),
      giveUp: () => this.#reject('unknown sender', delivered),
    })
  }

  #standing({ content }: Unsealed): SenderStanding {
    const { link, clock } = this.#options
    return link.directory.sender(content.sender, clock.now())
  }

  #judge(
    message: Unsealed,
    found: SenderStanding,
    { delivered, arrival }: { readonly delivered: NatsMessage; readonly arrival: Arrival },
  ): void {
    const { clock, engine } = this.#options
    if (found.standing === 'unknown') return this.#reject('unknown sender', delivered)
    if (found.standing === 'refused') return this.#reject('revoked', delivered)
    const sender = found.announcement
    const reason = this.#fault(message, sender, delivered, arrival)
    if (reason !== undefined) {
      if (reason === 'signature') this.#failures.take(clock.monotonic())
      return this.#reject(reason, delivered)
    }
    const window = windowFor(arrival.windows, hex(message.content.sender))
    if (window.seen(message.content.seq)) return this.#reject('replay', delivered)
    // Only now, with everything proved, does the window move.
    window.mark(message.content.seq)
    engine.wipe(message.toVerify)
    arrival.deliver({ message, sender, delivered })
  }

  #fault(
    message: Unsealed,
    sender: VerifiedAnnouncement,
    delivered: NatsMessage,
    arrival: Arrival,
  ): RejectReason | undefined {
    const { engine, link, clock, policy } = this.#options
    const { content } = message
    const { announcement, claims } = sender
    const epoch = link.epochs.byHash(message.epochHash)
    const isOfEpoch = epoch !== undefined && hex(announcement.epochHash) === hex(message.epochHash)
    if (!isOfEpoch || sender.recipient === undefined) return 'epoch'
    if (!verifySender(engine, message, announcement.messageKey)) return 'signature'
    // A response comes back to the very inbox that was sealed in the request, whatever mappings there are.
    const isWhereItBelongs =
      arrival.mayRespond === undefined
        ? policy.accepts(content.subject, delivered.subject)
        : content.subject === delivered.subject
    if (!isWhereItBelongs) return 'subject'
    if (!sameClearHeaders(delivered.headers, content.clearHeaders)) return 'headers'
    if (arrival.mayRespond === undefined) {
      if (!allows(claims.permissions.pub, content.subject)) return 'not permitted'
    } else if (!arrival.mayRespond(message, sender)) return 'not a response'
    return isInTime(message, epoch, clock.now()) ? undefined : 'time'
  }

  #isKnown(announcement: string): boolean {
    const { link, clock } = this.#options
    return link.directory.sender(fromHex(announcement), clock.now()).standing !== 'unknown'
  }

  #reject(reason: RejectReason, { subject }: NatsMessage): void {
    this.#options.feed.emit({ type: 'rejected', reason, subject })
  }
}

function isInTime(
  { sentAtMs, content }: Unsealed,
  epoch: { readonly notBefore: number; readonly notAfter: number; readonly graceMs: number },
  nowMs: number,
): boolean {
  if (Math.abs(nowMs - sentAtMs) > CLOCK_WINDOW_MS) return false
  if (sentAtMs < epoch.notBefore - CLOCK_WINDOW_MS || sentAtMs > epoch.notAfter + CLOCK_WINDOW_MS)
    return false
  if (nowMs >= epoch.notAfter + epoch.graceMs) return false
  return content.ttlMs === 0 || nowMs <= sentAtMs + content.ttlMs
}
