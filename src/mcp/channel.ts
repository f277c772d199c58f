import { hex } from '../bytes.ts'
import type { Clock } from '../clock.ts'
import { SubrosaError } from '../errors.ts'
import { MCP_DRAIN_MS, MCP_HEARTBEATS_MISSED } from '../limits.ts'
import { encodeMcpFrame, McpEnd, type McpFrame } from '../wire/mcp.ts'
import { Incoming } from './incoming.ts'
import { Outgoing } from './outgoing.ts'
import type { McpPeer } from './peer.ts'
import type { MessagePipe, PipeSink } from './pipe.ts'

/** What one end of a session is made of. */
export interface ChannelOptions {
  readonly clock: Clock
  readonly session: Uint8Array
  /** Who is at the other end. */
  readonly peer: McpPeer
  /** Seals one frame to that instance alone, and publishes it. */
  readonly publish: (frame: Uint8Array) => void
  /** Bytes of frames with content that the other side takes at the beginning. */
  readonly credit: number
  /** The longest message that the other side takes. */
  readonly maxSent: number
  /** The longest message that this side takes. */
  readonly maxReceived: number
  readonly heartbeatMs: number
  readonly leaseMs: number
  /** Called once, when it has ended. */
  readonly onEnd: () => void
}

/** What each reason means to who reads it. */
const MEANINGS: Readonly<Record<Exclude<McpEnd, typeof McpEnd.closed>, string>> = {
  [McpEnd.lost]: 'a frame was lost, repeated or out of order',
  [McpEnd.limit]: 'more was sent than was allowed',
  [McpEnd.expired]: 'its time is over',
  [McpEnd.silent]: 'nothing was heard from the other side',
  [McpEnd.malformed]: 'a frame made no sense',
  [McpEnd.unknown]: 'the other side knows no such session',
  [McpEnd.failed]: 'what stands behind the other side has failed',
}

/**
 * One end of a session between an MCP client and one instance of a server: SPEC, "MCP". Frames are sealed to the other
 * end alone, by the mode `channel`, and numbered. What does not come in order, each frame once, ends the session:
 * nothing is repaired, and nothing is sent again.
 */
export class Channel implements MessagePipe {
  readonly peer: McpPeer
  /** The session's id, in hexadecimal. */
  readonly id: string
  readonly #options: ChannelOptions
  readonly #outgoing: Outgoing
  readonly #incoming: Incoming
  readonly #cancelLease: () => void
  #cancelHeartbeat: () => void = () => {}
  #sink: PipeSink | undefined
  #nextOut = 0
  #nextIn = 0
  #sentAt: number
  #heardAt: number
  #isOver = false
  #error: Error | undefined
  #isFinished = false

