import { hex } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { systemClock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  DEFAULT_MCP_MESSAGE_BYTES,
  DEFAULT_MCP_OPEN_MS,
  MAX_MCP_MESSAGE_BYTES,
  MCP_WINDOW_BYTES,
} from '../../base/limits.ts'
import { assertDelay } from '../../base/timers.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'
import { isAgentName } from '../../identity/token.ts'
import { Channel } from './channel.ts'
import { Channels } from './channels.ts'
import { assertCount } from './count.ts'
import { decodeMcpAnswer, encodeMcpOpening, MCP_SESSION_BYTES, type McpAnswer } from './frames.ts'
import { addressOf, type McpPeer, peerOf } from './peer.ts'
import { mcpSubjects } from './subjects.ts'

/** How a session with a server is opened. */
export interface OpenOptions {
  /** The name of the agent that serves. */
  readonly server: string
  /** Milliseconds in which an instance of it must have answered. Default 10,000. */
  readonly timeout?: number
  /** The longest message that is taken, in bytes. Default 10 MiB. */
  readonly maxMessage?: number
  readonly clock?: Clock
}

const RETRY_MS = 100

/** The sessions of each connection with each server: they share a subscription. */
const sessionsOf = new WeakMap<SecureConnection, Map<string, Channels>>()

/**
 * Opens a session: asks the replicas of a server, of which one takes it, and stays with that one. SPEC, "MCP".
 *
 * @throws SubrosaError ERR_MCP_REFUSED with the server's reason, ERR_TIMEOUT, ERR_NO_RESPONDERS, and what a request
 *   throws
 * @throws TypeError when the server's name is none, RangeError when `timeout` or `maxMessage` is none
 */
export async function openChannel(bus: SecureConnection, options: OpenOptions): Promise<Channel> {
  const { server, timeout = DEFAULT_MCP_OPEN_MS, maxMessage = DEFAULT_MCP_MESSAGE_BYTES } = options
  const { clock = systemClock } = options
  if (!isAgentName(server)) throw new TypeError('server must be the name of an agent')
  assertDelay('timeout', timeout)
  assertCount('maxMessage', maxMessage, MAX_MCP_MESSAGE_BYTES)
  const channels = channelsWith(bus, server, clock)
  // The server must know of the subscription before anything is sent here.
  await channels.ready()
  const session = crypto.getRandomValues(new Uint8Array(MCP_SESSION_BYTES))
  const opening = encodeMcpOpening({ session, credit: MCP_WINDOW_BYTES, maxMessage })
  const deadline = clock.monotonic() + timeout
  channels.expect(hex(session))
  const { peer, answer } = await ask(bus, { server, opening, deadline, clock }).catch((error: unknown) => {
    channels.giveUp(hex(session))
    throw error
  })
  const channel = new Channel({
    clock,
    session,
    peer,
    publish: (frame) => channels.publish(peer, frame),
    credit: answer.credit,
    maxSent: answer.maxMessage,
    maxReceived: maxMessage,
    heartbeatMs: answer.heartbeatMs,
    leaseMs: answer.leaseMs,
    onEnd: () => channels.remove(addressOf(peer), hex(session)),
  })
  channels.add(hex(session), channel)
  channel.begin()
  return channel
}

interface Question {
  readonly server: string
  readonly opening: Uint8Array
  readonly deadline: number
  readonly clock: Clock
}

/** An instance of the server that has taken the session. */
interface Taken {
  readonly peer: McpPeer
  readonly answer: Extract<McpAnswer, { readonly accepted: true }>
}

/** Asks until the time is over, as long as the server is not there yet: nothing is opened by a question that failed. */
async function ask(bus: SecureConnection, { server, opening, deadline, clock }: Question): Promise<Taken> {
  const { open } = mcpSubjects(server)
  for (;;) {
    const left = deadline - clock.monotonic()
    try {
      return takenBy(await bus.request(open, opening, { to: [server], timeout: Math.max(1, left) }))
    } catch (error) {
      if (!isNotThere(error)) throw error
      if (deadline - clock.monotonic() <= RETRY_MS) throw notThere(server, error)
    }
    await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve))
  }
}

function isNotThere(error: unknown): boolean {
  if (!(error instanceof SubrosaError)) return false
  return ['ERR_EMPTY_AUDIENCE', 'ERR_RECIPIENT_NOT_ALLOWED', 'ERR_NO_RESPONDERS', 'ERR_UNADDRESSED'].includes(
    error.code,
  )
}

function notThere(server: string, cause: unknown): SubrosaError {
  return new SubrosaError('ERR_NO_RESPONDERS', `the MCP server ${server} is not there`, {
    hint: `start it with: subrosa mcp serve ${server}; and see who is there with: subrosa mcp ls`,
    cause,
  })
}

function takenBy(response: SecureMessage): Taken {
  const answer = decodeMcpAnswer(response.data)
  const peer = peerOf(response)
  if (answer.accepted) return { peer, answer }
  // The text is another agent's: it may hold anything.
  const reason = answer.reason.replaceAll(/[^\x20-\x7e]/g, '?')
  throw new SubrosaError('ERR_MCP_REFUSED', `${peer.name} refuses the session: ${reason}`)
}

function channelsWith(bus: SecureConnection, server: string, clock: Clock): Channels {
  const all = sessionsOf.get(bus) ?? new Map<string, Channels>()
  sessionsOf.set(bus, all)
  const known = all.get(server)
  if (known?.isEnded === false) return known
  const subjects = mcpSubjects(server)
  const channels = new Channels(bus, {
    clock,
    arriveOn: subjects.toClient(bus.instance),
    subjectOf: subjects.toServer,
  })
  all.set(server, channels)
  return channels
}
