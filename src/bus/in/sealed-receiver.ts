import { fromHex, hex } from '../../base/bytes.ts'
import { MAX_FREE_HASH_BYTES, MAX_FREE_SILENT_SESSIONS, MAX_SESSION_MS } from '../../base/limits.ts'
import { sessionId } from '../../envelope/keys.ts'
import { type Addressed, openSealed, readSealed, type Unsealed, verifySender } from '../../envelope/open.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { SenderStanding } from '../../keys/directory.ts'
import type { Epoch } from '../../keys/epochs.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import type { Context } from '../context.ts'
import { clearHeadersMatch } from '../messages/headers.ts'
import { openedMessage } from '../messages/opened.ts'
import type { NatsMessage } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import type { RejectReason } from '../status.ts'
import type { AdmissionLine, WaitingOpening } from './admission.ts'
import type { Arrival } from './arrival.ts'
import type { IncomingSessions } from './incoming-sessions.ts'
import { isOfEpoch, isRecent, judge } from './judge.ts'
import { keep } from './kept-message.ts'
import { deliveryOf, KnownWires } from './known-wires.ts'
import { Lookups } from './lookups.ts'
import { windowFor } from './replay.ts'
import type { SenderWindows } from './sender-windows.ts'
import type { SubjectPolicy } from './subject-policy.ts'

const SEED_BYTES = 12

/** What the receiver of sealed messages works with. */
export interface SealedReceiverOptions extends Context {
  readonly link: RealmLink
  readonly policy: SubjectPolicy
  readonly sessions: IncomingSessions
  readonly windows: SenderWindows
  /** Whether nothing may be opened now. */
  readonly mayNotOpen: () => boolean
}

/** Where a sealed message arrived. */
interface Fate {
  readonly delivered: NatsMessage
  /** `undefined` for a handshake on a subject of the protocol, where nothing is delivered. */
  readonly arrival: Arrival | undefined
  readonly line: AdmissionLine
}

/** A message that was decrypted, and the working time that was spent on it, in ms: delivered, it gets that back. */
interface Decrypted extends Fate {
  readonly message: Unsealed
  readonly workMs: number
  /** By which a long one is known once its sender is proved. */
  readonly commitment: Uint8Array | undefined
}

/** Opens messages and handshakes: types 0 and 1. The order of the steps is that of {@link judge}. */
export class SealedReceiver {
  readonly #options: SealedReceiverOptions
  readonly #known: KnownWires
  readonly #lookups: Lookups
  /** Sessions (their sids in hexadecimal) whose handshakes are open and wait for their sender's announcement. */
  readonly #waiting = new Set<string>()

