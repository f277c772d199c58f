import { createHash } from 'node:crypto'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../../../src/base/clock.ts'
import { LineConnection } from './line-connection.ts'
import { type Direction, isMessage, type NatsOp } from './nats-op.ts'
import type { ParsedOp } from './op-parser.ts'
import { type Crossing, type MessageCrossing, pass, type Verdicts } from './verdicts.ts'

/** Decides what becomes of each operation that comes to the line. */
export type Rule = (crossing: Crossing, line: HostileLine) => Verdicts

/** Turns of the event loop in which a client of this process has said what it had left to say. */
const TURNS = 3
const LOOPBACK = '127.0.0.1'

/**
 * A hostile broker, or what one can do: a proxy between clients and a real nats-server that understands the protocol
 * in both directions. What happens is decided by a {@link Rule} for each operation; beyond that the line acts by
 * itself with {@link HostileLine.inject}. It draws no random numbers and knows no time but its clock's.
 *
 * @example
 * ```ts
 * const line = await HostileLine.start(server.port, { clock })
 * const nc = await connect({ servers: line.url, name: 'alice' })
 * line.rule = (crossing) => (crossing.connection.name === 'alice' && isMessage(crossing.op) ? drop() : pass(crossing))
 * ```
 */
export class HostileLine {
  /** Asked about each operation. Default: everything passes. */
  rule: Rule = pass
  /** Told of each operation that goes on, whoever made it. */
  onSend: (connection: LineConnection, direction: Direction, op: NatsOp) => void = () => {}
  /** What the line could not understand. A test that expects none looks here. */
  readonly errors: unknown[] = []
  readonly #listener: Server
  readonly #serverPort: number
  readonly #clock: Clock
  readonly #connections: LineConnection[] = []
  readonly #record: Crossing[] = []
  /** By a digest of the payload. */
  readonly #publishers = new Map<string, LineConnection>()
  readonly #delayed = new Map<() => void, () => void>()
  /** Subjects of what has gone to the server since the readers of such were last seen to have it. */
  readonly #published = new Set<string>()
  #settledLength = 0
  #settledSorted: readonly Crossing[] | undefined

