import { fromHex, hex } from '../../base/bytes.ts'
import {
  FAILED_OPENS_PER_SECOND,
  MAX_SESSION_REQUESTS_PER_SECOND,
  MAX_SESSIONS,
  MAX_SESSIONS_PER_IDENTITY,
  MAX_SESSIONS_PER_SENDER,
  NOT_ADDRESSED_MS,
  SESSION_TOMBSTONE_MS,
} from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { Unsealed } from '../../envelope/open.ts'
import type { VerifiedAnnouncement } from '../../keys/announcements.ts'
import type { AcceptedEpoch } from '../../keys/epochs.ts'
import { IncomingSession } from '../../session/incoming.ts'
import { frameSid, isFrameOf } from '../../wire/frame.ts'
import { decodeHandshake, encodeSessionRequest, SessionMode } from '../../wire/handshake.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import type { Context } from '../context.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import { subscribeSafely } from '../safely.ts'
import { Lookups } from './lookups.ts'
import { PermittedSubjects } from './permitted-subjects.ts'

const MAX_NOT_ADDRESSED = 4096
const ASK_AGAIN_MS = 1000
const RECENT_FRAMES = 64
const PRUNE_EVERY_MS = 1000
const HANDSHAKE_NAME_BYTES = 16

/** What incoming sessions work with. */
export interface IncomingSessionsOptions extends Context {
  readonly link: RealmLink
  /** Takes a handshake that came again. */
  readonly onHandshake: (message: NatsMessage) => void
  /** Called with sessions (their sids in hexadecimal) of which nothing is known any more. */
  readonly onForgotten: (sids: readonly string[]) => void
}

/** A session with what is known of its sender. */
export class HeldSession {
  readonly session: IncomingSession
  readonly sender: VerifiedAnnouncement
  readonly epoch: AcceptedEpoch
  readonly recipients: number
  /** Frames that came to nothing though the key fits: only somebody else with the key makes them. */
  readonly failures = new RateLimit(FAILED_OPENS_PER_SECOND)
  /** Frames that are opened only to find a clone. Anybody can make one that looks like it. */
  readonly suspicions = new RateLimit(FAILED_OPENS_PER_SECOND)
  /** As of which change of the directory the sender was looked up. */
  checkedAt = -1
  isEnded = false
  readonly #permitted: PermittedSubjects
  /** Counters and salts of the last frames, once there are any: most sessions that are held at once are silent. */
  #recent: { readonly counters: Float64Array; readonly salts: Float64Array } | undefined

  constructor(
    session: IncomingSession,
    of: { readonly sender: VerifiedAnnouncement; readonly epoch: AcceptedEpoch; readonly recipients: number },
  ) {
    this.session = session
    this.sender = of.sender
    this.epoch = of.epoch
    this.recipients = of.recipients
    this.#permitted = PermittedSubjects.of(of.sender.claims.permissions.pub)
  }

  /** Whether the sender may publish on this subject. */
  mayPublish(subject: string): boolean {
    return this.#permitted.allows(subject)
  }

  /** Remembers a frame that was opened: a process that was cloned repeats its counters with other salts. */
  remember(counter: number, salt: number): void {
    this.#recent ??= {
      counters: new Float64Array(RECENT_FRAMES).fill(-1),
      salts: new Float64Array(RECENT_FRAMES),
    }
    const slot = counter % RECENT_FRAMES
    this.#recent.counters[slot] = counter
    this.#recent.salts[slot] = salt
  }

  /** Whether a frame of this number was opened lately, with another salt. */
  hasOther(counter: number, salt: number): boolean {
    const slot = counter % RECENT_FRAMES
    return this.#recent?.counters[slot] === counter && this.#recent.salts[slot] !== salt
  }
}

/** Where a session comes from: its proved sender, and the handshake as it was received. */
export interface Origin {
  readonly sender: VerifiedAnnouncement
  readonly epoch: AcceptedEpoch
  readonly wire: Uint8Array
}

/** A session that is held, with the names under which it is counted. */
interface Place {
  readonly held: HeldSession
  /** Its sender's announcement. */
  readonly sender: string
  readonly identity: string
  readonly handshake: string
}

