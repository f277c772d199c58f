import { hex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  DEFAULT_MCP_HEARTBEAT_MS,
  DEFAULT_MCP_LEASE_MS,
  DEFAULT_MCP_MESSAGE_BYTES,
  DEFAULT_MCP_SESSIONS,
  MAX_MCP_MESSAGE_BYTES,
  MAX_MCP_REASON_BYTES,
  MAX_MCP_SESSIONS_PER_AGENT,
  MAX_MCP_TIME_MS,
  MCP_WINDOW_BYTES,
} from '../../base/limits.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import type { SecureSubscription } from '../../bus/messages/subscription.ts'
import { Channel, sessionEnded } from './channel.ts'
import { assertTaken, Channels } from './channels.ts'
import { assertCount } from './count.ts'
import {
  decodeMcpOpening,
  encodeMcpAnswer,
  encodeMcpPresence,
  type McpAnswer,
  McpEnd,
  type McpOpening,
} from './frames.ts'
import { addressOf, type McpPeer, peerOf } from './peer.ts'
import { mcpSubjects } from './subjects.ts'

/** The queue group of the replicas of one server. */
const REPLICAS = 'mcp'

/** How sessions are taken. */
export interface ListenOptions {
  /** Whether this agent may open a session. Default: every one that may publish to the server. */
  readonly admits?: (peer: McpPeer) => boolean
  /** Sessions at once. Default 64, of which one agent gets 32. */
  readonly maxSessions?: number
  /** The longest message that is taken, in bytes. Default 10 MiB. */
  readonly maxMessage?: number
  /** Milliseconds between signs of life. A session ends when three are missing. Default 10,000. */
  readonly heartbeat?: number
  /** Milliseconds after which a session ends in any case. Default a day. */
  readonly lease?: number
  /** What went wrong with a session that was refused. */
  readonly onError?: (error: unknown) => void
  readonly clock?: Clock
}

/** Takes the sessions that are opened with this agent, and hands each to `accept`. */
export class Listener {
  readonly #accept: (channel: Channel) => Promise<void>
  readonly #options: Required<Omit<ListenOptions, 'admits'>> & Pick<ListenOptions, 'admits'>
  readonly #channels: Channels
  readonly #subscriptions: readonly SecureSubscription[]
  readonly #beganAt: number
  #isClosed = false

