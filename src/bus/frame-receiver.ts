import { copy, hex } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { FrameOpener } from '../session/frame-cipher.ts'
import type { OpenedContent } from '../session/incoming.ts'
import { FRAME_HEADER_BYTES, FRAME_NONCE_START, type FrameHeader, readFrameHeader } from '../wire/frame.ts'
import { SessionMode } from '../wire/handshake.ts'
import { type Arrival, isInTime } from './arrival.ts'
import { sameClearHeaders } from './headers.ts'
import type { HeldSession, IncomingSessions } from './incoming-sessions.ts'
import type { NatsMessage } from './nats-like.ts'
import type { Opened } from './opened.ts'
import type { RealmLink } from './realm-link.ts'
import { windowFor } from './replay.ts'
import type { RejectReason, StatusFeed } from './status.ts'
import type { SubjectPolicy } from './subject-policy.ts'

/** A frame's sid, salt and counter: what a response names it by. */
const ID_START = 3

/** What a frame receiver works with. */
export interface FrameReceiverOptions {
  readonly engine: CryptoEngine
  readonly clock: Clock
  readonly link: RealmLink
  readonly feed: StatusFeed
  readonly policy: SubjectPolicy
  readonly sessions: IncomingSessions
  readonly reject: (reason: RejectReason, delivered: NatsMessage) => void
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
    const header = headerOf(delivered.data)
    if (header === undefined) return reject('malformed', delivered)
    const held = sessions.find(header.sid)
    if (held === undefined && sessions.isNotAddressed(header.sid)) {
      arrival.onUnaddressed?.(delivered)
      return
    }
    if (!sessions.mustWait(header.sid, held !== undefined)) {
      if (held !== undefined) this.#open(held, header, delivered, arrival)
      return
    }
    sessions.wait(copy(header.sid), {
      bytes: delivered.data.length,
      proceed: () => this.#proceed(header, delivered, arrival),
      giveUp: () => reject('unknown session', delivered),
    })
  }

  #proceed(header: FrameHeader, delivered: NatsMessage, arrival: Arrival): void {
    const held = this.#options.sessions.find(header.sid)
    if (held === undefined) arrival.onUnaddressed?.(delivered)
    else this.#open(held, header, delivered, arrival)
  }

  #open(held: HeldSession, header: FrameHeader, delivered: NatsMessage, arrival: Arrival): void {
    const { reject, clock } = this.#options
    const frame = delivered.data
    const refusal = this.#refusal(held, header)
    if (refusal !== undefined) return reject(refusal, delivered)
    const window = windowFor(arrival.windows, held.session.sid)
    // Frames are numbered from 0, and windows from 1.
    const seq = header.counter + 1
    if (window.seen(seq)) {
      this.#suspectClone(held, header, frame)
      return reject('replay', delivered)
    }
    if (held.failures.available(clock.monotonic()) < 1) return reject('flood', delivered)
    const content = held.session.open(this.#opener, frame, frame.subarray(0, FRAME_HEADER_BYTES))
    if (typeof content === 'string') {
      // Without the key nobody gets further than the AEAD, and that is cheap.
      if (content !== 'ciphertext') held.failures.take(clock.monotonic())
      return reject(content, delivered)
    }
    const reason = this.#fault(held, content, { header, delivered, arrival })
    if (reason !== undefined) return reject(reason, delivered)
    // Only now, with everything proved, does the window move.
    window.mark(seq)
    held.remember(header.counter, saltOf(frame))
    this.#deliver(held, content, { header, delivered, arrival })
  }

  /** Why no frame of this session, or not this one, is opened. */
  #refusal(held: HeldSession, header: FrameHeader): RejectReason | undefined {
    const { link, clock, sessions } = this.#options
    const nowMs = clock.now()
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
    at: { readonly header: FrameHeader; readonly delivered: NatsMessage; readonly arrival: Arrival },
  ): RejectReason | undefined {
    const { policy, clock } = this.#options
    const { header, delivered, arrival } = at
    const isResponse = arrival.mayRespond !== undefined
    const isWhereItBelongs = isResponse
      ? meta.subject === delivered.subject
      : policy.accepts(meta.subject, delivered.subject)
    if (!isWhereItBelongs) return 'subject'
    if (!sameClearHeaders(delivered.headers, meta.clearHeaders)) return 'headers'
    // A response is judged when it is whole, below.
    if (!isResponse && !held.mayPublish(meta.subject)) return 'not permitted'
    if (isResponse && meta.lengths !== undefined) return 'not a response'
    const times = { nowMs: clock.now(), ttlMs: meta.ttlMs }
    if (!isInTime(header, held.epoch, times)) return 'time'
    if (isResponse) {
      const opened = toOpened(held, header, { meta, payload: EMPTY }, delivered.data)
      return arrival.mayRespond(opened, held.sender) ? undefined : 'not a response'
    }
    return undefined
  }

  #deliver(
    held: HeldSession,
    content: OpenedContent,
    {
      header,
      delivered,
      arrival,
    }: { readonly header: FrameHeader; readonly delivered: NatsMessage; readonly arrival: Arrival },
  ): void {
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
    const content = held.session.open(this.#opener, frame, frame.subarray(0, FRAME_HEADER_BYTES))
    if (typeof content === 'string') return
    const { claims, announcement } = held.sender
    feed.emit({ type: 'clone', name: claims.name, instance: hex(announcement.instance) })
  }
}

const EMPTY = new Uint8Array(0)

function toOpened(
  held: HeldSession,
  header: FrameHeader,
  { meta, payload }: OpenedContent,
  frame: Uint8Array,
): Opened {
  const { subject, reply, inReplyTo, headers, clearHeaders } = meta
  return {
    mode: held.session.mode === SessionMode.channel ? 'channel' : 'session',
    id: reply === undefined ? EMPTY : frame.slice(ID_START, FRAME_HEADER_BYTES),
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

/** Half of a salt's random bytes: enough to see that two are different. */
function saltOf(frame: Uint8Array): number {
  let salt = 0
  for (let i = 0; i < 6; i++) salt = salt * 256 + (frame[FRAME_NONCE_START + 6 + i] ?? 0)
  return salt
}