/** The sessions that others have opened to this instance, and the search for handshakes that were missed. */
export class IncomingSessions {
  readonly #nc: NatsLike
  readonly #options: IncomingSessionsOptions
  readonly #bySid = new Map<string, Place>()
  /** How many are held of each announcement, ended ones among them. */
  readonly #perSender = new Counts()
  /** The same for each identity: it may have many instances, and each announces itself in each epoch. */
  readonly #perIdentity = new Counts()
  /** Hashes of the handshakes of all that are held. */
  readonly #handshakes = new Set<string>()
  readonly #notAddressed = new Map<string, number>()
  readonly #requests = new RateLimit(MAX_SESSION_REQUESTS_PER_SECOND)
  readonly #asking = new Map<string, NatsSubscription>()
  readonly #lookups: Lookups
  #prunedAtMs = 0
  #last: { readonly sid: Uint8Array; readonly held: HeldSession } | undefined

  constructor(nc: NatsLike, options: IncomingSessionsOptions) {
    this.#nc = nc
    this.#options = options
    this.#lookups = new Lookups({
      clock: options.clock,
      isKnown: (sid) => this.#bySid.has(sid) || this.#isNotAddressed(sid),
      ask: (sid) => this.#ask(sid),
      onDone: (sid) => this.#stopAsking(sid),
      onError: options.onError,
    })
  }

  /** The session of this frame, in force or ended. */
  find(frame: Uint8Array): HeldSession | undefined {
    const last = this.#last
    if (last !== undefined && !last.held.isEnded && isFrameOf(frame, last.sid)) return last.held
    const sid = frameSid(frame)
    const held = this.#bySid.get(hex(sid))?.held
    if (held !== undefined) this.#last = { sid, held }
    return held
  }

  /** Whether a frame of this session has to wait: for its handshake, or behind others that do. */
  mustWait(frame: Uint8Array, isKnown: boolean): boolean {
    return (!isKnown || this.#lookups.isBusy) && this.#lookups.mustWait(hex(frameSid(frame)), isKnown)
  }

  /** Whether it is known that this instance is not among the session's recipients. */
  isNotAddressed(frame: Uint8Array): boolean {
    return this.#notAddressed.size > 0 && this.#isNotAddressed(hex(frameSid(frame)))
  }

  /** Keeps a frame until the handshake of its session has come, and asks for it. */
  wait(frame: Uint8Array, waiting: Parameters<Lookups['wait']>[1]): void {
    this.#lookups.wait(hex(frameSid(frame)), waiting)
  }

  /** Whether these bytes are the handshake of a session that is held. They need not be opened again. */
  knows(wire: Uint8Array): boolean {
    return wireType(wire) === WireType.handshake && this.#handshakes.has(this.#nameOf(wire))
  }

  /**
   * Takes in a handshake whose sender is proved. One that is known already changes nothing.
   *
   * @returns why it is refused, where it is
   */
  accept(message: Unsealed, { sender, epoch, wire }: Origin): 'content' | 'time' | 'flood' | undefined {
    const { engine, clock } = this.#options
    const { session: secrets, content, sentAtMs, recipients } = message
    if (secrets === undefined) return 'content'
    if (this.#bySid.has(hex(secrets.sid))) {
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
    const refusal = session.isOver(clock.now()) ? 'time' : this.#roomFor(sender)
    if (refusal !== undefined) {
      session.end()
      return refusal
    }
    this.#hold({
      held: new HeldSession(session, { sender, epoch, recipients }),
      sender: hex(sender.hash),
      identity: sender.claims.identity,
      handshake: this.#nameOf(wire),
    })
    this.#lookups.check()
    return undefined
  }

  /** A session whose sender is not trusted any more: its key is wiped, and its sid stays refused. */
  end(held: HeldSession): void {
    if (held.isEnded) return
    held.isEnded = true
    held.session.end()
  }

  /** Whether windows of this session (its sid in hexadecimal) are still needed. */
  holds(sid: string): boolean {
    return this.#bySid.has(sid)
  }

  /** Forgets what is long over. */
  prune(): void {
    this.#prune()
  }

  /** Resolves when no frame waits. */
  async idle(): Promise<void> {
    await this.#lookups.idle()
  }

  close(): void {
    this.#lookups.close()
    for (const { held } of this.#bySid.values()) this.end(held)
    this.#bySid.clear()
    this.#perSender.clear()
    this.#perIdentity.clear()
    this.#handshakes.clear()
    this.#last = undefined
  }

  #isNotAddressed(sid: string): boolean {
    const since = this.#notAddressed.get(sid)
    return since !== undefined && this.#options.clock.monotonic() - since < NOT_ADDRESSED_MS
  }

  /** Asks for the handshake of a session, and once more if nothing comes. */
  #ask(sid: string): boolean {
    const { clock, subjects, onHandshake, onError, onMisrouted } = this.#options
    if (this.#nc.isClosed() || !this.#requests.take(clock.monotonic())) return false
    const sidBytes = fromHex(sid)
    const subscription = subscribeSafely(this.#nc, subjects.handshake(sidBytes), {
      take: (message) => onHandshake(message),
      onError,
      onMisrouted,
    })
    this.#asking.set(sid, subscription)
    const ask = (): void => this.#nc.publish(subjects.session(sidBytes), encodeSessionRequest(sidBytes))
    ask()
    clock.after(ASK_AGAIN_MS, () => {
      try {
        const isMissing = this.#asking.get(sid) === subscription && !this.#nc.isClosed()
        if (isMissing && this.#requests.take(clock.monotonic())) ask()
      } catch (error) {
        onError(error)
      }
    })
    return true
  }

  /** A handshake that was asked for is not for this instance. */
  refuse(subject: string): void {
    const sid = subject.slice(subject.lastIndexOf('.') + 1)
    if (!this.#asking.has(sid)) return
    if (this.#notAddressed.size >= MAX_NOT_ADDRESSED) this.#notAddressed.clear()
    this.#notAddressed.set(sid, this.#options.clock.monotonic())
    this.#lookups.check()
  }

  #stopAsking(sid: string): void {
    const subscription = this.#asking.get(sid)
    this.#asking.delete(sid)
    if (!this.#nc.isClosed()) subscription?.unsubscribe()
  }

  /** Half of a hash, a character for a byte: in hexadecimal it would be the largest part of what is kept of a session. */
  #nameOf(wire: Uint8Array): string {
    return String.fromCharCode(...this.#options.engine.sha256(wire).subarray(0, HANDSHAKE_NAME_BYTES))
  }

  #roomFor(sender: VerifiedAnnouncement): 'flood' | undefined {
    this.#pruneNowAndThen()
    const isFull =
      this.#perSender.of(hex(sender.hash)) >= MAX_SESSIONS_PER_SENDER ||
      this.#perIdentity.of(sender.claims.identity) >= MAX_SESSIONS_PER_IDENTITY ||
      this.#bySid.size >= MAX_SESSIONS
    return isFull ? 'flood' : undefined
  }

  #hold(place: Place): void {
    this.#bySid.set(place.held.session.sid, place)
    this.#handshakes.add(place.handshake)
    this.#perSender.add(place.sender)
    this.#perIdentity.add(place.identity)
  }

  #forget({ held, sender, identity, handshake }: Place): void {
    this.#bySid.delete(held.session.sid)
    this.#handshakes.delete(handshake)
    this.#perSender.remove(sender)
    this.#perIdentity.remove(identity)
  }

  /** Looking at all of them for each handshake would take more than the handshake does. */
  #pruneNowAndThen(): void {
    const sinceMs = this.#options.clock.now() - this.#prunedAtMs
    if (sinceMs < 0 || sinceMs >= PRUNE_EVERY_MS) this.#prune()
  }

  #prune(): void {
    const nowMs = this.#options.clock.now()
    const forgotten: string[] = []
    this.#prunedAtMs = nowMs
    for (const [sid, place] of this.#bySid) {
      const { session, epoch } = place.held
      if (session.isOver(nowMs) || nowMs >= epoch.notAfter + epoch.graceMs) this.end(place.held)
      if (nowMs < session.endsAtMs + SESSION_TOMBSTONE_MS) continue
      this.#forget(place)
      forgotten.push(sid)
    }
    for (const sid of [...this.#notAddressed.keys()]) {
      if (!this.#isNotAddressed(sid)) this.#notAddressed.delete(sid)
    }
    if (forgotten.length > 0) this.#options.onForgotten(forgotten)
  }
}

/** How many there are of each name. */
class Counts {
  readonly #byName = new Map<string, number>()

  of(name: string): number {
    return this.#byName.get(name) ?? 0
  }

  add(name: string): void {
    this.#byName.set(name, this.of(name) + 1)
  }

  remove(name: string): void {
    const left = this.of(name) - 1
    if (left > 0) this.#byName.set(name, left)
    else this.#byName.delete(name)
  }

  clear(): void {
    this.#byName.clear()
  }
}

function decodeOrNothing(payload: Uint8Array): ReturnType<typeof decodeHandshake> | undefined {
  try {
    return decodeHandshake(payload)
  } catch {
    return undefined
  }
}
