import { utf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_CLEAR_HEADER_BYTES, MAX_HEADER_BYTES, MAX_HEADERS } from '../../base/limits.ts'
import type { HeaderPair } from '../../wire/sealed.ts'
import type { NatsMessage } from '../nats-like.ts'

/** Anything that yields header names with their values: both clients' headers, a `Map`, or {@link MessageHeaders}. */
export type HeadersLike = Iterable<readonly [string, readonly string[]]>

/**
 * The headers that a NATS server acts on. They must travel in clear, and are authenticated besides: everything else
 * is sealed.
 */
const SERVER_HEADERS =
  /^(nats-msg-id|nats-expected-.+|nats-rollup|nats-ttl|nats-schedule.*|nats-batch-.+|kv-operation)$/i

/** How a header's name is compared: `Match` of either client line, a number in the one and a string in the other. */
export type HeaderMatch = number | string

/** Sealed and clear headers of one message. */
export interface SplitHeaders {
  readonly sealed: readonly HeaderPair[]
  readonly clear: readonly HeaderPair[]
}

/**
 * How many bytes the headers of a delivered message take on the wire. It is known without parsing them: clients take 1.7 s
 * to parse 70 KB of short ones. It may be more than they take, where a subject is no UTF-8, and never less. 0 also where a
 * client does not tell.
 */
export function headerBytes(delivered: NatsMessage): number {
  const { subject, reply = '', data } = delivered
  if (delivered.size === undefined) return 0
  const others = delivered.size() - data.length
  // Nearly all subjects are ASCII, and nearly all messages have no headers.
  const bytes = others - subject.length - reply.length
  return bytes === 0 ? 0 : others - leastBytes(subject) - leastBytes(reply)
}

/**
 * How many bytes a decoded text had at least: U+FFFD stands for any byte that is no UTF-8, and takes three itself. Whoever
 * took it for three could hide headers behind such bytes.
 */
function leastBytes(text: string): number {
  return utf8(text.replaceAll('\ufffd', '?')).length
}

/**
 * Divides headers into what is sealed and what the server must see.
 *
 * @throws SubrosaError ERR_HEADER for a name or value that NATS cannot carry, more than 256 of them, or more than 1 KiB of
 *   what the server must see
 */
export function splitHeaders(headers: HeadersLike | undefined): SplitHeaders {
  const sealed: HeaderPair[] = []
  const clear: HeaderPair[] = []
  for (const [name, values] of headers ?? []) {
    for (const value of values) {
      checkHeader(name, value)
      const list = SERVER_HEADERS.test(name) ? clear : sealed
      list.push({ name, value })
    }
  }
  if (sealed.length + clear.length > MAX_HEADERS)
    throw new SubrosaError('ERR_HEADER', `more than ${MAX_HEADERS} headers`)
  if (clear.length > 0 && clearBytes(clear) > MAX_CLEAR_HEADER_BYTES)
    throw new SubrosaError(
      'ERR_HEADER',
      `the headers that the server acts on take more than ${MAX_CLEAR_HEADER_BYTES} bytes`,
    )
  return { sealed, clear }
}

/**
 * Whether the server's headers on a delivered message are exactly those that the sender sealed. Clients read headers
 * when they are asked for, and throw where they are malformed: such ones are not those that were sealed.
 */
export function clearHeadersMatch(delivered: NatsMessage, sealed: readonly HeaderPair[]): boolean {
  try {
    const { headers } = delivered
    if (headers === undefined) return sealed.length === 0
    return isSame(serverHeaders(headers), sealed)
  } catch {
    return false
  }
}

/** What they take on the wire: the version, each with colon, space and line break, and an empty line. */
function clearBytes(clear: readonly HeaderPair[]): number {
  return clear.reduce(
    (bytes, { name, value }) => bytes + utf8(name).length + utf8(value).length + SEPARATOR_BYTES,
    VERSION_BYTES,
  )
}

const VERSION_BYTES = 'NATS/1.0\r\n\r\n'.length
const SEPARATOR_BYTES = ': \r\n'.length

function serverHeaders(headers: HeadersLike): readonly HeaderPair[] {
  const found: HeaderPair[] = []
  for (const [name, values] of headers) {
    if (SERVER_HEADERS.test(name)) for (const value of values) found.push({ name, value })
  }
  return found
}

function isSame(found: readonly HeaderPair[], sealed: readonly HeaderPair[]): boolean {
  if (found.length !== sealed.length) return false
  if (found.length === 0) return true
  const flat = (pairs: readonly HeaderPair[]) =>
    pairs.map(({ name, value }) => `${name.toLowerCase()}\0${value}`).sort()
  const inside = flat(sealed)
  return flat(found).every((header, i) => header === inside[i])
}

