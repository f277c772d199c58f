import { hex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MCP_DRAIN_MS, MCP_HEARTBEATS_MISSED } from '../../base/limits.ts'
import { endSink, type MessagePipe, type PipeSink } from '../pipes/pipe.ts'
import { encodeMcpFrame, McpEnd, type McpFrame } from './frames.ts'
import { Incoming } from './incoming.ts'
import { Outgoing } from './outgoing.ts'
import type { McpPeer } from './peer.ts'

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

/** What each reason means to whom the other side gives it. */
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
  /** The other side has ended it: what came before is handed on first. */
  #isDraining = false
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
      onError: (cause) => {
        this.end(McpEnd.failed, sessionEnded('handing on a message has failed', cause))
        this.#finish()
      },
    })
    this.#sentAt = this.#heardAt = clock.monotonic()
    this.#cancelLease = clock.after(leaseMs, () => this.end(McpEnd.expired))
  }

  /** Whether it has ended, at either side. What came before may still be handed on. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Gives signs of life from now on, and expects them: both sides know of the session. */
  begin(): void {
    if (this.#isOver) return
    this.#heardAt = this.#options.clock.monotonic()
    this.#scheduleHeartbeat()
  }

  /** Begins to hand on what comes: until then it waits. */
  async open(sink: PipeSink): Promise<void> {
    this.#sink = sink
    if (this.#isOver && !this.#isDraining) return this.#finish()
    this.#incoming.start(sink.message)
    if (this.#isDraining) this.#drain()
  }

  /**
   * Sends a message after all that were sent before, and resolves when it has gone.
   *
   * @throws SubrosaError ERR_MESSAGE_TOO_LARGE: the session goes on; ERR_MCP_ENDED, ERR_CLOSED after the end
   */
  async send(message: Uint8Array): Promise<void> {
    if (this.#isOver) throw this.#error ?? sessionClosed()
    this.#outgoing.assertFits(message)
    if (this.#outgoing.isFullFor(message)) {
      this.end(McpEnd.limit, sessionEnded('the other side does not read what is sent to it'))
      throw this.#error ?? sessionClosed()
    }
    try {
      await this.#outgoing.send(message)
    } catch (error) {
      this.fail(error)
      throw this.#error ?? error
    }
  }

  async close(error?: Error): Promise<void> {
    if (error === undefined) this.end(McpEnd.closed)
    else this.end(McpEnd.failed, sessionEnded(error.message, error))
    // Where the other side was first, nobody waits here any more for what came before.
    this.#isDraining = false
    this.#finish()
  }

  /** Ends it with `error`, and tells the other side the reason where that is possible. */
  end(reason: McpEnd, error = endedFor(reason)): void {
    if (this.#isOver) return
    try {
      this.#publish({ kind: 'end', reason })
    } catch {
      // It ends all the same, and the other side hears nothing more.
    }
    this.#stop(error)
    this.#finish()
  }

  /** Ends it where nothing can be sealed to the other side any more, and so it cannot be told. */
  fail(cause: unknown): void {
    if (this.#isOver) return
    this.#stop(sessionEnded('nothing can be sent to the other side', cause))
    this.#finish()
  }

  /** Takes the frame of this number, where it makes sense. The bus has proved that it is of the other end. */
  take(number: number, frame: McpFrame | undefined): void {
    if (this.#isOver) return
    // Who knows nothing of the session cannot number it.
    if (frame?.kind === 'end' && frame.reason === McpEnd.unknown) return this.#endedByPeer(frame.reason)
    if (number !== this.#nextIn) return this.end(McpEnd.lost)
    if (frame === undefined) return this.end(McpEnd.malformed)
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
      this.fail(error)
      return true
    }
  }

  #endedByPeer(reason: McpEnd): void {
    this.#stop(endedFor(reason))
    this.#isDraining = true
    if (this.#sink !== undefined) this.#drain()
  }

  /** Hands on what came before the end, to somebody who may have stopped to read. */
  #drain(): void {
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
    if (this.#isOver) return
    try {
      this.#publish(frame)
    } catch (error) {
      this.fail(error)
    }
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
    endSink(sink, this.#error)
  }
}

/** `undefined` for an end on purpose. */
function endedFor(reason: McpEnd): SubrosaError | undefined {
  return reason === McpEnd.closed ? undefined : sessionEnded(MEANINGS[reason])
}

/** The error of a session that has ended. Errors of others may quote messages: what they say is not repeated. */
export function sessionEnded(why: string, cause?: unknown): SubrosaError {
  return new SubrosaError('ERR_MCP_ENDED', `the MCP session has ended: ${why}`, {
    cause,
    ...(cause instanceof SubrosaError && { hint: cause.message }),
  })
}

function sessionClosed(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'this MCP session is closed')
}
