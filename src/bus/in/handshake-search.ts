import { fromHex, samePublic } from '../../base/bytes.ts'
import { MAX_FREE_HASH_BYTES, MAX_SESSION_REQUESTS_PER_SECOND } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import { sessionId } from '../../envelope/keys.ts'
import { encodeSessionRequest } from '../../wire/handshake.ts'
import type { Context } from '../context.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from '../nats-like.ts'
import { subscribeSafely } from '../safely.ts'
import type { AdmissionLine } from './admission.ts'

const ASK_AGAIN_MS = 1000

/** What the search for handshakes works with. */
export interface HandshakeSearchOptions extends Context {
  /** The budget of handshakes: it takes a hash to see that something is one that was asked for. */
  readonly line: Pick<AdmissionLine, 'isReady' | 'spend'>
  /** Takes a handshake that was asked for. It is the very one: its hash is the name that was asked for. */
  readonly onHandshake: (message: NatsMessage) => void
}

/** Asks for handshakes that were missed. SPEC, "Sessions". */
export class HandshakeSearch {
  readonly #nc: NatsLike
  readonly #options: HandshakeSearchOptions
  readonly #asking = new Map<string, NatsSubscription>()
  readonly #first = new RateLimit(MAX_SESSION_REQUESTS_PER_SECOND)
  readonly #second = new RateLimit(MAX_SESSION_REQUESTS_PER_SECOND)

  constructor(nc: NatsLike, options: HandshakeSearchOptions) {
    this.#nc = nc
    this.#options = options
  }

  /** Whether the handshake of this session (its sid in hexadecimal) was asked for and has not come. */
  has(sid: string): boolean {
    return this.#asking.has(sid)
  }

  /**
   * Asks for the handshake of a session, and once more if nothing comes.
   *
   * @returns `false` when the budget does not allow it
   */
  ask(sid: string): boolean {
    const { clock, subjects, onError, reject } = this.#options
    if (this.#nc.isClosed() || !this.#first.take(clock.monotonic())) return false
    const sidBytes = fromHex(sid)
    const subscription = subscribeSafely(this.#nc, subjects.handshake(sidBytes), {
      take: (message) => this.#take(message, sidBytes),
      onError,
      reject,
    })
    this.#asking.set(sid, subscription)
    const ask = (): void => this.#nc.publish(subjects.session(sidBytes), encodeSessionRequest(sidBytes))
    ask()
    clock.after(ASK_AGAIN_MS, () => {
      try {
        const isMissing = this.#asking.get(sid) === subscription && !this.#nc.isClosed()
        if (isMissing && this.#second.take(clock.monotonic())) ask()
      } catch (error) {
        onError(error)
      }
    })
    return true
  }

  stop(sid: string): void {
    const subscription = this.#asking.get(sid)
    this.#asking.delete(sid)
    if (!this.#nc.isClosed()) subscription?.unsubscribe()
  }

  /** Anybody can publish there. Whatever is not the very handshake costs one hash, and nothing comes of it. */
  #take(message: NatsMessage, sid: Uint8Array): void {
    const { engine, clock, line, onHandshake, reject } = this.#options
    const isLong = message.data.length > MAX_FREE_HASH_BYTES
    if (isLong && !line.isReady()) return reject('flood', message)
    const startedAt = clock.work()
    const isAskedFor = samePublic(sessionId(engine, message.data), sid)
    if (isAskedFor) return onHandshake(message)
    if (isLong) line.spend(clock.work() - startedAt)
    reject('malformed', message)
  }
}
