import { MAX_FRAMES_PER_BATCH, MAX_PAYLOADS_PER_FRAME } from '../../base/limits.ts'
import { FrameSealer } from '../../session/frame-cipher.ts'
import type { FrameName, OutgoingSession } from '../../session/outgoing.ts'
import { maxAuthLength } from '../../session/session-auth.ts'
import { encodeFrameMeta, payloadBytes, payloadsHead } from '../../wire/frame.ts'
import { SessionMode } from '../../wire/handshake.ts'
import { splitHeaders } from '../messages/headers.ts'
import type { NatsLike } from '../nats-like.ts'
import { Outbox, type Parcel } from './outbox.ts'
import { OutgoingSessions, type OutgoingSessionsOptions, type SessionAudience } from './outgoing-sessions.ts'
import type { Outgoing, Published } from './publisher.ts'
import type { Wire } from './wire-out.ts'

const MAX_CACHED_SUBJECTS = 1024
/** Larger frames are sealed at once: a copy would cost more than a signature of their own. */
const MAX_WAITING_BYTES = 128 * 1024
/** Of larger payloads each has a frame of its own: beside encryption, what a frame costs is little. */
const MAX_JOINED_PAYLOAD = 4096
const NO_ID = new Uint8Array(0)

/** What a frame publisher works with. */
export interface FramePublisherOptions extends Omit<OutgoingSessionsOptions, 'flush'> {
  readonly wire: Wire
}

/** Publishes in sessions: SPEC, "Sessions". */
export class FramePublisher {
  readonly #options: FramePublisherOptions
  readonly #sealer: FrameSealer
  readonly #outbox: Outbox
  readonly #sessions: OutgoingSessions
  /** What comes before the payload of a frame that has a subject and nothing else, and of one with a ttl too. */
  readonly #metas = new Map<string, Uint8Array>()
  readonly #metasWithTtl = new Map<string, Uint8Array>()

  constructor(nc: NatsLike, options: FramePublisherOptions) {
    this.#options = options
    this.#sealer = new FrameSealer(options.engine, options.padding)
    this.#outbox = new Outbox(this.#sealer, options.wire, options.onError)
    this.#sessions = new OutgoingSessions(nc, { ...options, flush: () => this.#outbox.flush() })
  }

