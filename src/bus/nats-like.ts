/** The part of a NATS connection that is used, as both client lines have it. */
export interface NatsLike {
  readonly info?: NatsInfo
  publish(subject: string, payload?: Uint8Array, options?: NatsPublishOptions): void
  subscribe(subject: string, options?: NatsSubscribeOptions): NatsSubscription
  flush(): Promise<void>
  drain(): Promise<void>
  isClosed(): boolean
  // biome-ignore lint/suspicious/noConfusingVoidType: this is how the clients declare it
  closed(): Promise<void | Error>
  status(): AsyncIterable<{ readonly type: string }>
}

interface NatsInfo {
  readonly max_payload: number
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
}

export interface NatsMessage {
  readonly subject: string
  readonly reply?: string
  readonly data: Uint8Array
  readonly headers?: NatsHeaders
}

interface NatsHeaders extends Iterable<[string, string[]]> {
  readonly code: number
}