  constructor(options: SealedReceiverOptions) {
    const { clock, engine, link, onError } = options
    this.#options = options
    this.#known = new KnownWires(clock, engine.randomBytes(SEED_BYTES))
    this.#lookups = new Lookups({
      clock,
      isKnown: (announcement) => this.#isKnown(announcement),
      ask: (announcement) => link.lookUp(fromHex(announcement)),
      onError,
    })
  }

  /** The directory has changed: what waits for a sender may go on. */
  directoryChanged(): void {
    this.#lookups.check()
  }

  /** Resolves when nothing waits for its sender's announcement that came by this subscription. */
  async idle(by: object): Promise<void> {
    await this.#lookups.idle(by)
  }

  close(): void {
    this.#lookups.close()
  }

  /** Takes a message or a handshake. No cipher has run on it yet. */
  take(fate: Fate): void {
    const { link, sessions, reject } = this.#options
    const { delivered, arrival, line } = fate
    const reading = readSealed(delivered.data, link.keyring)
    if (reading.outcome === 'failed') return reject(reading.failure, delivered)
    if (reading.outcome === 'not addressed') {
      if (arrival === undefined) sessions.notAddressed(delivered.subject)
      else if (wireType(delivered.data) === WireType.sealed) arrival.onUnaddressed?.(delivered)
      return
    }
    if (!this.#isRecent(reading.message)) return reject('time', delivered)
    const isFree = isFreeToKnow(reading.message)
    if (isFree && this.#isKnownWire(reading.message, fate)) return
    line.admit({
      open: () => this.#open(reading.message, fate, isFree),
      wait: () => this.#wait(fate),
    })
  }

  #wait(fate: Fate): WaitingOpening {
    const { message, bytes } = keep(fate.delivered)
    const kept = { ...fate, delivered: message }
    return {
      bytes,
      open: () => this.#openKept(kept),
      giveUp: () => this.#options.reject('flood', message),
    }
  }

  /** A handshake is good for as long as its session may last. */
  #isRecent({ sealed, sentAtMs }: Addressed): boolean {
    const lifetimeMs = sealed.header.type === WireType.handshake ? MAX_SESSION_MS : 0
    return isRecent(sentAtMs, this.#options.clock.moment(), lifetimeMs)
  }

  /** A handshake that is known changes nothing, so that is no rejection. */
  #isKnownWire(addressed: Addressed, { delivered, arrival }: Fate): boolean {
    const { engine, sessions } = this.#options
    if (addressed.sealed.header.type === WireType.handshake) {
      const sid = sessionId(engine, delivered.data)
      return sessions.isSettled(sid) || this.#waiting.has(hex(sid))
    }
    const name = this.#nameOf(addressed)
    if (!this.#known.has(name, deliveryOf(arrival?.subscription ?? 0, delivered))) return false
    this.#options.reject('replay', delivered)
    return true
  }

  /**
   * By what a message of type 0 is known. A co-recipient, who has its content key, can make other bytes under its
   * commitment: a long one, which is not hashed for that, is noted only when its sender is proved.
   */
  #nameOf({ wire, sealed }: Addressed): Uint8Array {
    return isShort(wire) ? this.#options.engine.sha256(wire) : sealed.commitment
  }

  /** What has waited is asked everything again: keys, clocks and what is known have moved on. */
  #openKept(fate: Fate): void {
    const { link, mayNotOpen, reject } = this.#options
    if (mayNotOpen()) return reject('stale', fate.delivered)
    const reading = readSealed(fate.delivered.data, link.keyring)
    // Its key has been wiped meanwhile.
    if (reading.outcome !== 'addressed') return reject('epoch', fate.delivered)
    if (!this.#isRecent(reading.message)) return reject('time', fate.delivered)
    this.#open(reading.message, fate, false)
  }

  #open(addressed: Addressed, fate: Fate, isNew: boolean): void {
    const { clock, engine, reject } = this.#options
    const startedAt = clock.work()
    if (!isNew && this.#isKnownWire(addressed, fate)) return fate.line.spend(clock.work() - startedAt)
    const opening = openSealed(engine, addressed)
    if (isShort(addressed.wire) && isWhole(opening, fate.delivered)) this.#note(this.#nameOf(addressed), fate)
    const workMs = clock.work() - startedAt
    // Everything that was unwrapped spends, until it is delivered.
    fate.line.spend(workMs)
    if (opening.outcome === 'failed') return reject(opening.failure, fate.delivered)
    const commitment = isShort(addressed.wire) ? undefined : addressed.sealed.commitment.slice()
    this.#findSender({ ...fate, message: opening.message, workMs, commitment })
  }

  #note(name: Uint8Array, { arrival, delivered }: Fate): void {
    if (arrival !== undefined) this.#known.note(name, deliveryOf(arrival.subscription, delivered))
  }

  #findSender(decrypted: Decrypted): void {
    const { message, delivered } = decrypted
    const announcement = hex(message.content.sender)
    const found = this.#standing(message)
    if (!this.#lookups.mustWait(announcement, found.standing !== 'unknown')) {
      this.#judge(decrypted, found)
      return
    }
    const sid = message.session === undefined ? undefined : hex(message.session.sid)
    // A handshake is needed whole, to name its session.
    const { message: own, bytes } = keep(delivered, sid === undefined ? 'without' : 'with')
    const kept = { ...decrypted, delivered: own }
    if (sid !== undefined) this.#waiting.add(sid)
    const go = (next: () => void) => () => {
      if (sid !== undefined) this.#waiting.delete(sid)
      next()
    }
    this.#lookups.wait(announcement, {
      bytes,
      by: decrypted.line,
      proceed: go(() => this.#proceed(kept)),
      giveUp: go(() => this.#refuse('unknown sender', kept)),
      drop: go(() => this.#discard(message)),
    })
  }

  /** Freshness may have ended while it waited. */
  #proceed(decrypted: Decrypted): void {
    if (this.#options.mayNotOpen()) this.#refuse('stale', decrypted)
    else this.#judge(decrypted, this.#standing(decrypted.message))
  }

  #standing({ content }: Unsealed): SenderStanding {
    const { link, clock } = this.#options
    return link.directory.sender(content.sender, clock.now())
  }

  #judge(decrypted: Decrypted, found: SenderStanding): void {
    const { engine, link, clock } = this.#options
    const { message, arrival } = decrypted
    if (found.standing === 'unknown') return this.#refuse('unknown sender', decrypted)
    if (found.standing === 'refused') return this.#refuse('revoked', decrypted)
    const sender = found.announcement
    const epoch = link.epochs.byHash(message.epochHash)
    const isOfItsEpoch = epoch !== undefined && hex(sender.announcement.epochHash) === hex(message.epochHash)
    if (!isOfItsEpoch || sender.recipient === undefined) return this.#refuse('epoch', decrypted)
    const startedAt = clock.work()
    const isSigned = verifySender(engine, message, sender.announcement.messageKey)
    const verifyMs = clock.work() - startedAt
    decrypted.line.spend(verifyMs)
    if (!isSigned) return this.#refuse('signature', decrypted)
    engine.wipe(message.toVerify)
    const proved = { ...decrypted, workMs: decrypted.workMs + verifyMs }
    if (message.type === WireType.handshake) this.#openSession(proved, { sender, epoch })
    else if (arrival === undefined) this.#refuse('malformed', proved)
    else this.#deliver(proved, arrival, { sender, epoch })
  }

  #deliver(
    decrypted: Decrypted,
    arrival: Arrival,
    { sender, epoch }: { readonly sender: VerifiedAnnouncement; readonly epoch: Epoch },
  ): void {
    const { clock, policy, reject, windows } = this.#options
    const { message, delivered, line, workMs, commitment } = decrypted
    const { seq, ttlMs, sender: announcement } = message.content
    const opened = openedMessage(message)
    const window = hex(announcement)
    const sent = { claims: sender.claims, announcement: window, sentAtMs: message.sentAtMs }
    const mayBeKnown = windows.mayBeKnown(sent)
    const candidate = { opened, sender, epoch, ttlMs, window, seq, mayBeKnown, isMany: false }
    const startedAt = clock.work()
    const reason = judge(candidate, { delivered, arrival, policy, now: clock.moment() })
    if (commitment !== undefined && reason !== 'headers') this.#note(commitment, decrypted)
    if (reason !== undefined) {
      // Headers in clear are parsed here: whoever adds some to a genuine message pays for that too.
      line.spend(clock.work() - startedAt)
      return reject(reason, delivered)
    }
    // Only now, with everything proved, does the window move.
    windows.note(sent)
    windowFor(arrival.windows, window).mark(seq)
    line.spend(-workMs)
    arrival.deliver({ opened, sender, delivered })
  }

  /** A handshake says nothing to anybody: what its frames say is judged frame by frame. */
  #openSession(
    decrypted: Decrypted,
    of: { readonly sender: VerifiedAnnouncement; readonly epoch: Epoch },
  ): void {
    const { clock, sessions, reject } = this.#options
    const { message, delivered, line, workMs } = decrypted
    const { sender, epoch } = of
    // How long it lasts, its session says: it may come again until then.
    const isOver = clock.notBefore() >= epoch.notAfter + epoch.graceMs
    if (isOver || !isOfEpoch(message.sentAtMs, epoch)) return this.#refuse('time', decrypted)
    const startedAt = clock.work()
    const refusal = sessions.accept(message, { sender, epoch })
    if (refusal !== undefined) {
      line.spend(clock.work() - startedAt)
      return reject(refusal, delivered)
    }
    // Who opens many sessions, and says nothing in them, has them opened from the budget.
    if (sessions.silentOf(sender.claims.identity) <= MAX_FREE_SILENT_SESSIONS) line.spend(-workMs)
  }

  #isKnown(announcement: string): boolean {
    const { link, clock } = this.#options
    return link.directory.sender(fromHex(announcement), clock.now()).standing !== 'unknown'
  }

  /** Rejects what was opened: the key of its session goes with it. */
  #refuse(reason: RejectReason, { message, delivered }: Decrypted): void {
    this.#discard(message)
    this.#options.reject(reason, delivered)
  }

  #discard({ session }: Unsealed): void {
    if (session !== undefined) this.#options.engine.wipe(session.key)
  }
}

/** Whether it is seen at once whether it is known: a long handshake must be hashed, which is work. */
function isFreeToKnow({ sealed, wire }: Addressed): boolean {
  return sealed.header.type !== WireType.handshake || isShort(wire)
}

/** Whether a wire is short enough to be hashed for nothing. */
function isShort(wire: Uint8Array): boolean {
  return wire.length <= MAX_FREE_HASH_BYTES
}

/**
 * Whether the AEAD has opened it, whatever comes of it afterwards, and nobody has touched its headers in clear: a copy with
 * other ones must not stand in the way of the genuine delivery.
 */
function isWhole(opening: ReturnType<typeof openSealed>, delivered: NatsMessage): boolean {
  return opening.outcome === 'opened'
    ? clearHeadersMatch(delivered, opening.message.content.clearHeaders)
    : opening.failure === 'padding' || opening.failure === 'content'
}