  /**
   * Seals one payload to the audience, in a session, in a frame that states this time.
   *
   * @returns `undefined` where no session can be had: it is to be sealed in a message
   * @throws SubrosaError ERR_MESSAGE_TOO_LARGE, ERR_STALE, ERR_HEADER, ERR_EMPTY_AUDIENCE
   */
  publish(
    outgoing: Outgoing,
    audience: SessionAudience,
    { mode, nowMs }: { readonly mode: SessionMode; readonly nowMs: number },
  ): Published | undefined {
    const { subject, via = subject, reply, inReplyTo, headers, payload, ttlMs } = outgoing
    const open = this.#sessions.get(audience, mode, { subject: via, nowMs })
    if (open === undefined) return undefined
    const { session, members } = open
    const { sealed, clear } = headers === undefined ? NO_HEADERS : splitHeaders(headers)
    const isPlain = reply === undefined && inReplyTo === undefined && headers === undefined
    const meta = isPlain ? this.#metaOf(subject, ttlMs) : encode(outgoing, { sealed, clear })
    const named = reply === undefined ? undefined : { id: NO_ID }
    const isJoinable = isPlain && members.length === 1 && payload.length <= MAX_JOINED_PAYLOAD
    const route = { subject: via, reply, clear }
    const bytes = meta.length + payloadBytes(payload.length)
    this.#send(session, { route, meta, payloads: [payload], bytes, nowMs, named, isJoinable }, members.length)
    return named === undefined ? { id: NO_ID, members } : new PublishedFrame(named, members)
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
    const meta = encode(outgoing, { sealed, clear })
    const empty = meta.length + payloadsHead(MAX_PAYLOADS_PER_FRAME).length
    const recipients = audience.members.length
    const room = wire.room(clear)
    const sizeOf = (bytes: number): number => this.#sealer.size(maxAuthLength(mode, 1), bytes)
    const fits = (bytes: number): boolean => sizeOf(bytes) <= room
    const longest = payloads.reduce((most, { length }) => Math.max(most, length), 0)
    const most = empty + payloadBytes(longest)
    if (!fits(most)) throw wire.tooLarge(sizeOf(most), recipients)
    let published = 0
    for (const group of grouped(payloads, empty, fits)) {
      const nowMs = clock.now()
      const open = this.#sessions.get(audience, mode, { subject, nowMs })
      if (open === undefined) return published
      const bytes = group.reduce((sum, { length }) => sum + payloadBytes(length), empty)
      const route = { subject, reply: undefined, clear }
      this.#send(open.session, { route, meta, payloads: group, bytes, nowMs }, recipients)
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

  /** Resolves when nobody has to ask for a handshake any more. */
  answered(): Promise<void> {
    return this.#sessions.answered()
  }

  stopAnswering(): void {
    this.#sessions.stopAnswering()
  }

  #send(session: OutgoingSession, parcel: Parcel, recipients: number): void {
    const room = this.#assertFits(session, parcel, recipients)
    const isSigned = session.mode === SessionMode.signed
    // A channel's frame gains nothing by waiting, but for company.
    const waits = isSigned || parcel.isJoinable === true
    if (waits && this.#mayWait(session, parcel.bytes, room)) this.#outbox.add(session, parcel)
    else this.#outbox.send(session, parcel)
  }

  /**
   * Whatever the mode, and whether it waits or not: the client refuses what is too large in words of its own.
   *
   * @returns how many bytes the server takes, where it might take too few for a frame in a whole batch
   * @throws SubrosaError ERR_MESSAGE_TOO_LARGE
   */
  #assertFits(session: OutgoingSession, { bytes, route }: Parcel, recipients: number): number | undefined {
    const { wire } = this.#options
    const { clear } = route
    if (clear.length === 0 && wire.surelyTakes(bytes)) return undefined
    const room = wire.room(clear)
    const alone = session.maxSize(this.#sealer, bytes, 1)
    if (alone > room) throw wire.tooLarge(alone, recipients)
    return room
  }

  /** Where a copy of it would cost more than a signature, or the proof of a whole batch not fit beside it, it may not. */
  #mayWait(session: OutgoingSession, bytes: number, room = Number.POSITIVE_INFINITY): boolean {
    if (bytes > MAX_WAITING_BYTES) return false
    return (
      room === Number.POSITIVE_INFINITY || session.maxSize(this.#sealer, bytes, MAX_FRAMES_PER_BATCH) <= room
    )
  }

  /** The same bytes each time: what has the same may join in one frame. */
  #metaOf(subject: string, ttlMs: number | undefined): Uint8Array {
    const metas = ttlMs === undefined ? this.#metas : this.#metasWithTtl
    const key = ttlMs === undefined ? subject : `${ttlMs} ${subject}`
    const known = metas.get(key)
    if (known !== undefined) return known
    const meta = encode({ subject, ttlMs }, NO_HEADERS)
    if (metas.size >= MAX_CACHED_SUBJECTS) metas.clear()
    metas.set(key, meta)
    return meta
  }
}

const NO_HEADERS = splitHeaders(undefined)

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
  { subject, reply, inReplyTo, ttlMs = 0 }: Omit<Outgoing, 'payload'>,
  { sealed, clear }: ReturnType<typeof splitHeaders>,
): Uint8Array {
  return encodeFrameMeta({ ttlMs, subject, reply, inReplyTo, headers: sealed, clearHeaders: clear })
}

/** Payloads in groups that fit into a frame. Each of them fits alone. */
function grouped(
  payloads: readonly Uint8Array[],
  metaBytes: number,
  fits: (contentBytes: number) => boolean,
): readonly (readonly Uint8Array[])[] {
  const all = payloads.reduce((sum, { length }) => sum + payloadBytes(length), metaBytes)
  if (payloads.length <= MAX_PAYLOADS_PER_FRAME && fits(all)) return payloads.length === 0 ? [] : [payloads]
  const groups: Uint8Array[][] = []
  let group: Uint8Array[] = []
  let bytes = metaBytes
  for (const payload of payloads) {
    const more = payloadBytes(payload.length)
    if (group.length > 0 && (group.length === MAX_PAYLOADS_PER_FRAME || !fits(bytes + more))) {
      groups.push(group)
      group = []
      bytes = metaBytes
    }
    group.push(payload)
    bytes += more
  }
  groups.push(group)
  return groups
}
