import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import { errorResponse, INTERNAL_ERROR } from '../policy/json-rpc.ts'
import { Channel } from './channel.ts'
import { type OpenOptions, openChannel } from './client.ts'
import type { McpPeer } from './peer.ts'

/** A JSON-RPC message of MCP, of any revision: what the SDKs hand over and take. */
export interface JsonRpcMessage {
  readonly jsonrpc: '2.0'
}

/** What the SDKs call `authInfo`: who has sent a message. There is no token in it. */
export interface SealedAuthInfo {
  /** Always empty: nothing that is secret goes to a server's tools. */
  token: string
  /** The verified name of the agent. */
  clientId: string
  /** Always empty: see the policy of `subrosa mcp serve`, or `extra`. */
  scopes: string[]
  /** Until when the agent's identity token is good, in seconds since 1970. */
  expiresAt: number
  extra: {
    /** Which instance of the agent, in hexadecimal. */
    instance: string
    /** The agent's public identity key, `U…`. */
    identity: string
    /** Its fingerprint, as `ssh-keygen -l` shows it. */
    keyId: string
  }
}

/** What comes with a message. */
export interface SealedMessageExtra {
  authInfo: SealedAuthInfo
}

/**
 * A transport of MCP that is sealed from end to end. It has the shape of `Transport` of either SDK line
 * (`@modelcontextprotocol/sdk` 1.x, `@modelcontextprotocol/client` and `/server` 2.x): hand it to `connect()` of a client
 * or server. Made by hand it is a client's; servers get theirs from {@link listenSealed}. Each message comes with its
 * verified sender as `authInfo`. Messages arrive in order, each once, or the transport closes. SPEC, "MCP".
 *
 * @example
 * ```ts
 * import { Client } from '@modelcontextprotocol/client'
 * import { SealedTransport } from 'subrosa/mcp'
 *
 * const client = new Client({ name: 'example', version: '1.0.0' })
 * await client.connect(new SealedTransport(bus, { server: 'files' }))
 * console.log(await client.listTools())
 * ```
 */
export class SealedTransport {
  /** Called when the session has ended, for whatever reason. */
  declare onclose?: (() => void) | undefined
  /** Called with what went wrong: the reason of an end, or a message that is no JSON. */
  declare onerror?: ((error: Error) => void) | undefined
  /** Called with each message, in order. */
  // biome-ignore lint/suspicious/noExplicitAny: each SDK line has its own type of a message, and both must fit
  declare onmessage?: ((message: any, extra?: any) => void) | undefined
  readonly #open: () => Promise<Channel>
  #channel: Channel | undefined
  #authInfo: SealedAuthInfo | undefined
  readonly #sessionId: string | undefined
  #isStarted = false
  #isClosed = false

  /** A client's transport. The session is opened by {@link start}. */
  constructor(bus: SecureConnection, options: OpenOptions)
  /** @internal The transport of a session that is open. */
  constructor(channel: Channel)
  constructor(source: SecureConnection | Channel, options?: OpenOptions) {
    if (source instanceof Channel) {
      this.#channel = source
      this.#sessionId = source.id
      this.#open = async () => source
    } else if (options === undefined) {
      throw new TypeError('options must name the server')
    } else {
      this.#open = () => openChannel(source, options)
    }
  }

  /** Who is at the other end, once the session is open. */
  get peer(): McpPeer | undefined {
    return this.#channel?.peer
  }

  /**
   * The session's id, in hexadecimal, on a server's side. To anybody but the two ends it is worth nothing. A client's
   * transport has none: the SDKs take one for a session that is resumed, and leave `initialize` out.
   */
  get sessionId(): string | undefined {
    return this.#sessionId
  }

  /**
   * Opens the session and begins to deliver. `connect()` of the SDKs calls it.
   *
   * @throws SubrosaError ERR_MCP_REFUSED, ERR_NO_RESPONDERS, ERR_TIMEOUT, ERR_CLOSED, and what a request on the bus
   *   throws
   * @throws TypeError when the server's name is none
   */
  async start(): Promise<void> {
    if (this.#isStarted) throw new SubrosaError('ERR_CLOSED', 'this transport was started before')
    this.#isStarted = true
    const channel = await this.#open()
    if (this.#isClosed) {
      await channel.close()
      throw notConnected()
    }
    this.#channel = channel
    this.#authInfo = authInfoOf(channel.peer)
    await channel.open({
      message: (message) => this.#deliver(message),
      closed: (error) => this.#ended(error),
    })
  }

  /**
   * Seals a message and sends it, and resolves when it has gone: the other side lets go only what it has room for. In
   * place of a response that is too long for it, it gets an error: it would wait for ever.
   *
   * @throws SubrosaError ERR_CLOSED before the start and after a close, ERR_MCP_ENDED when the session has ended,
   *   ERR_MESSAGE_TOO_LARGE
   */
  async send(message: JsonRpcMessage): Promise<void> {
    const channel = this.#channel
    if (channel === undefined || !this.#isStarted || this.#isClosed) throw notConnected()
    try {
      await channel.send(utf8(JSON.stringify(message)))
    } catch (error) {
      const instead = isTooLarge(error) ? inPlaceOf(message, error) : undefined
      if (instead !== undefined) await channel.send(instead)
      throw error
    }
  }

  /** Ends the session, and calls `onclose`. */
  async close(): Promise<void> {
    await this.#channel?.close()
    this.#ended(undefined)
  }

  /** The SDKs act on a response at once, and on a notification a moment later: what comes next waits for that. */
  async #deliver(message: Uint8Array): Promise<void> {
    const { value, error } = parse(message)
    if (error !== undefined) return this.onerror?.(error)
    try {
      this.onmessage?.(value, { authInfo: this.#authInfo })
    } catch (cause) {
      // A handler that throws ends no session: nor does it with the SDKs' own transports.
      this.onerror?.(cause instanceof Error ? cause : new TypeError('a handler threw what is no error'))
    }
  }

  #ended(error: Error | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    try {
      if (error !== undefined) this.onerror?.(error)
    } finally {
      this.onclose?.()
    }
  }
}

function authInfoOf({ name, instance, identity, expiresAt }: McpPeer): SealedAuthInfo {
  const extra = { instance, identity, keyId: fingerprint(identity) }
  return { token: '', clientId: name, scopes: [], expiresAt, extra }
}

/** The errors of `JSON.parse` quote the text, which is somebody's message. */
function parse(message: Uint8Array): { readonly value?: unknown; readonly error?: Error } {
  const text = fromUtf8(message)
  try {
    if (text !== undefined) return { value: JSON.parse(text) }
  } catch {}
  return { error: new SubrosaError('ERR_MALFORMED', 'an MCP message is no JSON') }
}

function isTooLarge(error: unknown): error is SubrosaError {
  return error instanceof SubrosaError && error.code === 'ERR_MESSAGE_TOO_LARGE'
}

/** The error that answers a request whose response cannot be sent; `undefined` where this is no response. */
function inPlaceOf(message: JsonRpcMessage, { hint }: SubrosaError): Uint8Array | undefined {
  if ('method' in message || !('id' in message)) return undefined
  const { id } = message
  if (typeof id !== 'string' && typeof id !== 'number') return undefined
  return errorResponse(id, INTERNAL_ERROR, `the response is too long: ${hint}`)
}

function notConnected(): SubrosaError {
  return new SubrosaError('ERR_CLOSED', 'this transport is not connected')
}
