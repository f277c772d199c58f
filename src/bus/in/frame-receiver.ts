import { hex, readUint } from '../../base/bytes.ts'
import {
  LOOKUP_TIMEOUT_MS,
  MAX_FORGERIES,
  MAX_FREE_HEADER_BYTES,
  MAX_HANDSHAKE_INBOXES,
  SUSPECT_SESSION_MS,
} from '../../base/limits.ts'
import { FrameOpener } from '../../session/frame-cipher.ts'
import type { OpenedContent } from '../../session/incoming.ts'
import {
  FRAME_HEADER_BYTES,
  FRAME_ID_START,
  FRAME_RANDOM_START,
  type FrameHeader,
  readFrameHeader,
} from '../../wire/frame.ts'
import { SessionMode } from '../../wire/handshake.ts'
import type { Context } from '../context.ts'
import { headerBytes } from '../messages/headers.ts'
import { type Opened, withPayload } from '../messages/opened.ts'
import type { NatsMessage } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import type { RejectReason } from '../status.ts'
import type { WaitingOpening } from './admission.ts'
import type { Arrival } from './arrival.ts'
import type { HeldSession } from './held-session.ts'
import type { IncomingSessions, TurnedAway } from './incoming-sessions.ts'
import { isRecent, judge, type Moment } from './judge.ts'
import { keep } from './kept-message.ts'
import { seenIn } from './replay.ts'
import type { SubjectPolicy } from './subject-policy.ts'

/** What a frame receiver works with. */
export interface FrameReceiverOptions extends Context {
  readonly link: RealmLink
  readonly policy: SubjectPolicy
  readonly sessions: IncomingSessions
  /** Whether nothing may be opened now. */
  readonly mayNotOpen: () => boolean
}

/** A frame, and where it arrived. */
interface Arrived {
  readonly header: FrameHeader
  readonly delivered: NatsMessage
  readonly arrival: Arrival
}

/** What a frame says, one payload or many. */
interface Wanted {
  readonly opened: Opened
  readonly payloads: readonly Uint8Array[]
}

/** Opens the frames of sessions: type 2. The order of the steps is that of {@link judge}. */
export class FrameReceiver {
  readonly #options: FrameReceiverOptions
  readonly #opener: FrameOpener
  /** Counts the changes of the directory: a session's sender is looked up again after each. */
  #changes = 0

  constructor(options: FrameReceiverOptions) {
    this.#options = options
    this.#opener = new FrameOpener(options.engine)
  }

  /** Who is trusted, and who holds a name, may be different from now on. */
  directoryChanged(): void {
    this.#changes++
  }

  take(delivered: NatsMessage, arrival: Arrival): void {
    const { sessions, reject, clock } = this.#options
    const frame = delivered.data
    const header = headerOf(frame)
    if (header === undefined) return reject('malformed', delivered)
    const held = sessions.find(frame)
    const turnedAway = held === undefined ? sessions.turnAway(frame) : undefined
    if (turnedAway !== undefined) return this.#turnAway(turnedAway, delivered, arrival)
    // A recorded frame of a session that is forgotten is not worth a question.
    if (held === undefined && !isRecent(header.sentAtMs, clock.moment())) return reject('time', delivered)
    if (!sessions.mustWait(frame, held !== undefined)) {
      if (held !== undefined) this.#open(held, { header, delivered, arrival })
      return
    }
    const { message, bytes } = keep(delivered)
    const kept = { header, delivered: message, arrival }
    sessions.wait(frame, {
      bytes,
      by: arrival.line,
      proceed: () => this.#proceed(kept, (session) => this.#open(session, kept)),
      giveUp: () => reject('unknown session', message),
    })
  }

  /** Freshness may have ended while it waited, and so may its session. */
  #proceed(at: Arrived, open: (held: HeldSession) => void): void {
    if (this.#options.mayNotOpen()) return this.#options.reject('stale', at.delivered)
    const { sessions } = this.#options
    const { delivered, arrival } = at
    const held = sessions.find(delivered.data)
    if (held !== undefined) open(held)
    else this.#turnAway(sessions.turnAway(delivered.data) ?? 'not addressed', delivered, arrival)
  }

