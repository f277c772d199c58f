import { fromUtf8, utf8 } from '../../base/bytes.ts'
import type { IdentityClaims } from '../../identity/token.ts'
import type { HeadersLike, MessageHeaders } from './headers.ts'
import type { SealMode } from './opened.ts'

/** What a message or a response can hold. Strings travel as UTF-8. */
export type Payload = Uint8Array | string

/** Who sealed a message: the agent's verified name and, in hexadecimal, which of its instances. */
export interface Sender {
  readonly name: string
  readonly instance: string
}

/** Options of a response. */
export interface RespondOptions {
  /** Sealed with the payload. */
  readonly headers?: HeadersLike
  /** Where an answer to this response should go. */
  readonly reply?: string
  /** Milliseconds after sending in which it may be delivered, as in `PublishOptions`. Default: no limit of its own. */
  readonly ttl?: number
}

/** What {@link SecureConnection.publishMessage} publishes: a message of either client line, or one that was received. */
export interface MessageLike {
  readonly subject: string
  readonly data: Uint8Array
  readonly reply?: string | undefined
  readonly headers?: HeadersLike | undefined
}

/** What a message is made of. */
export interface MessageParts {
  readonly subject: string
  readonly sid: number
  readonly reply: string | undefined
  readonly data: Uint8Array
  readonly headers: MessageHeaders | undefined
  readonly sender: Sender
  readonly claims: IdentityClaims
  readonly sentAtMs: number
  readonly epoch: number
  readonly mode: SealMode
  /** Seals and publishes the response. Without it the message is no request. */
  readonly respond: ((payload: Payload, options: RespondOptions) => void) | undefined
}

/**
 * A message that was opened, with a sender who is proved. It is a `Msg` of either client line (`data`, `subject`,
 * `reply`, `headers`, `json()`, `string()`, `respond()`), with `sender`, `claims`, `sentAt`, `epoch` and `mode` as well.
 *
 * Everything in it is what its sender sealed, but for `sid`. `subject` is the sealed subject, also where a server maps
 * subjects and it was delivered on another one. `reply` is the sealed reply subject, whatever was delivered; `headers`
 * are the sealed ones and the clear ones that the sender sealed again, and no others. `sid` says by which subscription of
 * this connection it came: a broker chooses among those whose pattern covers the delivered subject. So it does with the
 * order of messages, and with those that it drops. SPEC, "Publishing".
 *
 * @example
 * ```ts
 * for await (const m of bus.subscribe('orders.>')) console.log(m.sender.name, m.subject, m.json())
 * ```
 */
export class SecureMessage {
  /** The subject that its sender published on. */
  readonly subject: string
  /** The client's number of the NATS subscription that it came by. Not authenticated: see {@link SecureMessage}. */
  readonly sid: number
  /**
   * The reply subject that its sender set. Absent where the message is no request. {@link respond} publishes where the
   * server delivers to it, which is another subject where the server maps it.
   */
  declare readonly reply?: string
  /** The payload. Its memory (`data.buffer`) holds nothing of another message. */
  readonly data: Uint8Array
  /** What the sender set. Absent where it set none. */
  declare readonly headers?: MessageHeaders
  readonly sender: Sender
  /** The number of the epoch in which it was sealed. */
  readonly epoch: number
  /** How it was sealed. What came by a `channel` no signature proves to others: see {@link SealMode}. */
  readonly mode: SealMode
  readonly #claims: IdentityClaims
  readonly #sentAtMs: number
  readonly #respond: MessageParts['respond']

  /** @internal Made by the connection. */
  constructor(parts: MessageParts) {
    this.subject = parts.subject
    this.sid = parts.sid
    if (parts.reply !== undefined) this.reply = parts.reply
    this.data = parts.data
    if (parts.headers !== undefined) this.headers = parts.headers
    this.sender = parts.sender
    this.#claims = parts.claims
    this.#sentAtMs = parts.sentAtMs
    this.epoch = parts.epoch
    this.mode = parts.mode
    this.#respond = parts.respond
  }

  /** What the sender's identity token says: its public key, its roles and permissions, and how long it is good. */
  get claims(): IdentityClaims {
    return this.#claims
  }

  /** When the sender's clock says that it was sealed. */
  get sentAt(): Date {
    return new Date(this.#sentAtMs)
  }

  /** The payload as text. @throws TypeError when it is not UTF-8. */
  string(): string {
    const text = fromUtf8(this.data)
    if (text === undefined) throw new TypeError('the payload is not UTF-8')
    return text
  }

  /** The payload parsed as JSON. @throws SyntaxError when it is none, TypeError when it is not UTF-8. */
  json<T = unknown>(reviver?: (this: unknown, key: string, value: unknown) => unknown): T {
    return JSON.parse(this.string(), reviver) as T
  }

  /**
   * Seals a response to the instance that asked, and to nobody else.
   *
   * @returns `false` when the message is no request, as in NATS
   * @throws SubrosaError ERR_STALE, ERR_CLOSED, ERR_EMPTY_AUDIENCE when the requester's keys are gone,
   *   ERR_MESSAGE_TOO_LARGE
   */
  respond(payload: Payload = new Uint8Array(0), options: RespondOptions = {}): boolean {
    if (this.#respond === undefined) return false
    this.#respond(payload, options)
    return true
  }
}

/** The bytes of a payload. @throws TypeError for anything but bytes and strings. */
export function payloadBytes(payload: Payload | undefined): Uint8Array {
  if (payload === undefined) return new Uint8Array(0)
  if (typeof payload === 'string') return utf8(payload)
  if (payload instanceof Uint8Array) return payload
  throw new TypeError('payload must be a Uint8Array or a string')
}
