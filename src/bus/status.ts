import type { OpenFailure } from '../envelope/open.ts'

/** Why something that arrived was not delivered. */
export type RejectReason =
  | OpenFailure
  | 'plaintext'
  | 'stale'
  | 'unknown sender'
  | 'revoked'
  | 'signature'
  | 'subject'
  | 'headers'
  | 'not permitted'
  | 'time'
  | 'replay'
  | 'not a response'
  | 'flood'

/** What a sealed connection reports. Events of the NATS connection underneath pass through as `nats`. */
export type StatusEvent =
  /** New keys of this instance are announced for this epoch. */
  | { readonly type: 'rotated'; readonly epoch: number }
  /** The keys of an ended epoch are wiped. */
  | { readonly type: 'destroyed'; readonly epoch: number }
  /** Something that arrived on a subject was not delivered. */
  | { readonly type: 'rejected'; readonly reason: RejectReason; readonly subject: string }
  /** No word from the rotation service for too long: nothing is sent and nothing is opened. */
  | { readonly type: 'stale' }
  | { readonly type: 'fresh' }
  /** An identity is not trusted any more. `self` where it is one's own. */
  | { readonly type: 'revoked'; readonly identity: string; readonly reason: string; readonly self: boolean }
  /** Two processes announced themselves as one instance. */
  | { readonly type: 'clone'; readonly name: string; readonly instance: string }
  /** The rotation service, or somebody in its place, named an epoch that cannot follow what was seen. */
  | { readonly type: 'rollback'; readonly message: string }
  /** A callback of the user's threw, or this agent's clock or version does not fit the realm any more. */
  | { readonly type: 'error'; readonly error: unknown }
  | { readonly type: 'nats'; readonly status: { readonly type: string } }

const MAX_UNREAD_EVENTS = 1024

/** Hands events to everyone who reads them. A reader that falls behind loses the oldest, never memory. */
export class StatusFeed {
  readonly #readers = new Set<Reader>()
  readonly #rejections = new Map<RejectReason, number>()

  emit(event: StatusEvent): void {
    if (event.type === 'rejected')
      this.#rejections.set(event.reason, (this.#rejections.get(event.reason) ?? 0) + 1)
    for (const reader of this.#readers) reader.push(event)
  }

  /** How many arrivals were rejected, by reason. */
  rejections(): Readonly<Partial<Record<RejectReason, number>>> {
    return Object.fromEntries(this.#rejections)
  }

  /** Events from now on. */
  read(): AsyncIterableIterator<StatusEvent> {
    const reader = new Reader(() => this.#readers.delete(reader))
    this.#readers.add(reader)
    return reader
  }

  close(): void {
    for (const reader of this.#readers) void reader.return()
  }
}

class Reader implements AsyncIterableIterator<StatusEvent> {
  readonly #unread: StatusEvent[] = []
  readonly #onClose: () => void
  #waiting: ((result: IteratorResult<StatusEvent>) => void) | undefined
  #closed = false

  constructor(onClose: () => void) {
    this.#onClose = onClose
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  push(event: StatusEvent): void {
    if (this.#waiting !== undefined) {
      const waiting = this.#waiting
      this.#waiting = undefined
      waiting({ value: event, done: false })
      return
    }
    this.#unread.push(event)
    if (this.#unread.length > MAX_UNREAD_EVENTS) this.#unread.shift()
  }

  async next(): Promise<IteratorResult<StatusEvent>> {
    const event = this.#unread.shift()
    if (event !== undefined) return { value: event, done: false }
    if (this.#closed) return { value: undefined, done: true }
    return new Promise((resolve) => {
      this.#waiting = resolve
    })
  }

  async return(): Promise<IteratorResult<StatusEvent>> {
    this.#closed = true
    this.#onClose()
    this.#waiting?.({ value: undefined, done: true })
    return { value: undefined, done: true }
  }
}
