import { MAX_FRAMES_PER_BATCH } from '../limits.ts'
import type { FrameSealer } from '../session/frame-cipher.ts'
import type { OutgoingSession, PendingFrame } from '../session/outgoing.ts'

/** Where a sealed frame goes. */
export type Emit = (frame: Uint8Array) => void

interface Waiting {
  readonly session: OutgoingSession
  readonly frame: PendingFrame
  readonly emit: Emit
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
  readonly #onError: (error: unknown) => void
  #waiting: Waiting[] = []
  readonly #counts = new Map<OutgoingSession, number>()
  #isScheduled = false

  constructor(sealer: FrameSealer, onError: (error: unknown) => void) {
    this.#sealer = sealer
    this.#onError = onError
  }

  add(waiting: Waiting): void {
    this.#waiting.push(waiting)
    const count = (this.#counts.get(waiting.session) ?? 0) + 1
    this.#counts.set(waiting.session, count)
    if (count === MAX_FRAMES_PER_BATCH) this.flush()
    else this.#schedule()
  }

  /** Seals and publishes what waits: before anything else is published, and before the connection ends. */
  flush(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    const sessions = [...this.#counts.keys()]
    this.#waiting = []
    this.#counts.clear()
    const sealed = new Map<OutgoingSession, Iterator<Uint8Array>>()
    for (const session of sessions) {
      const frames = waiting.filter((item) => item.session === session).map(({ frame }) => frame)
      sealed.set(session, session.seal(this.#sealer, frames)[Symbol.iterator]())
    }
    for (const { session, emit } of waiting) {
      const frame = sealed.get(session)?.next()
      if (frame?.done === false) emit(frame.value)
    }
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    atEndOfTurn(() => {
      this.#isScheduled = false
      try {
        this.flush()
      } catch (error) {
        this.#onError(error)
      }
    })
  }
}