function checkHeader(name: string, value: string): void {
  if (!/^[\u0021-\u0039\u003b-\u007e]+$/.test(name))
    throw new SubrosaError('ERR_HEADER', 'a header name is not printable ASCII')
  if (value !== value.trim())
    throw new SubrosaError('ERR_HEADER', `the value of header ${name} begins or ends with white space`)
  if (utf8(value).length > MAX_HEADER_BYTES || utf8(name).length > MAX_HEADER_BYTES) {
    throw new SubrosaError('ERR_HEADER', `a header is longer than ${MAX_HEADER_BYTES} bytes`)
  }
  if (/[\r\n]/.test(value))
    throw new SubrosaError('ERR_HEADER', `the value of header ${name} has a line break`)
}

/**
 * The headers of a sealed message: NATS's reading methods over what was sealed and what travelled in clear and was
 * authenticated. It is a `MsgHdrs` of either client line. Names are matched exactly, as NATS does by default. SPEC,
 * "Publishing".
 *
 * @example
 * ```ts
 * for await (const m of bus.subscribe('orders.>')) console.log(m.headers?.get('X-Trace'))
 * ```
 */
export class MessageHeaders implements Iterable<[string, string[]]> {
  readonly #values = new Map<string, string[]>()

  /** @internal Made by the connection. A publish takes any iterable of names and values. */
  constructor(pairs: Iterable<HeaderPair> = []) {
    for (const { name, value } of pairs) this.#add(name, value)
  }

  /** Each name with its values, in the order in which they were set. */
  [Symbol.iterator](): IterableIterator<[string, string[]]> {
    return this.#values.entries()
  }

  /** The first value of this header, or an empty string. */
  get(name: string, match?: HeaderMatch): string {
    return this.#found(name, match)[0]?.[1][0] ?? ''
  }

  /** The last value of this header, or an empty string. */
  last(name: string, match?: HeaderMatch): string {
    return this.#found(name, match)[0]?.[1].at(-1) ?? ''
  }

  /** Every value of this header, in the order in which they were set. */
  values(name: string, match?: HeaderMatch): string[] {
    return this.#found(name, match).flatMap(([, values]) => values)
  }

  /** Whether there is a header of this name. */
  has(name: string, match?: HeaderMatch): boolean {
    return this.#found(name, match).length > 0
  }

  /** Every name. */
  keys(): string[] {
    return [...this.#values.keys()]
  }

  /** @throws SubrosaError ERR_HEADER for a name or value that NATS cannot carry */
  set(name: string, value: string, match?: HeaderMatch): void {
    checkHeader(name, value.trim())
    this.delete(name, match)
    this.append(name, value, match)
  }

  /** Adds a value, without the white space at its edges. @throws SubrosaError ERR_HEADER as {@link set} */
  append(name: string, value: string, match?: HeaderMatch): void {
    checkHeader(name, value.trim())
    const [known] = this.#found(name, match)
    const [key] = known ?? [isCanonical(match) ? canonical(name) : name]
    this.#add(key, value.trim())
  }

  /** Removes every value of this header. */
  delete(name: string, match?: HeaderMatch): void {
    for (const [key] of this.#found(name, match)) this.#values.delete(key)
  }

  /** Always `false`: what carries a status of the server is no sealed message. The four are there as in NATS. */
  get hasError(): boolean {
    return false
  }

  /** Always as without a status. */
  get status(): string {
    return '0'
  }

  /** Always 0. */
  get code(): number {
    return 0
  }

  /** Always empty. */
  get description(): string {
    return ''
  }

  /**
   * The bytes that a NATS client puts on the wire.
   *
   * @throws SubrosaError ERR_HEADER where a sender has sealed a name or value that would become another header there
   */
  encode(): Uint8Array {
    if (this.#values.size === 0) return new Uint8Array(0)
    let text = 'NATS/1.0\r\n'
    for (const [name, values] of this.#values) {
      for (const value of values) {
        checkHeader(name, value)
        text += `${name}: ${value}\r\n`
      }
    }
    return utf8(`${text}\r\n`)
  }

  #add(name: string, value: string): void {
    const known = this.#values.get(name)
    if (known === undefined) this.#values.set(name, [value])
    else known.push(value)
  }

  #found(name: string, match: HeaderMatch | undefined): readonly [string, string[]][] {
    if (match === undefined || match === 'exact' || match === 0 || isCanonical(match)) {
      const key = isCanonical(match) ? canonical(name) : name
      const values = this.#values.get(key)
      return values === undefined ? [] : [[key, values]]
    }
    const wanted = name.toLowerCase()
    return [...this.#values].filter(([key]) => key.toLowerCase() === wanted)
  }
}

function isCanonical(match: HeaderMatch | undefined): boolean {
  return match === 1 || match === 'canonical'
}

/** `x-trace-id` as `X-Trace-Id`. */
function canonical(name: string): string {
  return name.toLowerCase().replace(/(^|-)[a-z]/g, (start) => start.toUpperCase())
}