  /**
   * Begins, and resolves when sessions can be opened.
   *
   * @param accept takes a session; where it fails, the session is refused with the message of its SubrosaError
   * @throws SubrosaError ERR_SUBSCRIBE_DENIED when the agent may not serve under its name, ERR_CLOSED
   * @throws RangeError when an option is out of bounds
   */
  static async start(
    bus: SecureConnection,
    accept: (channel: Channel) => Promise<void>,
    options: ListenOptions = {},
  ): Promise<Listener> {
    const listener = new Listener(bus, accept, options)
    try {
      await listener.#channels.ready()
      for (const subscription of listener.#subscriptions) await assertTaken(subscription)
    } catch (error) {
      listener.close()
      throw error
    }
    return listener
  }

  private constructor(
    bus: SecureConnection,
    accept: (channel: Channel) => Promise<void>,
    options: ListenOptions,
  ) {
    const { clock = systemClock } = options
    const subjects = mcpSubjects(bus.name)
    this.#accept = accept
    this.#options = {
      maxSessions: DEFAULT_MCP_SESSIONS,
      maxMessage: DEFAULT_MCP_MESSAGE_BYTES,
      heartbeat: DEFAULT_MCP_HEARTBEAT_MS,
      lease: DEFAULT_MCP_LEASE_MS,
      onError: () => {},
      clock,
      ...options,
    }
    assertOptions(this.#options)
    this.#beganAt = clock.monotonic()
    this.#channels = new Channels(bus, {
      clock,
      arriveOn: subjects.toServer(bus.instance),
      subjectOf: subjects.toClient,
    })
    this.#subscriptions = [
      bus.subscribe(subjects.presence, {
        callback: (error, message) => {
          if (error === undefined) this.#sayPresence(message)
        },
      }),
      bus.subscribe(subjects.open, {
        queue: REPLICAS,
        callback: (error, message) => (error === undefined ? this.#open(message) : undefined),
      }),
    ]
  }

  /** How many sessions there are. */
  get sessions(): number {
    return this.#channels.size
  }

  /** Takes no more sessions, and ends those that there are. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const subscription of this.#subscriptions) subscription.unsubscribe()
    this.#channels.end(McpEnd.closed)
  }

  #sayPresence(message: SecureMessage): void {
    if (!this.#admits(peerOf(message))) return
    const { maxSessions, clock } = this.#options
    const upMs = Math.round(clock.monotonic() - this.#beganAt)
    message.respond(encodeMcpPresence({ sessions: this.sessions, maxSessions, upMs }))
  }

  #admits(peer: McpPeer): boolean {
    return this.#options.admits?.(peer) ?? true
  }

  async #open(message: SecureMessage): Promise<void> {
    // Nothing is begun for somebody who does not wait for the answer.
    if (message.reply === undefined) return
    const opening = openingOf(message)
    if (opening === undefined) return this.#refuse(message, 'the request makes no sense to this version')
    const peer = peerOf(message)
    if (!this.#admits(peer)) return this.#refuse(message, `its policy does not admit ${peer.name}`)
    const id = hex(opening.session)
    if (this.#channels.has(addressOf(peer), id)) return this.#refuse(message, 'there is such a session')
    const { maxSessions } = this.#options
    const isFull =
      this.#channels.size >= maxSessions || this.#channels.sizeOf(peer.name) >= MAX_MCP_SESSIONS_PER_AGENT
    if (isFull) return this.#refuse(message, 'it has as many sessions as it takes')
    const channel = this.#channel(peer, opening)
    this.#channels.add(id, channel)
    try {
      await this.#accept(channel)
    } catch (error) {
      this.#options.onError(error)
      channel.end(McpEnd.failed, sessionEnded('it could not begin', error))
      return this.#refuse(
        message,
        error instanceof SubrosaError ? error.message : 'it cannot begin a session',
      )
    }
    if (channel.isOver) return this.#refuse(message, 'it has ended the session at once')
    if (this.#answer(message, this.#acceptance())) channel.begin()
    else channel.end(McpEnd.failed, sessionEnded('its client could not be answered'))
  }

  #acceptance(): McpAnswer {
    const { maxMessage, heartbeat, lease } = this.#options
    return {
      accepted: true,
      credit: MCP_WINDOW_BYTES,
      maxMessage,
      heartbeatMs: heartbeat,
      leaseMs: lease,
    }
  }

  #channel(peer: McpPeer, { session, credit, maxMessage }: McpOpening): Channel {
    const options = this.#options
    return new Channel({
      clock: options.clock,
      session,
      peer,
      publish: (frame) => this.#channels.publish(peer, frame),
      credit,
      maxSent: maxMessage,
      maxReceived: options.maxMessage,
      heartbeatMs: options.heartbeat,
      leaseMs: options.lease,
      onEnd: () => this.#channels.remove(addressOf(peer), hex(session)),
    })
  }

  #refuse(message: SecureMessage, reason: string): void {
    this.#answer(message, { accepted: false, reason: clipped(reason) })
  }

  /** @returns whether it went: the client may be gone */
  #answer(message: SecureMessage, answer: McpAnswer): boolean {
    try {
      return message.respond(encodeMcpAnswer(answer))
    } catch (error) {
      this.#options.onError(error)
      return false
    }
  }
}

function assertOptions({
  maxSessions,
  maxMessage,
  heartbeat,
  lease,
}: Required<Pick<ListenOptions, 'maxSessions' | 'maxMessage' | 'heartbeat' | 'lease'>>): void {
  assertCount('maxSessions', maxSessions, Number.MAX_SAFE_INTEGER)
  assertCount('maxMessage', maxMessage, MAX_MCP_MESSAGE_BYTES)
  assertCount('heartbeat', heartbeat, MAX_MCP_TIME_MS)
  assertCount('lease', lease, MAX_MCP_TIME_MS)
}

function openingOf({ data }: SecureMessage): McpOpening | undefined {
  try {
    return decodeMcpOpening(data)
  } catch {
    return undefined
  }
}

/** In UTF-8 no character takes more than three bytes for a UTF-16 unit. */
function clipped(text: string): string {
  return text.slice(0, MAX_MCP_REASON_BYTES / 3)
}
