import type { Clock } from '../../dist/base/clock.js'
import type { NatsLike, NatsMessage, NatsSubscription } from '../../dist/bus/nats-like.js'

/** Messages on the line, and their bytes there. */
interface Traffic {
  readonly messages: number
  readonly bytes: number
}

/** What has passed between the connections of one group and the broker, by the kind of the message. */
export interface GroupTraffic {
  /** From them to the broker: `PUB` lines with what follows. */
  readonly sent: ReadonlyMap<string, Traffic>
  /** From the broker to them, all together: `MSG` lines with what follows. */
  readonly received: ReadonlyMap<string, Traffic>
}

/** Whether a message of a kind is lost on its way to a connection of a group. */
export type Losses = (to: { readonly group: string; readonly kind: string }) => boolean

/** What a line is made of. */
export interface MemoryLineOptions {
  readonly clock: Pick<Clock, 'after'>
  /** From a publisher by way of the broker to a subscriber, in ms. */
  readonly latencyMs: number
  /** As what a message is counted. */
  readonly kindOf: (subject: string, payload: Uint8Array) => string
}

type Callback = (error: Error | null, message: NatsMessage) => void

const MAX_PAYLOAD = 1024 * 1024
const CRLF_BYTES = 2
const NOTHING = new Uint8Array(0)
const nothingIsLost: Losses = () => false

/**
 * A broker in memory: what is published reaches whoever has subscribed, in order, after the same time for everything. It counts what
 * NATS would put on the line for it: verbs, subjects, reply subjects, subscription ids, sizes, payloads and line ends. The pings by
 * which a client and its server know that the other one lives are not among that, nor are `SUB` and `CONNECT`, which come once.
 *
 * It has no queue groups and no headers, and says so where somebody asks for them; and it tells nobody that nobody listens.
 *
 * @example
 * ```ts
 * const line = new MemoryLine({ clock, latencyMs: 1, kindOf: (subject) => subject })
 * line.connect('agents').subscribe('orders.*', { callback: (_error, { data }) => console.log(data) })
 * line.connect('services').publish('orders.new', bytes)
 * await clock.run(1)
 * ```
 */
export class MemoryLine {
  readonly #options: MemoryLineOptions
  readonly #groups = new Map<string, GroupCount>()
  /** Of subjects without wildcards. */
  readonly #bySubject = new Map<string, Set<Subscriber>>()
  readonly #byPattern = new Map<
    string,
    { readonly tokens: readonly string[]; readonly all: Set<Subscriber> }
  >()
  #losses = nothingIsLost

  constructor(options: MemoryLineOptions) {
    this.#options = options
  }

  /** A connection to the broker. @param group with whose traffic its own is counted */
  connect(group: string): MemoryConnection {
    const { clock, latencyMs } = this.#options
    const counted = this.#groups.get(group) ?? new GroupCount(group)
    this.#groups.set(group, counted)
    return new MemoryConnection(counted, {
      clock,
      latencyMs,
      send: (message) => this.#send(message, counted),
      add: (pattern, subscriber) => this.#add(pattern, subscriber),
    })
  }

  /** From now on messages are lost as this says. Default: none are. */
  lose(losses: Losses = nothingIsLost): void {
    this.#losses = losses
  }

  /** What a group has sent and received since it was counted last. */
  traffic(group: string): GroupTraffic {
    const counted = this.#groups.get(group)
    return { sent: counted?.sent.copy() ?? new Map(), received: counted?.received.copy() ?? new Map() }
  }

  /** Counts from zero. */
  reset(): void {
    for (const { sent, received } of this.#groups.values()) {
      sent.clear()
      received.clear()
    }
  }

  #send(message: Sent, from: GroupCount): void {
    const { clock, latencyMs, kindOf } = this.#options
    const kind = kindOf(message.subject, message.data)
    from.sent.add(kind, message.pubBytes)
    clock.after(latencyMs, () => this.#deliver(message, kind))
  }

  #deliver(message: Sent, kind: string): void {
    for (const subscriber of this.#subscribersOf(message.subject)) {
      const { group } = subscriber
      if (!subscriber.isOpen || this.#losses({ group: group.name, kind })) continue
      group.received.add(kind, message.msgBytes(subscriber.sid))
      subscriber.take(message)
    }
  }

