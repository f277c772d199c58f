import { MAX_FRAMES_PER_BATCH } from '../../base/limits.ts'
import type { FrameSealer } from '../../session/frame-cipher.ts'
import type { FrameName, FrameNumber, OutgoingSession } from '../../session/outgoing.ts'
import { encodePayloads, payloadsHead, writePayload } from '../../wire/frame.ts'
import type { Route, Wire } from './wire-out.ts'

/** What is published in one turn is copied in here: no memory is asked for, and what is not used is not there. */
const MEMORY_BYTES = 1024 * 1024
const MAX_JOINED = 64
const MAX_JOINED_BYTES = 32 * 1024
/** Before the payloads that were joined. */
const MAX_HEAD_BYTES = 3

/** What goes into one frame. */
export interface Parcel {
  readonly route: Route
  /** What comes before the payloads. */
  readonly meta: Uint8Array
  readonly payloads: readonly Uint8Array[]
  /** How many bytes meta and payloads have together, as they are encoded. */
  readonly bytes: number
  readonly nowMs: number
  /** Where the frame's name is left once it is sealed. */
  readonly named?: FrameName | undefined
  /** Whether payloads with the very same meta may join it in its frame. */
  readonly isJoinable?: boolean
}

/** A frame that waits. Its meta and its payloads stand one after the other in memory. */
interface Waiting {
  readonly batch: Batch
  readonly number: FrameNumber
  readonly route: Route
  readonly named: FrameName | undefined
  /** What payloads that join it must have before them; `undefined` where none may. */
  readonly joinable: Uint8Array | undefined
  readonly start: number
  readonly payloadStart: number
  /** Payloads that were published one by one, and go in it together. */
  joined: number
  end: number
}

/** The frames of one session that wait, and once they are sealed how many of them were published. */
interface Batch {
  readonly session: OutgoingSession
  readonly frames: Waiting[]
  sealed: readonly Uint8Array[]
  published: number
}

/** Runs a task at the end of this turn of the event loop. */
const atEndOfTurn: (task: () => void) => void =
  typeof setImmediate === 'function' ? setImmediate : queueMicrotask

/**
 * The frames of this turn of the event loop. At its end, or as soon as 64 of one session wait, each session's are
 * signed together, and all are published in the order in which they came. What goes to one instance alone and on the
 * same subject, one right after the other, goes in one frame: no other worker of a queue group could open it.
 */
export class Outbox {
  readonly #sealer: FrameSealer
  readonly #wire: Wire
  readonly #onError: (error: unknown) => void
  #memory: Uint8Array | undefined
  #used = 0
  #waiting: Waiting[] = []
  readonly #batches = new Map<OutgoingSession, Batch>()
  #isScheduled = false

  constructor(sealer: FrameSealer, wire: Wire, onError: (error: unknown) => void) {
    this.#sealer = sealer
    this.#wire = wire
    this.#onError = onError
  }

  /** Copies a frame's content, which waits for the end of the turn. It must be smaller than the memory. */
  add(session: OutgoingSession, parcel: Parcel): void {
    const { meta, payloads, bytes, nowMs, route, named, isJoinable = false } = parcel
    const memory = this.#room(bytes)
    if (this.#join(session, parcel, memory)) return
    const batch = this.#batchOf(session)
    const number = session.takeNumber(nowMs)
    const start = this.#used
    const payloadStart = start + meta.length
    memory.set(meta, start)
    this.#used = payloadStart
    if (payloads.length > 1) this.#copy(payloadsHead(payloads.length), memory)
    this.#writePayloads(payloads, memory)
    const joinable = isJoinable ? meta : undefined
    const end = this.#used
    const waiting = { batch, number, route, named, joinable, start, payloadStart, joined: 1, end }
    batch.frames.push(waiting)
    this.#waiting.push(waiting)
    if (batch.frames.length === MAX_FRAMES_PER_BATCH) this.flush()
    else this.#schedule()
  }

  /** Publishes what waits, and then a frame of its own, at once. @throws what publishing throws */
  send(session: OutgoingSession, { route, meta, payloads, nowMs, named }: Parcel): void {
    this.flush()
    const { counter, sentAtMs } = session.takeNumber(nowMs)
    const content = [meta, ...encodePayloads(payloads)]
    const [frame] = session.seal(this.#sealer, [{ counter, sentAtMs, content, named }])
    if (frame !== undefined) this.#wire.publish(route, frame)
  }

  /**
   * Seals and publishes what waits: before anything else is published, and before the connection ends. What cannot be
   * published is reported, and the rest goes on: whoever published it has gone on long ago.
   */
  flush(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const batch of this.#batches.values()) this.#seal(batch)
    this.#batches.clear()
    // Sealed or not, no plaintext stays for the life of the connection.
    this.#memory?.fill(0, 0, this.#used)
    this.#used = 0
    for (const { batch, route } of waiting) {
      const frame = batch.sealed[batch.published++]
      if (frame !== undefined) this.#publish(route, frame)
    }
  }

  /** Puts a payload into the frame before it, where that is the last one and both go the same way. */
  #join(
    session: OutgoingSession,
    { isJoinable, meta, payloads, bytes: all, route }: Parcel,
    memory: Uint8Array,
  ): boolean {
    const last = this.#waiting.at(-1)
    if (last === undefined || isJoinable !== true || last.joinable !== meta) return false
    if (last.batch.session !== session || last.joined === MAX_JOINED) return false
    const more = all - meta.length
    const bytes = last.end - last.start + more
    if (bytes > MAX_JOINED_BYTES || last.route.subject !== route.subject) return false
    if (!this.#wire.surelyTakes(bytes + MAX_HEAD_BYTES)) return false
    this.#writePayloads(payloads, memory)
    last.end += more
    last.joined++
    return true
  }

  #copy(bytes: Uint8Array, memory: Uint8Array): void {
    memory.set(bytes, this.#used)
    this.#used += bytes.length
  }

  #writePayloads(payloads: readonly Uint8Array[], memory: Uint8Array): void {
    for (const payload of payloads) this.#used = writePayload(memory, payload, this.#used)
  }

  #room(bytes: number): Uint8Array {
    this.#memory ??= new Uint8Array(new ArrayBuffer(MEMORY_BYTES))
    if (this.#used + bytes > MEMORY_BYTES) this.flush()
    return this.#memory
  }

  #batchOf(session: OutgoingSession): Batch {
    const known = this.#batches.get(session)
    if (known !== undefined) return known
    const batch = { session, frames: [], sealed: [], published: 0 }
    this.#batches.set(session, batch)
    return batch
  }

  #seal(batch: Batch): void {
    try {
      const frames = batch.frames.map((waiting) => {
        const { counter, sentAtMs } = waiting.number
        return { counter, sentAtMs, content: this.#content(waiting), named: waiting.named }
      })
      batch.sealed = batch.session.seal(this.#sealer, frames)
    } catch (error) {
      this.#onError(error)
    }
  }

  #content({ joined, start, payloadStart, end }: Waiting): readonly Uint8Array[] {
    const memory = this.#memory ?? new Uint8Array(0)
    if (joined === 1) return [memory.subarray(start, end)]
    return [memory.subarray(start, payloadStart), payloadsHead(joined), memory.subarray(payloadStart, end)]
  }

  #publish(route: Route, frame: Uint8Array): void {
    try {
      this.#wire.publish(route, frame)
    } catch (error) {
      this.#onError(error)
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    atEndOfTurn(() => {
      this.#isScheduled = false
      this.flush()
    })
  }
}