  /** Starts to listen on a free port of the loopback interface. */
  static async start(serverPort: number, options: { readonly clock: Clock }): Promise<HostileLine> {
    const listener = createServer()
    const line = new HostileLine(listener, serverPort, options.clock)
    listener.on('connection', (client) => line.#accept(client))
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject)
      listener.listen(0, LOOPBACK, resolve)
    })
    return line
  }

  private constructor(listener: Server, serverPort: number, clock: Clock) {
    this.#listener = listener
    this.#serverPort = serverPort
    this.#clock = clock
  }

  /** Where clients connect to. */
  get url(): string {
    const address = this.#listener.address()
    if (address === null || typeof address === 'string') throw new Error('the line is closed')
    return `${LOOPBACK}:${address.port}`
  }

  /** Everything that has come to the line from either side, in order: what a broker that records has. */
  get record(): readonly Crossing[] {
    return this.#record
  }

  /** The connections that are open, in the order of connecting. */
  get connections(): readonly LineConnection[] {
    return this.#connections.filter(({ isClosed }) => !isClosed)
  }

  /**
   * What the record had when the line was last quiet, connection by connection: unlike the order in which a real server
   * serves its connections, this follows from what the clients did.
   */
  get settled(): readonly Crossing[] {
    if (this.#settledSorted === undefined) {
      const settled = this.#record.slice(0, this.#settledLength)
      this.#settledSorted = settled.sort(
        (a, b) => a.connection.number - b.connection.number || a.number - b.number,
      )
    }
    return this.#settledSorted
  }

  /** How many operations wait for their time. */
  get delayed(): number {
    return this.#delayed.size
  }

  /** The open connection of the client of this name. @throws Error when there is none */
  connection(name: string): LineConnection {
    const found = this.connections.findLast((connection) => connection.name === name)
    if (found === undefined) throw new Error(`no client called ${name} is on the line`)
    return found
  }

  /**
   * The connection on which the payload of a delivery was published, as it was first seen: what is sealed is there
   * only once. `undefined` for what no client has published.
   */
  publisherOf({ op }: Crossing): LineConnection | undefined {
    return isMessage(op) ? this.#publishers.get(digest(op.payload)) : undefined
  }

  /** Sends an operation of the line's own making, or one of the record again. No rule is asked. */
  inject(connection: LineConnection, direction: Direction, op: NatsOp): void {
    this.#send(connection, direction, op)
  }

  /** Lets everything go on at once that waits for its time, in the order in which it would have. */
  releaseDelayed(): void {
    for (const send of [...this.#delayed.keys()]) send()
  }

  /**
   * Resolves when nothing is under way any more: all that clients have published is through the server and read by
   * the clients that it was for, and so is all that they answered. What waits for its time does not count. The clients
   * must live in this process.
   *
   * @param speaking the names of the clients that may have begun to speak by themselves. Default: all.
   */
  async quiet(speaking?: ReadonlySet<string>): Promise<void> {
    for (const connection of this.#connections)
      if (speaking === undefined || speaking.has(connection.name)) connection.expectMore()
    while (this.#isBehind()) {
      await this.#catchUp('to client')
      const published = this.#takePublished()
      await this.#catchUp('to server')
      // What the server has taken in on one connection is on its way out on others.
      const readers = this.#ready().filter((connection) =>
        published.some((subject) => connection.mayGet(subject)),
      )
      await Promise.all(readers.map((connection) => connection.probe('to server')))
      // What a client says at the end of a turn comes after its PONG.
      for (let turn = 0; turn < TURNS && !this.#isBehind(); turn++) await nextTurn()
    }
    if (this.#settledLength !== this.#record.length) this.#settledSorted = undefined
    this.#settledLength = this.#record.length
  }

  /** Ends every connection, and what waits. */
  async close(): Promise<void> {
    for (const cancel of this.#delayed.values()) cancel()
    this.#delayed.clear()
    for (const connection of this.#connections) connection.cut()
    await new Promise((resolve) => this.#listener.close(resolve))
  }

  #ready(): LineConnection[] {
    return this.#connections.filter(({ isReady, isClosed }) => isReady && !isClosed)
  }

  /** The connections of which one end may not have read all yet. */
  #behind(direction: Direction): LineConnection[] {
    return this.#ready().filter((connection) => connection.isBehind(direction))
  }

  #isBehind(): boolean {
    if (this.#published.size > 0) return true
    return this.#behind('to client').length + this.#behind('to server').length > 0
  }

  async #catchUp(direction: Direction): Promise<void> {
    await Promise.all(this.#behind(direction).map((connection) => connection.probe(direction)))
  }

  #accept(client: Socket): void {
    const server = connect(this.#serverPort, LOOPBACK)
    const ends = { client, server }
    const connection = new LineConnection(this.#connections.length, ends, {
      onOp: (direction, parsed) => this.#take(connection, direction, parsed),
      onError: (error) => this.errors.push(error),
    })
    this.#connections.push(connection)
  }

  #take(connection: LineConnection, direction: Direction, { op, raw }: ParsedOp): void {
    const crossing = { number: this.#record.length, atMs: this.#clock.now(), connection, direction, op }
    this.#record.push(crossing)
    if (op.kind === 'PUB') this.#notePublisher(connection, op.payload)
    for (const { op: next, afterMs = 0, on = connection } of this.rule(crossing, this)) {
      const send = (): void => this.#send(on, direction, next, next === op ? raw : undefined)
      if (afterMs > 0) this.#later(afterMs, send)
      else send()
    }
  }

  #send(connection: LineConnection, direction: Direction, op: NatsOp, raw?: Buffer): void {
    if (op.kind === 'PUB' && direction === 'to server') this.#published.add(op.subject)
    this.onSend(connection, direction, op)
    connection.send(direction, op, raw)
  }

  #takePublished(): readonly string[] {
    const subjects = [...this.#published]
    this.#published.clear()
    return subjects
  }

  #notePublisher(connection: LineConnection, payload: Buffer): void {
    const key = digest(payload)
    if (!this.#publishers.has(key)) this.#publishers.set(key, connection)
  }

  #later(afterMs: number, send: () => void): void {
    const go = (): void => {
      this.#delayed.get(go)?.()
      this.#delayed.delete(go)
      send()
    }
    this.#delayed.set(go, this.#clock.after(afterMs, go))
  }
}

/** Whether any of these subjects comes to one of its subscriptions. A server's own answer comes before its PONG. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function digest(payload: Buffer): string {
  return createHash('sha1').update(payload).digest('base64')
}

/** A rule that is asked about messages alone: all else passes. */
export function forMessages(rule: (crossing: MessageCrossing, line: HostileLine) => Verdicts): Rule {
  return (crossing, line) => {
    const { op } = crossing
    return isMessage(op) ? rule({ ...crossing, op }, line) : pass(crossing)
  }
}