  /** Those of now: whoever subscribes while a message is delivered does not get that one. */
  #subscribersOf(subject: string): readonly Subscriber[] {
    const found = [...(this.#bySubject.get(subject) ?? [])]
    const tokens = subject.split('.')
    for (const pattern of this.#byPattern.values())
      if (matches(pattern.tokens, tokens)) found.push(...pattern.all)
    return found
  }

  /** @returns how to remove it */
  #add(pattern: string, subscriber: Subscriber): () => void {
    const tokens = pattern.split('.')
    const isLiteral = !tokens.some((token) => token === '*' || token === '>')
    const all = (isLiteral ? this.#bySubject.get(pattern) : this.#byPattern.get(pattern)?.all) ?? new Set()
    if (isLiteral) this.#bySubject.set(pattern, all)
    else this.#byPattern.set(pattern, { tokens, all })
    all.add(subscriber)
    return () => {
      all.delete(subscriber)
      if (all.size > 0) return
      if (isLiteral) this.#bySubject.delete(pattern)
      else this.#byPattern.delete(pattern)
    }
  }
}

/** What a connection has of its line. */
interface Way {
  readonly clock: Pick<Clock, 'after'>
  readonly latencyMs: number
  readonly send: (message: Sent) => void
  readonly add: (pattern: string, subscriber: Subscriber) => () => void
}

/** One connection to a {@link MemoryLine}. */
export class MemoryConnection implements NatsLike {
  readonly info = { max_payload: MAX_PAYLOAD }
  readonly #group: GroupCount
  readonly #way: Way
  readonly #subscribers = new Set<Subscriber>()
  readonly #closed: Promise<void>
  #resolveClosed: () => void = () => {}
  #isClosed = false
  #lastSid = 0
  #in = { messages: 0, bytes: 0 }
  #out = { messages: 0, bytes: 0 }

  /** @internal Use {@link MemoryLine.connect}. */
  constructor(group: GroupCount, way: Way) {
    this.#group = group
    this.#way = way
    this.#closed = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
  }

  publish(
    subject: string,
    payload: Uint8Array = NOTHING,
    { reply, headers }: { readonly reply?: string; readonly headers?: unknown } = {},
  ): void {
    if (this.#isClosed) throw new Error('the connection is closed')
    if (headers !== undefined) throw new TypeError('the memory line carries no headers')
    if (payload.length > MAX_PAYLOAD) throw new RangeError('the payload is longer than max_payload')
    // What was passed is the publisher's again when the call returns. The line's own is shared by all who receive it.
    const message = new Sent(subject, payload.slice(), reply)
    count(this.#out, message.pubBytes)
    this.#way.send(message)
  }

  subscribe(
    pattern: string,
    { queue, callback }: { readonly queue?: string; readonly callback?: Callback } = {},
  ): NatsSubscription {
    if (this.#isClosed) throw new Error('the connection is closed')
    if (queue !== undefined) throw new TypeError('the memory line has no queue groups')
    if (callback === undefined) throw new TypeError('the memory line delivers to callbacks alone')
    const subscriber: Subscriber = new Subscriber(++this.#lastSid, this.#group, (message) => {
      count(this.#in, message.msgBytes(subscriber.sid))
      callback(null, new Received(message, subscriber.sid))
    })
    const remove = this.#way.add(pattern, subscriber)
    subscriber.onEnd = () => {
      remove()
      this.#subscribers.delete(subscriber)
    }
    this.#subscribers.add(subscriber)
    return subscriber
  }

  /** Resolves when all that was published before has been delivered. */
  flush(): Promise<void> {
    return new Promise((resolve) => this.#way.clock.after(this.#way.latencyMs, resolve))
  }

  async drain(): Promise<void> {
    await this.flush()
    this.close()
  }

  close(): void {
    this.#isClosed = true
    for (const subscriber of this.#subscribers) subscriber.unsubscribe()
    this.#resolveClosed()
  }

  async reconnect(): Promise<void> {}

  async rtt(): Promise<number> {
    await this.flush()
    return this.#way.latencyMs
  }

  stats(): ReturnType<NatsLike['stats']> {
    const { messages: inMsgs, bytes: inBytes } = this.#in
    const { messages: outMsgs, bytes: outBytes } = this.#out
    return { inMsgs, inBytes, outMsgs, outBytes }
  }

  getServer(): string {
    return 'memory'
  }

  isClosed(): boolean {
    return this.#isClosed
  }

  isDraining(): boolean {
    return false
  }

  closed(): Promise<void> {
    return this.#closed
  }

  /** Nothing ever happens to it: it ends with the connection. */
  status(): AsyncIterable<{ readonly type: string }> {
    const next = async (): Promise<IteratorResult<{ readonly type: string }>> => {
      await this.#closed
      return { done: true, value: undefined }
    }
    return { [Symbol.asyncIterator]: () => ({ next }) }
  }
}

/** Where messages go that come for one subscription. */
class Subscriber implements NatsSubscription {
  readonly sid: number
  readonly group: GroupCount
  readonly take: (message: Sent) => void
  onEnd: () => void = () => {}
  #isOpen = true
  #resolveClosed: () => void = () => {}

  constructor(sid: number, group: GroupCount, take: (message: Sent) => void) {
    this.sid = sid
    this.group = group
    this.take = take
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  get closed(): Promise<void> {
    if (!this.#isOpen) return Promise.resolve()
    return new Promise((resolve) => {
      const before = this.#resolveClosed
      this.#resolveClosed = () => {
        before()
        resolve()
      }
    })
  }

  unsubscribe(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.onEnd()
    this.#resolveClosed()
  }

  async drain(): Promise<void> {
    this.unsubscribe()
  }

  getID(): number {
    return this.sid
  }
}

/** A message on its way, and its bytes on the line. */
class Sent {
  readonly subject: string
  readonly data: Uint8Array
  readonly reply: string | undefined
  /** Of subject and reply subject. */
  readonly subjectBytes: number
  readonly pubBytes: number

  constructor(subject: string, data: Uint8Array, reply: string | undefined) {
    this.subject = subject
    this.data = data
    this.reply = reply
    this.subjectBytes = Buffer.byteLength(subject) + (reply === undefined ? 0 : Buffer.byteLength(reply))
    // PUB <subject> [reply] <size>\r\n<payload>\r\n
    this.pubBytes = this.#lineBytes(2 + (reply === undefined ? 0 : 1))
  }

  /** MSG <subject> <sid> [reply] <size>\r\n<payload>\r\n */
  msgBytes(sid: number): number {
    return this.#lineBytes(3 + (this.reply === undefined ? 0 : 1)) + digitsOf(sid)
  }

  /** @param spaces in the line, one before each thing that follows its verb of three letters */
  #lineBytes(spaces: number): number {
    const size = this.data.length
    return 3 + spaces + this.subjectBytes + digitsOf(size) + CRLF_BYTES + size + CRLF_BYTES
  }
}

/** A message as a callback gets it. */
class Received implements NatsMessage {
  readonly subject: string
  readonly sid: number
  readonly reply?: string
  readonly data: Uint8Array
  readonly #bytes: number

  constructor({ subject, data, reply, subjectBytes }: Sent, sid: number) {
    this.subject = subject
    this.sid = sid
    if (reply !== undefined) this.reply = reply
    this.data = data
    this.#bytes = subjectBytes + data.length
  }

  size(): number {
    return this.#bytes
  }
}

/** Traffic by kinds. */
class KindCount {
  readonly #all = new Map<string, { messages: number; bytes: number }>()

  add(kind: string, bytes: number): void {
    const traffic = this.#all.get(kind)
    if (traffic === undefined) this.#all.set(kind, { messages: 1, bytes })
    else count(traffic, bytes)
  }

  copy(): ReadonlyMap<string, Traffic> {
    return new Map([...this.#all].map(([kind, traffic]) => [kind, { ...traffic }]))
  }

  clear(): void {
    this.#all.clear()
  }
}

class GroupCount {
  readonly sent = new KindCount()
  readonly received = new KindCount()
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

function count(traffic: { messages: number; bytes: number }, bytes: number): void {
  traffic.messages++
  traffic.bytes += bytes
}

function digitsOf(value: number): number {
  return `${value}`.length
}

function matches(pattern: readonly string[], subject: readonly string[]): boolean {
  for (const [i, wanted] of pattern.entries()) {
    if (wanted === '>') return i < subject.length
    const token = subject[i]
    if (token === undefined || (wanted !== '*' && wanted !== token)) return false
  }
  return pattern.length === subject.length
}