  #turnAway(why: TurnedAway, delivered: NatsMessage, arrival: Arrival): void {
    if (why === 'not addressed') arrival.onUnaddressed?.(delivered)
    else this.#options.reject(why, delivered)
  }

  #open(held: HeldSession, at: Arrived): void {
    const { arrival } = at
    if (this.#isShut(held)) return this.#turnBack(held, at)
    if (this.#isFree(held, at)) return this.#decrypt(held, at)
    // A forged frame costs a signature, and long headers are parsed before it: they are opened from the budget of all.
    arrival.line.admit({
      open: () => this.#decrypt(held, at),
      wait: () => this.#waiting(at),
    })
  }

  /**
   * Whether somebody goes on forging in a session that its sender was told to leave, and has had the time to. What is under
   * way is opened until then, and when the forging has stopped: the sender may not have heard.
   */
  #isShut({ toldAtMs, forgedAtMs }: HeldSession): boolean {
    if (toldAtMs === undefined) return false
    const nowMs = this.#options.clock.monotonic()
    return nowMs - toldAtMs >= LOOKUP_TIMEOUT_MS && nowMs - forgedAtMs < SUSPECT_SESSION_MS
  }

  #turnBack(held: HeldSession, { delivered }: Arrived): void {
    this.#options.sessions.complain(held)
    this.#options.reject('session', delivered)
  }

  /**
   * Whether a frame needs no budget: nobody has forged in its session lately, or often, so that what is repeated or made up
   * without the key costs an AEAD, and it overtakes none that waits.
   */
  #isFree({ forgeries, forgedAtMs }: HeldSession, { arrival, delivered }: Arrived): boolean {
    if (headerBytes(delivered) > MAX_FREE_HEADER_BYTES) return false
    if (forgeries === 0) return true
    if (forgeries >= MAX_FORGERIES) return false
    const isLongAgo = this.#options.clock.monotonic() - forgedAtMs >= SUSPECT_SESSION_MS
    return isLongAgo && arrival.line.isEmpty
  }

  /** How a frame goes on that waits for budget. It is asked everything again. */
  #waiting({ header, arrival, delivered }: Arrived): WaitingOpening {
    const { message, bytes } = keep(delivered)
    const at = { header, delivered: message, arrival }
    // Its budget is there: it does not wait for more of it.
    return {
      bytes,
      open: () => this.#proceed(at, (held) => this.#decrypt(held, at)),
      giveUp: () => this.#options.reject('flood', message),
    }
  }

  #decrypt(held: HeldSession, { header, delivered, arrival }: Arrived): void {
    const { reject, clock, sessions } = this.#options
    const now = clock.moment()
    const refusal = this.#refusal(held, header, now)
    if (refusal !== undefined) return reject(refusal, delivered)
    const { session } = held
    // Frames are numbered from 0, and windows from 1.
    const seq = header.counter + 1
    if (seenIn(arrival.windows, session.sid, seq)) {
      this.#suspectClone(held, header, delivered.data)
      return reject('replay', delivered)
    }
    const startedAt = clock.work()
    const wanted = session.open(this.#opener, delivered.data, (content) =>
      this.#judge(held, { header, delivered, arrival }, { content, seq, now }),
    )
    // Only whoever has the session's key, and is not its sender, gets as far as a signature that does not hold.
    if (wanted === 'signature') held.forged(clock.monotonic())
    if (held.forgeries >= MAX_FORGERIES && held.recipients <= MAX_HANDSHAKE_INBOXES) {
      held.toldAtMs ??= clock.monotonic()
      sessions.complain(held)
    }
    if (typeof wanted === 'string') {
      if (wanted === 'signature' || wanted === 'headers') arrival.line.spend(clock.work() - startedAt)
      return reject(wanted, delivered)
    }
    // Only now, with everything proved, does the window move.
    held.mark(arrival.windows, { seq, salt: saltOf(delivered.data) })
    sessions.heard(held)
    this.#deliver(wanted, { held, delivered, arrival })
  }

  /** What is delivered if its signature holds, or why it is not. */
  #judge(
    held: HeldSession,
    { header, delivered, arrival }: Arrived,
    { content, seq, now }: { readonly content: OpenedContent; readonly seq: number; readonly now: Moment },
  ): Wanted | RejectReason {
    const { epoch, sender, session } = held
    const { meta, payloads } = content
    const opened = toOpened(held, header, content, delivered.data)
    const isMany = payloads.length > 1
    const { ttlMs } = meta
    const candidate = { opened, sender, epoch, ttlMs, window: session.sid, seq, mayBeKnown: false, isMany }
    const court = { delivered, arrival, policy: this.#options.policy, now }
    return judge(candidate, court) ?? { opened, payloads }
  }

  /** Why no frame of this session, or not this one, is opened. */
  #refusal(held: HeldSession, header: FrameHeader, now: Moment): RejectReason | undefined {
    const { link, sessions } = this.#options
    const { nowMs, notBeforeMs } = now
    if (held.checkedAt !== this.#changes) {
      held.checkedAt = this.#changes
      if (link.directory.sender(held.sender.hash, nowMs).standing !== 'known') {
        sessions.end(held)
        return 'revoked'
      }
    }
    if (notBeforeMs >= held.sender.claims.expiresAt * 1000) return 'revoked'
    if (held.isEnded || held.session.isOver(notBeforeMs) || !held.session.takes(header)) return 'session'
    // Its time is in clear, and no key is needed to see that it is too old.
    return isRecent(header.sentAtMs, now) ? undefined : 'time'
  }

  #deliver(
    { opened, payloads }: Wanted,
    { held, delivered, arrival }: { held: HeldSession; delivered: NatsMessage; arrival: Arrival },
  ): void {
    const { sender } = held
    if (payloads.length === 1) return arrival.deliver({ opened, sender, delivered })
    for (const payload of payloads)
      arrival.deliver({ opened: withPayload(opened, payload), sender, delivered })
  }

  /** The same number again with another salt, under the same key: two processes go on from one state. */
  #suspectClone(held: HeldSession, { counter }: FrameHeader, frame: Uint8Array): void {
    const { clock, feed } = this.#options
    if (!held.hasOther(counter + 1, saltOf(frame)) || !held.suspicions.take(clock.monotonic())) return
    const content = held.session.open(this.#opener, frame, (found) => found)
    if (typeof content === 'string') return
    const { claims, announcement } = held.sender
    feed.emit({ type: 'clone', name: claims.name, instance: hex(announcement.instance) })
  }
}

const EMPTY = new Uint8Array(0)
const SALT_BYTES_COMPARED = 6

function toOpened(
  held: HeldSession,
  header: FrameHeader,
  { meta, payloads: [payload = EMPTY] }: OpenedContent,
  frame: Uint8Array,
): Opened {
  const { subject, reply, inReplyTo, headers, clearHeaders } = meta
  return {
    mode: held.session.mode === SessionMode.channel ? 'channel' : 'session',
    id: reply === undefined ? EMPTY : frame.slice(FRAME_ID_START, FRAME_HEADER_BYTES),
    epoch: held.epoch.number,
    epochHash: held.epoch.hash,
    sentAtMs: header.sentAtMs,
    recipients: held.recipients,
    subject,
    reply,
    inReplyTo,
    headers,
    clearHeaders,
    payload,
  }
}

function headerOf(frame: Uint8Array): FrameHeader | undefined {
  try {
    return readFrameHeader(frame)
  } catch {
    return undefined
  }
}

/** As many of a salt's random bytes as a number holds: enough to see that two are different. */
function saltOf(frame: Uint8Array): number {
  return readUint(frame, FRAME_RANDOM_START, SALT_BYTES_COMPARED)
}
