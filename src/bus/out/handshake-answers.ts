import type { HouseClock } from '../../base/house-clock.ts'
import { HANDSHAKE_REPEAT_MS, MAX_HANDSHAKE_ANSWER_BYTES_PER_SECOND } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'

/** Interval between looks at what waits for its answer, in ms. */
const LOOK_AGAIN_MS = 50

/** A handshake that is published again when its session is asked for. */
export interface Answerable {
  readonly byteLength: number
  /** Publishes it where everybody who misses it listens. */
  readonly answer: () => void
}

/**
 * The answers to session requests, of all sessions of this instance together. SPEC, "Sessions".
 *
 * A request is not signed, and anybody who sees a frame can make one: nobody can tell who asks. So sessions have the
 * shares, and not those who ask. An answer goes to everybody who waits for that handshake, so one that somebody else asked
 * for serves as well. What is asked for waits its turn, once, in the order of asking: each other session has at most
 * one answer before it.
 */
export class HandshakeAnswers {
  readonly #clock: HouseClock
  readonly #onError: (error: unknown) => void
  readonly #budget = new RateLimit(MAX_HANDSHAKE_ANSWER_BYTES_PER_SECOND)
  readonly #asked = new Set<Answerable>()
  readonly #answeredAt = new WeakMap<Answerable, number>()
  /** Whether somebody waits because the bytes of this second are spent. */
  #isShort = false
  #cancel: (() => void) | undefined

  constructor({ clock, onError }: { clock: HouseClock; onError: (error: unknown) => void }) {
    this.#clock = clock
    this.#onError = onError
  }

  /** Answers a request for this handshake: at once, or when its turn comes. */
  ask(handshake: Answerable): void {
    if (this.#asked.has(handshake)) return
    this.#asked.add(handshake)
    // Those before it have their turns first.
    if (this.#isShort) this.#answerLater()
    else this.#answer([handshake])
  }

  /** Nobody may have this handshake any more. */
  forget(handshake: Answerable): void {
    this.#asked.delete(handshake)
    if (this.#asked.size > 0) return
    this.#cancel?.()
    this.#cancel = undefined
    this.#isShort = false
  }

  #answer(asked: Iterable<Answerable>): void {
    const nowMs = this.#clock.monotonic()
    this.#isShort = false
    for (const handshake of asked) {
      const answeredAt = this.#answeredAt.get(handshake)
      // Its turn is kept, and those behind it do not wait for it.
      if (answeredAt !== undefined && nowMs - answeredAt < HANDSHAKE_REPEAT_MS) continue
      if (!this.#budget.takeMany(handshake.byteLength, nowMs)) {
        this.#isShort = true
        break
      }
      this.#asked.delete(handshake)
      this.#answeredAt.set(handshake, nowMs)
      handshake.answer()
    }
    if (this.#asked.size > 0) this.#answerLater()
  }

  #answerLater(): void {
    this.#cancel ??= this.#clock.after(LOOK_AGAIN_MS, () => {
      this.#cancel = undefined
      try {
        this.#answer(this.#asked)
      } catch (error) {
        this.#onError(error)
      }
    })
  }
}
