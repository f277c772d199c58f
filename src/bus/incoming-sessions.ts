import { fromHex, hex } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Unsealed } from '../envelope/open.ts'
import { allows } from '../identity/permissions.ts'
import type { VerifiedAnnouncement } from '../keys/announcements.ts'
import { RateLimit } from '../keys/budget.ts'
import type { AcceptedEpoch } from '../keys/epochs.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import {
  FAILED_OPENS_PER_SECOND,
  MAX_SESSION_REQUESTS_PER_SECOND,
  MAX_SESSIONS,
  MAX_SESSIONS_PER_SENDER,
  NOT_ADDRESSED_MS,
  SESSION_TOMBSTONE_MS,
} from '../limits.ts'
import { IncomingSession } from '../session/incoming.ts'
import { frameSid, isFrameOf } from '../wire/frame.ts'
import { decodeHandshake, encodeSessionRequest } from '../wire/handshake.ts'
import { Lookups } from './lookups.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from './nats-like.ts'
import type { RealmLink } from './realm-link.ts'
import { subscribeSafely } from './safely.ts'

const MAX_NOT_ADDRESSED = 4096
const MAX_KNOWN_SUBJECTS = 256
const ASK_AGAIN_MS = 1000
const RECENT_FRAMES = 64
const PRUNE_EVERY_MS = 1000

/** What incoming sessions work with. */
export interface IncomingSessionsOptions {
  readonly engine: CryptoEngine
  readonly clock: Clock
  readonly link: RealmLink
  readonly subjects: ProtocolSubjects
  /** Takes a handshake that came again. */
  readonly onHandshake: (message: NatsMessage) => void
  readonly onError: (error: unknown) => void
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
  readonly #permitted = new Map<string, boolean>()
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
  }

  /** Whether the sender may publish on this subject. */
  mayPublish(subject: string): boolean {
    const known = this.#permitted.get(subject)
    if (known !== undefined) return known
    const isPermitted = allows(this.sender.claims.permissions.pub, subject)
    if (this.#permitted.size >= MAX_KNOWN_SUBJECTS) this.#permitted.clear()
    this.#permitted.set(subject, isPermitted)
    return isPermitted
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

/** The sessions that others have opened to this instance, and the search for handshakes that were missed. */
export class IncomingSessions {
  readonly #nc: NatsLike
  readonly #options: IncomingSessionsOptions
  readonly #bySid = new Map<string, HeldSession>()
  /** How many are held of each sender's announcement, ended ones among them. */
  readonly #perSender = new Map<string, number>()
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
    })
  }

  /** The session of this frame, in force or ended. */
  find(frame: Uint8Array): HeldSession | undefined {
    const last = this.#last
    if (last !== undefined && !last.held.isEnded && isFrameOf(frame, last.sid)) return last.held
    const sid = frameSid(frame)
    const held = this.#bySid.get(hex(sid))
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

  /**
   * Takes in a handshake whose sender is proved. One that is known already changes nothing.
   *
   * @returns why it is refused, where it is
   */
  accept(
    message: Unsealed,
    of: { readonly sender: VerifiedAnnouncement; readonly epoch: AcceptedEpoch },
  ): 'content' | 'flood' | undefined {
    const { engine } = this.#options
    const { session: secrets, content, sentAtMs, recipients } = message
    if (secrets === undefined) return 'content'
    if (this.#bySid.has(hex(secrets.sid))) {
      engine.wipe(secrets.key)
      return undefined
    }
    const handshake = decodeOrNothing(content.payload)
    // A channel proves its sender only where nobody else has its key.
    if (handshake === undefined || (handshake.mode === 1 && recipients !== 1)) {
      engine.wipe(secrets.key)
      return 'content'
    }
    const sender = hex(of.sender.hash)
    this.#pruneNowAndThen()
    const held = this.#perSender.get(sender) ?? 0
    if (held >= MAX_SESSIONS_PER_SENDER || this.#bySid.size >= MAX_SESSIONS) {
      engine.wipe(secrets.key)
      return 'flood'
    }
    const messageKey = of.sender.announcement.messageKey
    const session = new IncomingSession(engine, { secrets, handshake, sentAtMs, messageKey })
    this.#bySid.set(session.sid, new HeldSession(session, { ...of, recipients }))
    this.#perSender.set(sender, held + 1)
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
    for (const held of this.#bySid.values()) this.end(held)
    this.#bySid.clear()
    this.#perSender.clear()
    this.#last = undefined
  }

  #isNotAddressed(sid: string): boolean {
    const since = this.#notAddressed.get(sid)
    return since !== undefined && this.#options.clock.monotonic() - since < NOT_ADDRESSED_MS
  }

  /** Asks for the handshake of a session, and once more if nothing comes. */
  #ask(sid: string): boolean {
    const { clock, subjects, onHandshake, onError } = this.#options
    if (this.#nc.isClosed() || !this.#requests.take(clock.monotonic())) return false
    const sidBytes = fromHex(sid)
    const subscription = subscribeSafely(this.#nc, subjects.handshake(sidBytes), {
      take: (message) => onHandshake(message),
      onError,
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

  /** Looking at all of them for each handshake would take more than the handshake does. */
  #pruneNowAndThen(): void {
    const sinceMs = this.#options.clock.now() - this.#prunedAtMs
    if (sinceMs < 0 || sinceMs >= PRUNE_EVERY_MS) this.#prune()
  }

  #prune(): void {
    const nowMs = this.#options.clock.now()
    this.#prunedAtMs = nowMs
    for (const [sid, held] of this.#bySid) {
      const { session, sender } = held
      if (session.isOver(nowMs) || nowMs >= held.epoch.notAfter + held.epoch.graceMs) this.end(held)
      if (nowMs < session.endsAtMs + SESSION_TOMBSTONE_MS) continue
      this.#bySid.delete(sid)
      const left = (this.#perSender.get(hex(sender.hash)) ?? 1) - 1
      if (left > 0) this.#perSender.set(hex(sender.hash), left)
      else this.#perSender.delete(hex(sender.hash))
    }
    for (const sid of [...this.#notAddressed.keys()]) {
      if (!this.#isNotAddressed(sid)) this.#notAddressed.delete(sid)
    }
  }
}

function decodeOrNothing(payload: Uint8Array): ReturnType<typeof decodeHandshake> | undefined {
  try {
    return decodeHandshake(payload)
  } catch {
    return undefined
  }
}
