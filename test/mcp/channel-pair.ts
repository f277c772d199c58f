import { copy } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { DEFAULT_MCP_HEARTBEAT_MS, DEFAULT_MCP_LEASE_MS, MCP_WINDOW_BYTES } from '../../src/base/limits.ts'
import { Channel, type ChannelOptions } from '../../src/mcp/session/channel.ts'
import { MCP_SESSION_BYTES, readMcpFrame } from '../../src/mcp/session/frames.ts'
import type { McpPeer } from '../../src/mcp/session/peer.ts'
import { ManualClock } from '../support/clock.ts'

const SESSION = new Uint8Array(MCP_SESSION_BYTES).fill(0x5a)

/** Frames on their way in one direction. */
export class Line {
  readonly frames: Uint8Array[] = []
  /** Bytes that were published so far. */
  bytes = 0
  largest = 0
  /** The longest frame that the server takes. */
  maxPayload = Number.POSITIVE_INFINITY
  /** What every publish fails with, once it is set. */
  failure: Error | undefined

  publish(frame: Uint8Array): void {
    if (this.failure !== undefined) throw this.failure
    if (frame.length > this.maxPayload) throw new SubrosaError('ERR_MESSAGE_TOO_LARGE', 'too large')
    this.bytes += frame.length
    this.largest = Math.max(this.largest, frame.length)
    this.frames.push(copy(frame))
  }
}

/** One side of a pair, with all that it was handed. */
export class Side {
  readonly channel: Channel
  readonly sent: Line
  readonly got: Uint8Array[] = []
  /** Each call of `closed`. */
  readonly closed: (Error | undefined)[] = []
  /** How often it has told its owner that it has ended. */
  ends = 0
  #gate: Promise<void> | undefined
  #open: () => void = () => {}

  constructor(sent: Line, options: Omit<ChannelOptions, 'publish' | 'onEnd'>) {
    this.sent = sent
    this.channel = new Channel({
      ...options,
      publish: (frame) => sent.publish(frame),
      onEnd: () => {
        this.ends++
      },
    })
  }

  /** Begins to read. */
  async open(): Promise<void> {
    await this.channel.open({
      message: (message) => {
        this.got.push(copy(message))
        return this.#gate
      },
      closed: (error) => this.closed.push(error),
    })
  }

  /** The message that is handed on next is not done with, and none after it. */
  stopReading(): void {
    this.#gate ??= new Promise((resolve) => {
      this.#open = resolve
    })
  }

  goOn(): void {
    this.#gate = undefined
    this.#open()
  }

  /** Hands it the frames that are on their way to it, or so many of them. */
  take(line: Line, count = line.frames.length): void {
    for (const bytes of line.frames.splice(0, count)) {
      const { number, frame } = readMcpFrame(bytes)
      this.channel.take(number, frame)
    }
  }

  /** What it says of how the session ended. */
  get error(): Error | undefined {
    return this.closed[0]
  }
}

export interface PairOptions {
  readonly maxMessage?: number
  readonly credit?: number
  readonly heartbeatMs?: number
  readonly leaseMs?: number
  /** Whether both read from the beginning. */
  readonly isOpen?: boolean
  /** Whether both know of the session. */
  readonly hasBegun?: boolean
}

/** Two ends of a session with nothing between them but what a test puts there. */
export class ChannelPair {
  readonly clock = new ManualClock()
  readonly toServer = new Line()
  readonly toClient = new Line()
  readonly client: Side
  readonly server: Side

  constructor({
    maxMessage = 10 * 1024 * 1024,
    credit = MCP_WINDOW_BYTES,
    heartbeatMs = DEFAULT_MCP_HEARTBEAT_MS,
    leaseMs = DEFAULT_MCP_LEASE_MS,
    isOpen = true,
    hasBegun = true,
  }: PairOptions = {}) {
    const { clock } = this
    const common = { clock, session: SESSION, credit, heartbeatMs, leaseMs }
    const options = { ...common, maxSent: maxMessage, maxReceived: maxMessage }
    this.client = new Side(this.toServer, { ...options, peer: peer('files') })
    this.server = new Side(this.toClient, { ...options, peer: peer('laptop') })
    for (const side of [this.client, this.server]) {
      if (isOpen) void side.open()
      if (hasBegun) side.channel.begin()
    }
  }

  /** Hands over everything in both directions, until nothing moves any more. */
  async flow(): Promise<void> {
    do {
      this.server.take(this.toServer)
      this.client.take(this.toClient)
      await turn()
    } while (this.toServer.frames.length + this.toClient.frames.length > 0)
  }

  /** Lets time pass in steps, and hands over what that makes the sides say. */
  async pass(ms: number, stepMs = 1000): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left))
      await this.flow()
    }
  }
}

/** Lets everything go on that waits for a promise. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function peer(name: string): McpPeer {
  return { name, instance: '00'.repeat(8), identity: 'U', expiresAt: 0 }
}
