import { allocate } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Padding } from '../crypto/padding.ts'
import { MAX_FRAMES_PER_BATCH, MAX_PAYLOADS_PER_FRAME } from '../limits.ts'
import { FrameSealer } from '../session/frame-cipher.ts'
import type { FrameName, OutgoingSession } from '../session/outgoing.ts'
import { maxAuthLength } from '../session/session-auth.ts'
import { encodeFrameMeta } from '../wire/frame.ts'
import { SessionMode } from '../wire/handshake.ts'
import type { HeaderPair } from '../wire/sealed.ts'
import { splitHeaders } from './headers.ts'
import type { NatsLike } from './nats-like.ts'
import { Outbox } from './outbox.ts'
import { OutgoingSessions, type OutgoingSessionsOptions, type SessionAudience } from './outgoing-sessions.ts'
import type { Outgoing, Published } from './publisher.ts'
import type { Route, Wire } from './wire-out.ts'

const MAX_CACHED_SUBJECTS = 1024
/** Above what a proof of the sender, padding, header and tag add to so many bytes: PADMÉ adds at most 12 %. */
const MOST_ADDED_BYTES = 512
const MOST_ADDED_SHARE = 0.13
const NO_NAME: FrameName = { id: new Uint8Array(0) }

/** What a frame publisher works with. */
export interface FramePublisherOptions extends Omit<OutgoingSessionsOptions, 'flush'> {
  readonly engine: CryptoEngine
  readonly clock: Clock
  readonly padding: Padding
  readonly wire: Wire
}

/** Publishes in sessions: SPEC, "Sessions". */
export class FramePublisher {
  readonly #options: FramePublisherOptions
  readonly #sealer: FrameSealer
  readonly #outbox: Outbox
  readonly #sessions: OutgoingSessions
  /** What comes before the payload of a frame that has a subject and nothing else. */
  readonly #metas = new Map<string, Uint8Array>()

  constructor(nc: NatsLike, options: FramePublisherOptions) {
    this.#options = options
    this.#sealer = new FrameSealer(options.engine, options.padding)
    this.#outbox = new Outbox(this.#sealer, options.wire, options.onError)
    this.#sessions = new OutgoingSessions(nc, { ...options, flush: () => this.#outbox.flush() })
  }