  constructor(options: ChannelOptions) {
    const { clock, credit, maxSent, maxReceived, leaseMs, peer } = options
    this.peer = peer
    this.id = hex(options.session)
    this.#options = options
    this.#outgoing = new Outgoing({
      publish: (frame) => this.#publish(frame),
      credit,
      maxMessage: maxSent,
    })
    this.#incoming = new Incoming({
      maxMessage: maxReceived,
      grant: (limit) => this.#tell({ kind: 'credit', limit }),
      onError: (error) => this.end(McpEnd.failed, error),
    })
    this.#sentAt = this.#heardAt = clock.monotonic()
    this.#cancelLease = clock.after(leaseMs, () => this.end(McpEnd.expired))
    this.#scheduleHeartbeat()
  }

  /** Begins to hand on what comes: until then it waits. */
  async open(sink: PipeSink): Promise<void> {
    this.#sink = sink
    this.#incoming.start(sink.message)
    if (this.#isOver) this.#finish()
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#isOver) throw this.#error ?? sessionClosed()
    try {
      await this.#outgoing.send(message)
    } catch (error) {
      // What is too long is the sender's own fault, and the session goes on.
      if (!(error instanceof SubrosaError && error.code === 'ERR_MESSAGE_TOO_LARGE')) this.#fail(error)
      throw error
    }
  }

  async close(): Promise<void> {
    this.end(McpEnd.closed)
  }

  /** Ends it, and tells the other side why where that is possible. */
  end(reason: McpEnd, cause?: unknown): void {
    if (this.#isOver) return
    try {
      this.#publish({ kind: 'end', reason })
    } catch {
      // It ends all the same, and the other side hears nothing more.
    }
    this.#stop(reason === McpEnd.closed ? undefined : sessionEnded(reason, cause))
    this.#finish()
  }

  /** Takes the frame that this number stands on. The bus has proved that it is of the other end. */
  take(number: number, frame: McpFrame): void {
    if (this.#isOver) return
    if (number !== this.#nextIn) return this.end(McpEnd.lost)
    this.#nextIn++
    this.#heardAt = this.#options.clock.monotonic()
    switch (frame.kind) {
      case 'credit':
        if (!this.#allow(frame.limit)) this.end(McpEnd.malformed)
        return
      case 'heartbeat':
        return
      case 'end':
        return this.#endedByPeer(frame.reason)
      default: {
        const reason = this.#incoming.add(frame)
        if (reason !== undefined) this.end(reason)
      }
    }
  }

  #allow(limit: number): boolean {
    try {
      return this.#outgoing.allow(limit)
    } catch (error) {
      this.#fail(error)
      return true
    }
  }

  #endedByPeer(reason: McpEnd): void {
    this.#stop(reason === McpEnd.closed ? undefined : sessionEnded(reason))
    if (reason !== McpEnd.closed) return this.#finish()
    // What came before a regular end is handed on first, by somebody who may have stopped to read.
    const cancel = this.#options.clock.after(MCP_DRAIN_MS, () => this.#finish())
    this.#incoming.whenIdle(() => {
      cancel()
      this.#finish()
    })
  }

  #publish(frame: McpFrame): void {
    const { session, publish, clock } = this.#options
    publish(encodeMcpFrame({ session, number: this.#nextOut }, frame))
    this.#nextOut++
    this.#sentAt = clock.monotonic()
  }

  /** Publishes what is no message of anybody's: where it cannot go, the session is over. */
  #tell(frame: McpFrame): void {
    try {
      this.#publish(frame)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Nothing can be sealed to the other end any more, and so it cannot be told. */
  #fail(cause: unknown): void {
    if (this.#isOver) return
    this.#stop(
      new SubrosaError('ERR_MCP_ENDED', 'the MCP session has ended: nothing can be sent to the other side', {
        cause,
        ...hintOf(cause),
      }),
    )
    this.#finish()
  }

  #scheduleHeartbeat(): void {
    const { clock, heartbeatMs } = this.#options
    this.#cancelHeartbeat = clock.after(heartbeatMs / 2, () => {
      const now = clock.monotonic()
      if (now - this.#heardAt > heartbeatMs * MCP_HEARTBEATS_MISSED) return this.end(McpEnd.silent)
      if (now - this.#sentAt >= heartbeatMs / 2) this.#tell({ kind: 'heartbeat' })
      if (!this.#isOver) this.#scheduleHeartbeat()
    })
  }

  #stop(error: Error | undefined): void {
    this.#isOver = true
    this.#error = error
    this.#cancelLease()
    this.#cancelHeartbeat()
    this.#outgoing.fail(error ?? sessionClosed())
    this.#options.onEnd()
  }

  #finish(): void {
    const sink = this.#sink
    if (this.#isFinished || sink === undefined) return
    this.#isFinished = true
    this.#incoming.stop()
    sink.closed(this.#error)
  }
}

function sessionEnded(reason: Exclude<McpEnd, typeof McpEnd.closed>, cause?: unknown): SubrosaError {
  return new SubrosaError('ERR_MCP_ENDED', `the MCP session has ended: ${MEANINGS[reason]}`, { cause })
}

function sessionClosed(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'this MCP session is closed')
}

function hintOf(error: unknown): { readonly hint?: string } {
  if (!(error instanceof Error)) return {}
  return { hint: error.message }
}
