import { copy, fromHex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_MCP_STRAYS_PER_SECOND, MCP_WINDOW_BYTES } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import type { SecureSubscription } from '../../bus/messages/subscription.ts'
import type { StatusEvent } from '../../bus/status.ts'
import { type Channel, sessionEnded } from './channel.ts'
import { encodeMcpFrame, McpEnd, type ReadMcpFrame, readMcpFrame } from './frames.ts'
import { addressOf, type McpPeer } from './peer.ts'

/** What the sessions of one side work with. */
export interface ChannelsOptions {
  readonly clock: Clock
  /** The subject on which frames come to this instance. */
  readonly arriveOn: string
  /** The subject of the frames to an instance of the other side. */
  readonly subjectOf: (instance: string) => string
}

/** Frames that came before their session was known. */
interface Early {
  readonly frames: { readonly from: string; readonly read: ReadMcpFrame }[]
  bytes: number
}

// More than a server has credit for before the answer is read: whoever sends more loses the session.
const MAX_EARLY_FRAMES = 4096
const MAX_EARLY_BYTES = 2 * MCP_WINDOW_BYTES

/**
 * The sessions that one instance has on one side of a server: hands each frame to the session of its sender. Who the
 * sender is the seal says; a session of somebody else's is not even looked for.
 */
export class Channels {
  readonly #bus: SecureConnection
  readonly #options: ChannelsOptions
  readonly #channels = new Map<string, Channel>()
  /** Frames of sessions of which the answer is on its way: they can be handled before it is. */
  readonly #early = new Map<string, Early>()
  readonly #strays = new RateLimit(MAX_MCP_STRAYS_PER_SECOND)
  readonly #subscription: SecureSubscription
  readonly #events: AsyncIterableIterator<StatusEvent>
  #isEnded = false

  constructor(bus: SecureConnection, options: ChannelsOptions) {
    this.#bus = bus
    this.#options = options
    this.#subscription = bus.subscribe(options.arriveOn, {
      callback: (error, message) => {
        if (error === undefined) this.#take(message)
      },
    })
    this.#events = bus.status()
    void this.#subscription.closed.then((error) => this.#lost(error))
    void this.#watchRevocations()
  }

  /** Whether nothing is taken any more. */
  get isEnded(): boolean {
    return this.#isEnded
  }

  /**
   * Resolves when frames can come.
   *
   * @throws SubrosaError ERR_SUBSCRIBE_DENIED, ERR_CLOSED
   */
  async ready(): Promise<void> {
    await this.#bus.flush()
    await assertTaken(this.#subscription)
  }

  get size(): number {
    return this.#channels.size
  }

  /** How many sessions an agent has, over all of its instances. */
  sizeOf(agent: string): number {
    let count = 0
    for (const { peer } of this.#channels.values()) if (peer.name === agent) count++
    return count
  }

  /** Whether this instance of an agent has a session of this id (hexadecimal). */
  has(address: string, session: string): boolean {
    return this.#channels.has(keyOf(address, session))
  }

  /** Keeps frames of this session, until it is added or given up. */
  expect(session: string): void {
    this.#early.set(session, { frames: [], bytes: 0 })
  }

  giveUp(session: string): void {
    this.#early.delete(session)
  }

  /** Takes part in what comes from now on. */
  add(session: string, channel: Channel): void {
    const address = addressOf(channel.peer)
    const early = this.#early.get(session)?.frames ?? []
    this.#early.delete(session)
    this.#channels.set(keyOf(address, session), channel)
    for (const { from, read } of early) if (from === address) channel.take(read.number, read.frame)
  }

  remove(address: string, session: string): void {
    this.#channels.delete(keyOf(address, session))
  }

  /** Seals a frame to one instance of an agent alone, and publishes it. */
  publish(to: { readonly name: string; readonly instance: string }, frame: Uint8Array): void {
    const subject = this.#options.subjectOf(to.instance)
    this.#bus.publish(subject, frame, { to: [addressOf(to)], mode: 'channel' })
  }

  /** Ends all sessions, and takes nothing more. */
  end(reason: McpEnd): void {
    if (this.#isEnded) return
    this.#isEnded = true
    for (const channel of [...this.#channels.values()]) channel.end(reason)
    this.#stop()
  }

  /** No frame can come any more. */
  #lost(cause: Error | undefined): void {
    if (this.#isEnded) return
    this.#isEnded = true
    const error = sessionEnded('the subscription to its frames has ended', cause ?? connectionClosed())
    for (const channel of [...this.#channels.values()]) channel.end(McpEnd.failed, error)
    this.#stop()
  }

  #stop(): void {
    this.#subscription.unsubscribe()
    void this.#events.return?.()
  }

  #take(message: SecureMessage): void {
    const read = readFrame(message.data)
    // Only a member of the realm can have sealed it: with whom it has no session, that is its own affair.
    if (read === undefined) return
    const from = addressOf(message.sender)
    const channel = this.#channels.get(keyOf(from, read.session))
    if (channel !== undefined) return channel.take(read.number, read.frame)
    const early = this.#early.get(read.session)
    if (early === undefined) this.#answerStray(message, read)
    else keep(early, from, message.data)
  }

  /** Whoever still speaks in a session that is over here learns it now, and not by silence. */
  #answerStray({ sender }: SecureMessage, { session, frame }: ReadMcpFrame): void {
    if (frame?.kind === 'end' || !this.#strays.take(this.#options.clock.monotonic())) return
    const end = encodeMcpFrame(
      { session: fromHex(session), number: 0 },
      { kind: 'end', reason: McpEnd.unknown },
    )
    try {
      this.publish(sender, end)
    } catch {
      // It may be gone, or may not read here: then nobody waits for the answer.
    }
  }

  /** A revocation acts at once: what cannot be sealed to any more has no session any more. */
  async #watchRevocations(): Promise<void> {
    for await (const event of this.#events) {
      if (event.type !== 'revoked') continue
      for (const channel of [...this.#channels.values()])
        if (event.self || !this.#isThere(channel.peer)) channel.fail(revoked())
    }
  }

  /** Whether something can be sealed to this instance. */
  #isThere(peer: McpPeer): boolean {
    try {
      const audience = this.#bus.audience(this.#options.subjectOf(peer.instance))
      return audience.some((member) => addressOf(member) === addressOf(peer))
    } catch {
      return false
    }
  }
}

/**
 * Makes sure that the server has not refused a subscription.
 *
 * @throws SubrosaError ERR_SUBSCRIBE_DENIED, ERR_CLOSED
 */
export async function assertTaken(subscription: SecureSubscription): Promise<void> {
  if (subscription.isClosed()) throw (await subscription.closed) ?? connectionClosed()
}

function keyOf(address: string, session: string): string {
  return `${address}/${session}`
}

function readFrame(bytes: Uint8Array): ReadMcpFrame | undefined {
  try {
    return readMcpFrame(bytes)
  } catch {
    return undefined
  }
}

function keep(early: Early, from: string, bytes: Uint8Array): void {
  const { frames } = early
  if (frames.length >= MAX_EARLY_FRAMES || early.bytes + bytes.length > MAX_EARLY_BYTES) return
  early.bytes += bytes.length
  // What waits is copied: it is a part of something larger that was opened.
  frames.push({ from, read: readMcpFrame(copy(bytes)) })
}

function revoked(): SubrosaError {
  return new SubrosaError('ERR_REVOKED', 'one of the two sides is not trusted any more')
}

function connectionClosed(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'the sealed connection is closed')
}