  /**
   * Seals one payload to the audience, in a session.
   *
   * @returns `undefined` where no session can be had: it is to be sealed in a message
   * @throws SubrosaError ERR_MESSAGE_TOO_LARGE, ERR_STALE, ERR_HEADER, ERR_KEY_INVALID
   */
  publish(outgoing: Outgoing, audience: SessionAudience, mode: SessionMode): Published | undefined {
    const { subject, via = subject, headers } = outgoing
    const nowMs = this.#options.clock.now()
    const session = this.#sessions.get(audience, mode, { subject: via, nowMs })
    if (session === undefined) return undefined
    const meta = this.#metaOf(outgoing)
    const clear = headers === undefined ? NONE : splitHeaders(headers).clear
    const { payload } = outgoing
    const name = this.#send(session, {
      outgoing,
      clear,
      meta,
      payload,
      nowMs,
      recipients: audience.members.length,
    })
    return new PublishedFrame(name, audience.members)
  }

  /**
   * Seals many payloads, as many in one frame as fit. Where one of them is too large, none is published.
   *
   * @returns how many were published: the others are to be sealed in messages
   * @throws as {@link publish}
   */
  publishMany(
    outgoing: Omit<Outgoing, 'payload'>,
    payloads: readonly Uint8Array[],
    { audience, mode }: { readonly audience: SessionAudience; readonly mode: SessionMode },
  ): number {
    const { subject } = outgoing
    const { wire, clock } = this.#options
    const { sealed, clear } = splitHeaders(outgoing.headers)
    const empty = encode(outgoing, { sealed, clear, lengths: [0] }).length
    const recipients = audience.members.length
    const room = wire.room(clear)
    const sizeOf = (bytes: number): number => this.#sealer.size(maxAuthLength(mode, 1), bytes)
    const largest = sizeOf(empty + payloads.reduce((most, { length }) => Math.max(most, length), 0))
    if (largest > room) throw wire.tooLarge(largest, recipients)
    let published = 0
    for (const group of grouped(payloads, empty, (bytes) => sizeOf(bytes) <= room)) {
      const nowMs = clock.now()
      const session = this.#sessions.get(audience, mode, { subject, nowMs })
      if (session === undefined) return published
      const meta = encode(outgoing, { sealed, clear, lengths: group.map(({ length }) => length) })
      this.#send(session, { outgoing, clear, meta, payload: join(group), nowMs, recipients })
      published += group.length
    }
    return published
  }

  /** Seals and publishes what waits for the end of the turn. */
  flush(): void {
    this.#outbox.flush()
  }

  /** Ends the sessions that are over. */
  prune(): void {
    this.#outbox.flush()
    this.#sessions.prune()
  }

  close(): void {
    this.#outbox.flush()
    this.#sessions.close()
  }

  #send(session: OutgoingSession, sending: Sending): FrameName {
    const { outgoing, clear, meta, payload, nowMs } = sending
    const { subject, via = subject, reply } = outgoing
    const isAlone = this.#mustGoAlone(session, sending)
    const route: Route = { subject: via, reply, clear }
    const name = reply === undefined ? NO_NAME : { id: NO_NAME.id }
    const named = reply === undefined ? undefined : name
    if (session.mode === SessionMode.channel) {
      // What was published before goes before.
      this.#outbox.flush()
      const [frame] = session.seal(this.#sealer, [session.nextFrame(nowMs, { meta, payload, named })])
      if (frame !== undefined) this.#options.wire.publish(route, frame)
      return name
    }
    if (isAlone) this.#outbox.flush()
    // The caller may use its memory again before the turn is over.
    this.#outbox.add(session, session.nextFrame(nowMs, { meta, payload: copyOf(payload), named }), route)
    if (isAlone) this.#outbox.flush()
    return name
  }

  /**
   * Whether a frame is so large that the proof of a whole batch would not fit beside it.
   *
   * @throws SubrosaError ERR_MESSAGE_TOO_LARGE when it does not fit alone either
   */
  #mustGoAlone(session: OutgoingSession, { meta, payload, clear, recipients }: Sending): boolean {
    const { wire } = this.#options
    const contentBytes = meta.length + payload.length
    const room = wire.room(clear)
    if (contentBytes * (1 + MOST_ADDED_SHARE) + MOST_ADDED_BYTES <= room) return false
    if (session.maxSize(this.#sealer, contentBytes, MAX_FRAMES_PER_BATCH) <= room) return false
    const alone = session.maxSize(this.#sealer, contentBytes, 1)
    if (alone > room) throw wire.tooLarge(alone, recipients)
    return true
  }

  #metaOf(outgoing: Outgoing): Uint8Array {
    const { subject, reply, inReplyTo, headers } = outgoing
    if (reply !== undefined || inReplyTo !== undefined || headers !== undefined)
      return encode(outgoing, { ...splitHeaders(headers), lengths: undefined })
    const known = this.#metas.get(subject)
    if (known !== undefined) return known
    const meta = encode(outgoing, { sealed: NONE, clear: NONE, lengths: undefined })
    if (this.#metas.size >= MAX_CACHED_SUBJECTS) this.#metas.clear()
    this.#metas.set(subject, meta)
    return meta
  }
}

const NONE: readonly never[] = []

/** What goes out in one frame. */
interface Sending {
  readonly outgoing: Omit<Outgoing, 'payload'>
  readonly clear: readonly HeaderPair[]
  readonly meta: Uint8Array
  readonly payload: Uint8Array
  readonly nowMs: number
  readonly recipients: number
}

/** A frame that is on its way, or waits for the end of its turn: only then has it a name. */
class PublishedFrame implements Published {
  readonly members: Published['members']
  readonly #name: FrameName

  constructor(name: FrameName, members: Published['members']) {
    this.#name = name
    this.members = members
  }

  get id(): Uint8Array {
    return this.#name.id
  }
}

function encode(
  { subject, reply, inReplyTo }: Omit<Outgoing, 'payload'>,
  parts: ReturnType<typeof splitHeaders> & { readonly lengths: readonly number[] | undefined },
): Uint8Array {
  const { sealed, clear, lengths } = parts
  return encodeFrameMeta({
    ttlMs: 0,
    subject,
    reply,
    inReplyTo,
    headers: sealed,
    clearHeaders: clear,
    lengths,
  })
}

/** Payloads in groups that fit into a frame. Each of them fits alone. */
function grouped(
  payloads: readonly Uint8Array[],
  metaBytes: number,
  isSmallEnough: (contentBytes: number) => boolean,
): readonly (readonly Uint8Array[])[] {
  const groups: Uint8Array[][] = []
  let group: Uint8Array[] = []
  let bytes = metaBytes
  for (const payload of payloads) {
    const more = payload.length + 4
    if (group.length > 0 && (group.length === MAX_PAYLOADS_PER_FRAME || !isSmallEnough(bytes + more))) {
      groups.push(group)
      group = []
      bytes = metaBytes
    }
    group.push(payload)
    bytes += more
  }
  if (group.length > 0) groups.push(group)
  return groups
}

function join(payloads: readonly Uint8Array[]): Uint8Array {
  const joined = allocate(payloads.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const payload of payloads) {
    joined.set(payload, at)
    at += payload.length
  }
  return joined
}

function copyOf(payload: Uint8Array): Uint8Array {
  const copied = allocate(payload.length)
  copied.set(payload)
  return copied
}
