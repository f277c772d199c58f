import { hex, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { LOOKUP_TIMEOUT_MS, MAX_HANDSHAKE_INBOXES, MAX_HANDSHAKE_SUBJECTS } from '../../base/limits.ts'
import type { AudienceMember } from '../../keys/directory.ts'
import { decodeSessionRequest } from '../../wire/handshake.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import { decodeRefusal, type Refusal } from '../../wire/refusal.ts'
import type { Context } from '../context.ts'
import type { NatsLike, NatsMessage } from '../nats-like.ts'
import { publishSafely } from '../safely.ts'
import { StandingSubscription } from '../standing-subscription.ts'
import type { Answerable, HandshakeAnswers } from './handshake-answers.ts'

/** What publishing handshakes works with. */
export interface HandshakeOutOptions extends Context {
  /** Answers to requests for handshakes, of all sessions together. */
  readonly answers: HandshakeAnswers
  /** Called with a refusal that names a recipient. Nothing of it is proved. */
  readonly onRefusal: (refusal: Refusal, by: AudienceMember) => void
}

/** The handshake of one session on its way to the recipients, and what comes back. SPEC, "Sessions". */
export class HandshakeOut implements Answerable {
  readonly #nc: NatsLike
  readonly #options: HandshakeOutOptions
  readonly #bytes: Uint8Array
  readonly #sid: Uint8Array
  readonly #members: readonly AudienceMember[]
  readonly #subjects = new Set<string>()
  readonly #requests: StandingSubscription
  /** When the last frame was published, by the monotonic clock, where somebody may have it without the handshake. */
  #lastFrameAtMs: number | undefined
  /** The recipients by their key ids, once somebody has refused: a stranger can send refusals, which cost one look here. */
  #byKid: ReadonlyMap<string, AudienceMember> | undefined

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
      for (const { name, instanceBytes } of of.members)
        nc.publish(options.subjects.inbox(name, instanceBytes), of.bytes)
    const { clock, onError, reject } = options
    this.#requests = new StandingSubscription(nc, options.subjects.session(of.sid), {
      clock,
      take: (message) => this.#take(message),
      onError,
      reject,
      onRefused: onError,
    })
  }

  /**
   * Publishes the handshake on a subject before the first frame there, where the recipients are too many for their
   * inboxes. Whoever reads only what comes later on some other subject asks for it.
   */
  precede(subject: string): void {
    if (this.#goesToInboxes) return
    this.#lastFrameAtMs = this.#options.clock.monotonic()
    if (this.#subjects.has(subject)) return
    if (this.#subjects.size >= MAX_HANDSHAKE_SUBJECTS) return
    this.#subjects.add(subject)
    this.#nc.publish(subject, this.#bytes)
  }

  /**
   * For how much longer somebody may ask for it, in ms: a worker of a queue group to whom the last frame came, and the
   * handshake did not. 0 where each recipient had it in its inbox.
   */
  askedForMs(): number {
    if (this.#lastFrameAtMs === undefined) return 0
    return Math.max(0, this.#lastFrameAtMs + LOOKUP_TIMEOUT_MS - this.#options.clock.monotonic())
  }

  get byteLength(): number {
    return this.#bytes.length
  }

  /** The answer goes to a subject of its own, never to one that a request names. */
  answer(): void {
    const { subjects, onError } = this.#options
    publishSafely(this.#nc, subjects.handshake(this.#sid), { bytes: this.#bytes, onError })
  }

  /** Answers nobody any more. */
  close(): void {
    this.#options.answers.forget(this)
    this.#requests.unsubscribe()
  }

  get #goesToInboxes(): boolean {
    return this.#members.length <= MAX_HANDSHAKE_INBOXES
  }

  #take({ data }: NatsMessage): void {
    if (wireType(data) === WireType.refusal) this.#takeRefusal(data)
    else if (asksFor(data, this.#sid)) this.#options.answers.ask(this)
  }

  #takeRefusal(data: Uint8Array): void {
    const refusal = readRefusal(data)
    if (refusal === undefined || !samePublic(refusal.sid, this.#sid)) return
    this.#byKid ??= new Map(this.#members.map((member) => [hex(member.key.kid), member]))
    const member = this.#byKid.get(hex(refusal.kid))
    if (member !== undefined) this.#options.onRefusal(refusal, member)
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

function readRefusal(bytes: Uint8Array): Refusal | undefined {
  try {
    return decodeRefusal(bytes)
  } catch {
    return undefined
  }
}
