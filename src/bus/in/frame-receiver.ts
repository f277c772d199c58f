import { hex, readUint } from '../../base/bytes.ts'
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
import { type Opened, withPayload } from '../messages/opened.ts'
import type { NatsMessage } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import type { RejectReason } from '../status.ts'
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
    sessions.wait(frame, {
      bytes,
      by: arrival.line,
      proceed: () => this.#proceed({ header, delivered: message, arrival }),
      giveUp: () => reject('unknown session', message),
    })
  }

  /** Freshness may have ended while it waited. */
  #proceed(at: Arrived): void {
    if (this.#options.mayNotOpen()) return this.#options.reject('stale', at.delivered)
    const { sessions } = this.#options
    const { delivered, arrival } = at
    const held = sessions.find(delivered.data)
    if (held !== undefined) this.#open(held, at)
    else this.#turnAway(sessions.turnAway(delivered.data) ?? 'not addressed', delivered, arrival)
  }

  #turnAway(why: TurnedAway, delivered: NatsMessage, arrival: Arrival): void {
    if (why === 'not addressed') arrival.onUnaddressed?.(delivered)
    else this.#options.reject(why, delivered)
  }

  #open(held: HeldSession, at: Arrived): void {
    const { reject, clock, policy, sessions } = this.#options
    const { header, delivered, arrival } = at
    const now = clock.moment()
    const refusal = this.#refusal(held, header, now)
    if (refusal !== undefined) return reject(refusal, delivered)
    // Frames are numbered from 0, and windows from 1.
    const seq = header.counter + 1
    if (seenIn(arrival.windows, held.session.sid, seq)) {
      this.#suspectClone(held, header, delivered.data)
      return reject('replay', delivered)
    }
    // A session in which frames came to nothing lately is opened from the budget of all: they cost a signature each.
    if (!held.failures.isFull && (held.failures.available(clock.monotonic()) < 1 || !arrival.line.isReady()))
      return reject('flood', delivered)
    const startedAt = clock.work()
    const content = held.session.open(this.#opener, delivered.data)
    if (typeof content === 'string') {
      // Without the key nobody gets further than the AEAD, and that is cheap.
      if (content !== 'ciphertext') this.#spend(held, arrival, clock.work() - startedAt)
      return reject(content, delivered)
    }
    const { epoch, sender, session } = held
    const { ttlMs } = content.meta
    const opened = toOpened(held, header, content, delivered.data)
    const window = session.sid
    const candidate = { opened, sender, epoch, ttlMs, window, seq, isMany: content.payloads.length > 1 }
    const reason = judge(candidate, { delivered, arrival, policy, now })
    if (reason !== undefined) {
      this.#spend(held, arrival, clock.work() - startedAt)
      return reject(reason, delivered)
    }
    // Only now, with everything proved, does the window move.
    held.mark(arrival.windows, { seq, salt: saltOf(delivered.data) })
    sessions.heard(held)
    this.#deliver(opened, content, { held, delivered, arrival })
  }

  /** Why no frame of this session, or not this one, is opened. */
  #refusal(held: HeldSession, header: FrameHeader, { nowMs, notBeforeMs }: Moment): RejectReason | undefined {
    const { link, sessions } = this.#options
    if (held.checkedAt !== this.#changes) {
      held.checkedAt = this.#changes
      if (link.directory.sender(held.sender.hash, nowMs).standing !== 'known') {
        sessions.end(held)
        return 'revoked'
      }
    }
    if (notBeforeMs >= held.sender.claims.expiresAt * 1000) return 'revoked'
    if (held.isEnded || held.session.isOver(notBeforeMs) || !held.session.takes(header)) return 'session'
    return undefined
  }

  /** Only whoever has the session's key makes frames that come to nothing after the AEAD. */
  #spend(held: HeldSession, arrival: Arrival, workMs: number): void {
    held.failures.take(this.#options.clock.monotonic())
    arrival.line.spend(workMs)
  }

  #deliver(
    opened: Opened,
    { payloads }: OpenedContent,
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
    const content = held.session.open(this.#opener, frame)
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
