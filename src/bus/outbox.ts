import { MAX_FRAMES_PER_BATCH } from '../limits.ts'
import type { FrameSealer } from '../session/frame-cipher.ts'
import type { OutgoingSession, PendingFrame } from '../session/outgoing.ts'
import type { Route, Wire } from './wire-out.ts'

interface Waiting {
  readonly batch: Batch
  readonly route: Route
}

/** The frames of one session that wait, and once they are sealed how many of them were published. */
interface Batch {
  readonly session: OutgoingSession
  readonly frames: PendingFrame[]
  sealed: readonly Uint8Array[]
  published: number
}

/** Runs a task at the end of this turn of the event loop. */
const atEndOfTurn: (task: () => void) => void =
  typeof setImmediate === 'function' ? setImmediate : queueMicrotask

/**
 * Signed frames of this turn of the event loop. At its end, or as soon as 64 of one session wait, each session's are
 * signed together, and all are published in the order in which they came.
 */
export class Outbox {
  readonly #sealer: FrameSealer
  readonly #wire: Wire
  readonly #onError: (error: unknown) => void
  #waiting: Waiting[] = []
  readonly #batches = new Map<OutgoingSession, Batch>()
  #isScheduled = false

  constructor(sealer: FrameSealer, wire: Wire, onError: (error: unknown) => void) {
    this.#sealer = sealer
    this.#wire = wire
    this.#onError = onError
  }

  add(session: OutgoingSession, frame: PendingFrame, route: Route): void {
    const batch = this.#batchOf(session)
    batch.frames.push(frame)
    this.#waiting.push({ batch, route })
    if (batch.frames.length === MAX_FRAMES_PER_BATCH) this.flush()
    else this.#schedule()
  }

  /**
   * Seals and publishes what waits: before anything else is published, and before the connection ends. What cannot be
   * published is reported, and the rest goes on: whoever published it has gone on long ago.
   */
  flush(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    for (const batch of this.#batches.values()) this.#try(() => this.#seal(batch))
    this.#batches.clear()
    for (const { batch, route } of waiting) {
      const frame = batch.sealed[batch.published++]
      if (frame !== undefined) this.#publish(route, frame)
    }
  }

  #batchOf(session: OutgoingSession): Batch {
    const known = this.#batches.get(session)
    if (known !== undefined) return known
    const batch = { session, frames: [], sealed: [], published: 0 }
    this.#batches.set(session, batch)
    return batch
  }

  #seal(batch: Batch): void {
    batch.sealed = batch.session.seal(this.#sealer, batch.frames)
  }

  #publish(route: Route, frame: Uint8Array): void {
    try {
      this.#wire.publish(route, frame)
    } catch (error) {
      this.#onError(error)
    }
  }

  #try(task: () => void): void {
    try {
      task()
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
