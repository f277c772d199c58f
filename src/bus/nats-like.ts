import { SubrosaError } from '../base/errors.ts'

/**
 * The part of a NATS connection that is used, as both client lines have it: `NatsConnection` of `nats` 2.29 and of
 * `@nats-io/*` 3.4, over TCP or WebSocket.
 *
 * @example
 * ```ts
 * import { wsconnect } from '@nats-io/nats-core'
 *
 * const nc: NatsLike = await wsconnect({ servers: 'wss://localhost:8443' })
 * ```
 */
export interface NatsLike {
  readonly info?: NatsInfo
  publish(subject: string, payload?: Uint8Array, options?: NatsPublishOptions): void
  subscribe(subject: string, options?: NatsSubscribeOptions): NatsSubscription
  flush(): Promise<void>
  drain(): Promise<void>
  reconnect(): Promise<void>
  rtt(): Promise<number>
  stats(): NatsStats
  getServer(): string
  isClosed(): boolean
  isDraining(): boolean
  // biome-ignore lint/suspicious/noConfusingVoidType: this is how the clients declare it
  closed(): Promise<void | Error>
  status(): AsyncIterable<{ readonly type: string }>
}

interface NatsInfo {
  readonly max_payload: number
}

interface NatsStats {
  readonly inBytes: number
  readonly outBytes: number
  readonly inMsgs: number
  readonly outMsgs: number
}

/** Only what `publish` asks of headers: their bytes. The type that the client declares is its own. */
interface NatsPublishOptions {
  reply?: string
  // biome-ignore lint/suspicious/noExplicitAny: the clients declare their own header class here
  headers?: any
}

interface NatsSubscribeOptions {
  queue?: string
  // biome-ignore lint/suspicious/noConfusingVoidType: this is how the clients declare it
  callback?: (error: Error | null, message: NatsMessage) => void | Promise<never>
}

export interface NatsSubscription {
  // biome-ignore lint/suspicious/noConfusingVoidType: this is how the clients declare it
  readonly closed: Promise<void | Error>
  unsubscribe(): void
  drain(): Promise<void>
  getID(): number
}

export interface NatsMessage {
  readonly subject: string
  readonly sid: number
  readonly reply?: string
  readonly data: Uint8Array
  /** Parsed anew when they are asked for, which takes a time that grows with the square of their number. */
  readonly headers?: NatsHeaders
  /** Bytes of subject, reply subject, headers and data. Both clients have it, and declare it nowhere. */
  size?(): number
}

interface NatsHeaders extends Iterable<[string, string[]]> {
  readonly code: number
}

const METHODS = [
  'publish',
  'subscribe',
  'flush',
  'drain',
  'reconnect',
  'rtt',
  'stats',
  'getServer',
  'isClosed',
  'isDraining',
  'closed',
  'status',
] as const satisfies readonly (keyof NatsLike)[]

const WHAT_FITS =
  'pass what connect() of @nats-io/transport-node or of nats resolves with, or wsconnect() of @nats-io/nats-core'

/**
 * Checks that a value is an open connection of either client line.
 *
 * @throws TypeError that says what it is instead, SubrosaError ERR_CONNECTION when it is closed or draining
 */
export function assertConnection(nc: NatsLike): void {
  const given: unknown = nc
  if (typeof given !== 'object' || given === null)
    throw new TypeError(
      `nc must be a NATS connection, and is ${given === null ? 'null' : typeof given}: ${WHAT_FITS}`,
    )
  if ('then' in given && typeof given.then === 'function')
    throw new TypeError('nc must be a NATS connection, and is a promise: await what connect() returns')
  const missing = METHODS.find((method) => typeof (given as Record<string, unknown>)[method] !== 'function')
  if (missing !== undefined)
    throw new TypeError(`nc must be a NATS connection, and has no method ${missing}(): ${WHAT_FITS}`)
  const isClosed: unknown = nc.isClosed()
  if (typeof isClosed !== 'boolean')
    throw new TypeError(`nc must be a NATS connection, and does not know whether it is closed: ${WHAT_FITS}`)
  if (isClosed) throw new SubrosaError('ERR_CONNECTION', 'the NATS connection is closed')
  if (nc.isDraining()) throw new SubrosaError('ERR_CONNECTION', 'the NATS connection is draining')
}

/** The prefix of reply subjects that a connection was made with, where the client tells it. */
export function inboxPrefixOf(nc: NatsLike): string | undefined {
  const { options } = nc as { readonly options?: { readonly inboxPrefix?: unknown } }
  return typeof options?.inboxPrefix === 'string' ? options.inboxPrefix : undefined
}
