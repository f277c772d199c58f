import { allocate } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Padding } from '../crypto/padding.ts'
import { MAX_FRAMES_PER_BATCH, MAX_PAYLOADS_PER_FRAME } from '../limits.ts'
import { FrameSealer } from '../session/frame-cipher.ts'
import type { OutgoingSession } from '../session/outgoing.ts'
import { encodeFrameMeta } from '../wire/frame.ts'
import { SessionMode } from '../wire/handshake.ts'
import { splitHeaders } from './headers.ts'
import type { NatsLike } from './nats-like.ts'
import { Outbox } from './outbox.ts'
import { OutgoingSessions, type OutgoingSessionsOptions, type SessionAudience } from './outgoing-sessions.ts'
import type { Outgoing, Published } from './publisher.ts'
import type { Wire } from './wire-out.ts'

const MAX_CACHED_SUBJECTS = 1024
/** Where the sid begins in a frame's header: with salt and counter it names the frame. */
const ID_START = 3

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
    this.#outbox = new Outbox(this.#sealer, options.onError)
    this.#sessions = new OutgoingSessions(nc, { ...options, flush: () => this.#outbox.flush() })
  }

  /**
   * Seals one payload to the audience, in a session.
   *
   * @returns `undefined` where no session can be had: it is to be sealed in a message
   * @throws SubrosaError ERR_MESSAGE_TOO_LARGE, ERR_STALE, ERR_HEADER, ERR_KEY_INVALID
   */
  publish(outgoing: Outgoing, audience: SessionAudience, mode: SessionMode): Published | undefined {
    return this.#publish(outgoing, outgoing.payload, { audience, mode, meta: this.#metaOf(outgoing) })
  }

  /**
   * Seals many payloads, as many in one frame as fit. Where one of them is too large, none is published.
   *
   * @returns whether a session could be had
   * @throws as {@link publish}
   */
  publishMany(
    outgoing: Omit<Outgoing, 'payload'>,
    payloads: readonly Uint8Array[],
    { audience, mode }: { readonly audience: SessionAudience; readonly mode: SessionMode },
  ): boolean {
    const { sealed, clear } = splitHeaders(outgoing.headers)
    const empty = encode(outgoing, { sealed, clear, lengths: [0] }).length
    const session = this.#sessions.get(audience, mode, outgoing.subject)
    if (session === undefined) return false
    const { wire } = this.#options
    const room = wire.room(clear)
    const sizeOf = (bytes: number): number => session.maxSize(this.#sealer, bytes, 1)
    const largest = sizeOf(empty + payloads.reduce((most, { length }) => Math.max(most, length), 0))
    if (largest > room) throw wire.tooLarge(largest, audience.members.length)
    for (const group of grouped(payloads, empty, (bytes) => sizeOf(bytes) <= room)) {
      const lengths = group.map(({ length }) => length)
      const meta = encode(outgoing, { sealed, clear, lengths })
      this.#publish(outgoing, join(group), { audience, mode, meta })
    }
    return true
  }

  /** Seals and publishes what waits for the end of the turn. */
  flush(): void {
    this.#outbox.flush()
  }

  close(): void {
    try {
      this.#outbox.flush()
    } catch (error) {
      // The connection has ended before the turn has.
      this.#options.onError(error)
    }
    this.#sessions.close()
  }

  #publish(
    outgoing: Omit<Outgoing, 'payload'>,
    payload: Uint8Array,
    {
      audience,
      mode,
      meta,
    }: { readonly audience: SessionAudience; readonly mode: SessionMode; readonly meta: Uint8Array },
  ): Published | undefined {
    const { clock, wire } = this.#options
    const { subject, via = subject, reply, headers } = outgoing
    const clear = headers === undefined ? NONE : splitHeaders(headers).clear
    const session = this.#sessions.get(audience, mode, via)
    if (session === undefined) return undefined
    const isAlone = this.#mustGoAlone(session, meta.length + payload.length, {
      room: wire.room(clear),
      recipients: audience.members.length,
    })
    const emit = (frame: Uint8Array): void => wire.publish(via, frame, { reply, clear })
    if (mode === SessionMode.channel) {
      // What was published before goes before.
      this.#outbox.flush()
      const frame = session.nextFrame(this.#sealer, clock.now(), { meta, payload })
      for (const sealed of session.seal(this.#sealer, [frame])) emit(sealed)
      return { id: frame.header.subarray(ID_START), members: audience.members }
    }
    if (isAlone) this.#outbox.flush()
    // The caller may use its memory again before the turn is over.
    const frame = session.nextFrame(this.#sealer, clock.now(), { meta, payload: copyOf(payload) })
    this.#outbox.add({ session, frame, emit })
    if (isAlone) this.#outbox.flush()
    return { id: frame.header.subarray(ID_START), members: audience.members }
  }

  /**
   * Whether a frame is so large that the proof of a whole batch would not fit beside it.
   *
   * @throws SubrosaError ERR_MESSAGE_TOO_LARGE when it does not fit alone either
   */
  #mustGoAlone(
    session: OutgoingSession,
    contentBytes: number,
    { room, recipients }: { readonly room: number; readonly recipients: number },
  ): boolean {
    if (session.maxSize(this.#sealer, contentBytes, MAX_FRAMES_PER_BATCH) <= room) return false
    const alone = session.maxSize(this.#sealer, contentBytes, 1)
    if (alone > room) throw this.#options.wire.tooLarge(alone, recipients)
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
