import type { Socket } from 'node:net'
import { covers } from '../../../src/base/subject.ts'
import { type Direction, encodeOp, type NatsOp, type SubOp } from './nats-op.ts'
import { OpParser, type ParsedOp } from './op-parser.ts'

/** Who waits for a PONG: the side that sent the PING, or the line itself. */
type Awaiting = 'peer' | (() => void)

/** Subjects of which it is remembered whether the client may get them. */
const MAX_COVERAGE = 1024
const PING = encodeOp({ kind: 'PING' })

/** What a connection tells the line. */
interface Listener {
  readonly onOp: (direction: Direction, parsed: ParsedOp) => void
  readonly onError: (error: unknown) => void
}

/** One client's connection through the line: its socket, and the one to the server that belongs to it. */
export class LineConnection {
  /** Its number on this line, from 0, in the order of connecting. */
  readonly number: number
  readonly #sockets: Readonly<Record<Direction, Socket>>
  /** By the direction that the PONG will come from the far end of. */
  readonly #pongs: Readonly<Record<Direction, Awaiting[]>> = { 'to server': [], 'to client': [] }
  /** Whether an end was sent something that it has not been probed after. */
  readonly #isBehind: Record<Direction, boolean> = { 'to server': false, 'to client': false }
  readonly #subscriptions = new Map<string, SubOp>()
  /** Whether any of them covers a subject, for those that were asked about since one came or went. */
  readonly #coverage = new Map<string, boolean>()
  #name = ''
  #isReady = false
  #isClosed = false

  /** @internal Made by the line. */
  constructor(
    number: number,
    ends: { readonly client: Socket; readonly server: Socket },
    listener: Listener,
  ) {
    this.number = number
    this.#sockets = { 'to client': ends.client, 'to server': ends.server }
    this.#listen(ends.client, 'to server', listener)
    this.#listen(ends.server, 'to client', listener)
  }

  /** The client's own name, from its CONNECT; empty before that. */
  get name(): string {
    return this.#name
  }

  /** Whether the client has sent its CONNECT: before that neither end answers a PING. */
  get isReady(): boolean {
    return this.#isReady
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** What the client has subscribed to, by sid, as far as the line let it go on. */
  get subscriptions(): ReadonlyMap<string, SubOp> {
    return this.#subscriptions
  }

  /** Whether the client has subscribed to a subject. */
  mayGet(subject: string): boolean {
    const known = this.#coverage.get(subject)
    if (known !== undefined) return known
    if (this.#coverage.size >= MAX_COVERAGE) this.#coverage.clear()
    const isCovered = [...this.#subscriptions.values()].some(({ subject: pattern }) =>
      covers(pattern, subject),
    )
    this.#coverage.set(subject, isCovered)
    return isCovered
  }

  /** Sends an operation to one end, as the other end would. */
  send(direction: Direction, op: NatsOp, raw?: Buffer): void {
    if (this.#isClosed) return
    this.#note(direction, op)
    this.#isBehind[direction] = true
    this.#write(direction, raw ?? encodeOp(op))
  }

  /** Whether an end may not have read all that it was sent. */
  isBehind(direction: Direction): boolean {
    return this.#isBehind[direction]
  }

  /** The client may have something to say by itself. */
  expectMore(): void {
    this.#isBehind['to client'] = true
  }

  /** Resolves when one end has answered a PING of the line's own: it has then read all that was sent before. */
  probe(direction: Direction): Promise<void> {
    if (this.#isClosed) return Promise.resolve()
    this.#isBehind[direction] = false
    return new Promise((resolve) => {
      this.#pongs[direction].push(resolve)
      this.#write(direction, PING)
    })
  }

  /** Ends both sockets at once, as a broken network does. */
  cut(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const socket of Object.values(this.#sockets)) socket.destroy()
    for (const waiting of Object.values(this.#pongs))
      for (const awaiting of waiting.splice(0)) if (awaiting !== 'peer') awaiting()
  }

  /** What is written in one turn goes out together: a call into the kernel costs more than all else here. */
  #write(direction: Direction, bytes: Buffer): void {
    const socket = this.#sockets[direction]
    if (socket.writableCorked === 0) {
      socket.cork()
      queueMicrotask(() => socket.uncork())
    }
    socket.write(bytes)
  }

  #listen(socket: Socket, direction: Direction, { onOp, onError }: Listener): void {
    const parser = new OpParser()
    socket.setNoDelay(true)
    socket.on('data', (chunk) => {
      try {
        for (const parsed of parser.push(chunk)) {
          if (parsed.op.kind === 'PONG' && this.#isOwnPong(direction)) continue
          if (parsed.op.kind === 'CONNECT') this.#greet(parsed.op.json)
          onOp(direction, parsed)
        }
      } catch (error) {
        onError(error)
        this.cut()
      }
    })
    // Either end may go at any time; the other one goes with it.
    socket.on('error', () => this.cut())
    socket.on('close', () => this.cut())
  }

  #greet(json: string): void {
    const { name } = JSON.parse(json) as { readonly name?: unknown }
    this.#name = typeof name === 'string' ? name : ''
    this.#isReady = true
  }

  /** PONGs come in the order of the PINGs. @returns whether this one is for the line, which now has it */
  #isOwnPong(direction: Direction): boolean {
    const from: Direction = direction === 'to client' ? 'to server' : 'to client'
    const awaiting = this.#pongs[from].shift()
    if (awaiting === undefined || awaiting === 'peer') return false
    awaiting()
    return true
  }

  #note(direction: Direction, op: NatsOp): void {
    if (op.kind === 'PING') this.#pongs[direction].push('peer')
    if (op.kind === 'SUB') this.#subscriptions.set(op.sid, op)
    if (op.kind === 'UNSUB' && op.max === undefined) this.#subscriptions.delete(op.sid)
    if (op.kind === 'SUB' || op.kind === 'UNSUB') this.#coverage.clear()
  }
}
