import { samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  MAX_HANDSHAKE_INBOXES,
  MAX_HANDSHAKE_REPEATS_PER_SECOND,
  MAX_HANDSHAKE_SUBJECTS,
} from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { AudienceMember } from '../../keys/directory.ts'
import { decodeSessionRequest } from '../../wire/handshake.ts'
import type { Context } from '../context.ts'
import type { NatsLike, NatsMessage, NatsSubscription } from '../nats-like.ts'
import { subscribeSafely } from '../safely.ts'

/** What publishing handshakes works with. */
export interface HandshakeOutOptions extends Context {
  /** Answers to requests for handshakes, of all sessions together. */
  readonly answers: RateLimit
}

/** The handshake of one session on its way to the recipients. SPEC, "Sessions". */
export class HandshakeOut {
  readonly #nc: NatsLike
  readonly #options: HandshakeOutOptions
  readonly #bytes: Uint8Array
  readonly #sid: Uint8Array
  readonly #members: readonly AudienceMember[]
  readonly #repeats = new RateLimit(MAX_HANDSHAKE_REPEATS_PER_SECOND)
  readonly #subjects = new Set<string>()
  readonly #requests: NatsSubscription

  /** @throws SubrosaError ERR_MESSAGE_TOO_LARGE */
  constructor(
    nc: NatsLike,
    options: HandshakeOutOptions,
    of: {
      readonly bytes: Uint8Array
      readonly sid: Uint8Array
      readonly members: readonly AudienceMember[]
    },
  ) {
    this.#nc = nc
    this.#options = options
    this.#bytes = of.bytes
    this.#sid = of.sid
    this.#members = of.members
    this.#assertFits()
    if (this.#goesToInboxes)
      for (const { instanceBytes } of of.members) nc.publish(options.subjects.inbox(instanceBytes), of.bytes)
    this.#requests = subscribeSafely(nc, options.subjects.session(of.sid), {
      take: (request) => this.#answer(request),
      onError: options.onError,
      onMisrouted: options.onMisrouted,
    })
  }

  /**
   * Publishes the handshake on a subject before the first frame there, where the recipients are too many for their
   * inboxes. Whoever reads only what comes later on some other subject asks for it.
   */
  precede(subject: string): void {
    if (this.#goesToInboxes || this.#subjects.has(subject)) return
    if (this.#subjects.size >= MAX_HANDSHAKE_SUBJECTS) return
    this.#subjects.add(subject)
    this.#nc.publish(subject, this.#bytes)
  }

  /** Answers nobody any more. */
  close(): void {
    if (!this.#nc.isClosed()) this.#requests.unsubscribe()
  }

  get #goesToInboxes(): boolean {
    return this.#members.length <= MAX_HANDSHAKE_INBOXES
  }

  /** The answer goes to a subject of its own, never to one that the request names. */
  #answer({ data }: NatsMessage): void {
    const { clock, subjects, answers } = this.#options
    const nowMs = clock.monotonic()
    if (!asksFor(data, this.#sid) || answers.available(nowMs) < 1 || !this.#repeats.take(nowMs)) return
    answers.take(nowMs)
    this.#nc.publish(subjects.handshake(this.#sid), this.#bytes)
  }

  #assertFits(): void {
    const { length } = this.#bytes
    const limit = this.#nc.info?.max_payload ?? Number.POSITIVE_INFINITY
    if (length <= limit) return
    throw new SubrosaError(
      'ERR_MESSAGE_TOO_LARGE',
      `the handshake for ${this.#members.length} recipients has ${length} bytes, and the server takes ${limit}`,
      { hint: 'name fewer recipients with `to`, or raise max_payload on the server' },
    )
  }
}

function asksFor(request: Uint8Array, sid: Uint8Array): boolean {
  try {
    return samePublic(decodeSessionRequest(request), sid)
  } catch {
    return false
  }
}
