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
import { clearHeadersMatch } from '../messages/headers.ts'
import type { Opened } from '../messages/opened.ts'
import type { NatsMessage } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import type { RejectReason } from '../status.ts'
import { type Arrival, isInTime } from './arrival.ts'
import type { HeldSession, IncomingSessions } from './incoming-sessions.ts'
import { seenIn, windowFor } from './replay.ts'
import type { SubjectPolicy } from './subject-policy.ts'

/** What a frame receiver works with. */
export interface FrameReceiverOptions extends Context {
  readonly link: RealmLink
  readonly policy: SubjectPolicy
  readonly sessions: IncomingSessions
  readonly reject: (reason: RejectReason, delivered: NatsMessage) => void
}

/** A frame, and where it arrived. */
interface Arrived {
  readonly header: FrameHeader
  readonly delivered: NatsMessage
  readonly arrival: Arrival
}

/** Opens the frames of sessions: SPEC, "Opening a frame", in its order. */
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
    const { sessions, reject } = this.#options
    const frame = delivered.data
    const header = headerOf(frame)
    if (header === undefined) return reject('malformed', delivered)
    const held = sessions.find(frame)
    if (held === undefined && sessions.isNotAddressed(frame)) {
      arrival.onUnaddressed?.(delivered)
      return
    }
    if (!sessions.mustWait(frame, held !== undefined)) {
      if (held !== undefined) this.#open(held, { header, delivered, arrival })
      return
    }
    sessions.wait(frame, {
      bytes: frame.length,
      proceed: () => this.#proceed({ header, delivered, arrival }),
      giveUp: () => reject('unknown session', delivered),
    })
  }

  #proceed(at: Arrived): void {
    const held = this.#options.sessions.find(at.delivered.data)
    if (held === undefined) at.arrival.onUnaddressed?.(at.delivered)
    else this.#open(held, at)
  }

  #open(held: HeldSession, at: Arrived): void {
    const { reject, clock } = this.#options
    const { header, delivered, arrival } = at
    const nowMs = clock.now()
    const refusal = this.#refusal(held, header, nowMs)
    if (refusal !== undefined) return reject(refusal, delivered)
    // Frames are numbered from 0, and windows from 1.
    const seq = header.counter + 1
    if (seenIn(arrival.windows, held.session.sid, seq)) {
      this.#suspectClone(held, header, delivered.data)
      return reject('replay', delivered)
    }
    if (!held.failures.isFull && held.failures.available(clock.monotonic()) < 1)
      return reject('flood', delivered)
    const content = held.session.open(this.#opener, delivered.data)
    if (typeof content === 'string') {
      // Without the key nobody gets further than the AEAD, and that is cheap.
      if (content !== 'ciphertext') held.failures.take(clock.monotonic())
      return reject(content, delivered)
    }
    const reason = this.#fault(held, content, at, nowMs)
    if (reason !== undefined) return reject(reason, delivered)
    // Only now, with everything proved, does the window move.
    windowFor(arrival.windows, held.session.sid).mark(seq)
    held.remember(header.counter, saltOf(delivered.data))
    this.#deliver(held, content, at)
  }

  /** Why no frame of this session, or not this one, is opened. */
  #refusal(held: HeldSession, header: FrameHeader, nowMs: number): RejectReason | undefined {
    const { link, sessions } = this.#options
    if (held.checkedAt !== this.#changes) {
      held.checkedAt = this.#changes
      if (link.directory.sender(held.sender.hash, nowMs).standing !== 'known') {
        sessions.end(held)
        return 'revoked'
      }
    }
    if (nowMs >= held.sender.claims.expiresAt * 1000) return 'revoked'
    if (held.isEnded || held.session.isOver(nowMs) || !held.session.takes(header)) return 'session'
    return undefined
  }

  #fault(
    held: HeldSession,
    { meta }: OpenedContent,
    { header, delivered, arrival }: Arrived,
    nowMs: number,
  ): RejectReason | undefined {
    const { policy } = this.#options
    // One request with many payloads would be many requests of one name.
    if (meta.lengths !== undefined && meta.reply !== undefined) return 'content'
    const isResponse = arrival.mayRespond !== undefined
    const isWhereItBelongs = isResponse
      ? meta.subject === delivered.subject
      : policy.accepts(meta.subject, delivered.subject)
    if (!isWhereItBelongs) return 'subject'
    if (!clearHeadersMatch(delivered, meta.clearHeaders)) return 'headers'
    // A response is judged when it is whole, below.
    if (!isResponse && !held.mayPublish(meta.subject)) return 'not permitted'
    if (isResponse && meta.lengths !== undefined) return 'not a response'
    if (!isInTime(header, held.epoch, { nowMs, ttlMs: meta.ttlMs })) return 'time'
    if (isResponse) {
      const opened = toOpened(held, header, { meta, payload: EMPTY }, delivered.data)
      return arrival.mayRespond(opened, held.sender) ? undefined : 'not a response'
    }
    return undefined
  }

  #deliver(held: HeldSession, content: OpenedContent, { header, delivered, arrival }: Arrived): void {
    const { sender } = held
    const { meta, payload } = content
    if (meta.lengths === undefined) {
      arrival.deliver({ opened: toOpened(held, header, content, delivered.data), sender, delivered })
      return
    }
    let at = 0
    for (const length of meta.lengths) {
      const one = { meta, payload: payload.subarray(at, at + length) }
      at += length
      arrival.deliver({ opened: toOpened(held, header, one, delivered.data), sender, delivered })
    }
  }

  /** The same number again with another salt, under the same key: two processes go on from one state. */
  #suspectClone(held: HeldSession, { counter }: FrameHeader, frame: Uint8Array): void {
    const { clock, feed } = this.#options
    if (!held.hasOther(counter, saltOf(frame)) || !held.suspicions.take(clock.monotonic())) return
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
  { meta, payload }: OpenedContent,
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
