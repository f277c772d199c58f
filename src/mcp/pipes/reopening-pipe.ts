import type { Clock } from '../../base/clock.ts'
import { SubrosaError } from '../../base/errors.ts'
import {
  MAX_MCP_REOPEN_MS,
  MCP_INITIALIZE_MS,
  MCP_REOPEN_WAIT_MS,
  MCP_STEADY_MS,
  MIN_MCP_REOPEN_MS,
} from '../../base/limits.ts'
import { encodeMessage } from '../policy/json-rpc.ts'
import { idKey, outlinesOf } from '../policy/outline.ts'
import { CONNECTION_CLOSED, Conversation } from '../session/conversation.ts'
import type { MessagePipe, PipeSink } from './pipe.ts'

/** What happens to the session under a {@link reopeningPipe}. */
export type ReopeningEvent =
  /** A session is there; `again` when it stands in for one that ended. */
  | { readonly type: 'opened'; readonly again: boolean }
  /** It has ended, and another one is being opened. */
  | { readonly type: 'lost'; readonly error: Error | undefined }
  /** None could be opened. Another try follows. */
  | { readonly type: 'failed'; readonly error: unknown }

/** What a reopening pipe works with. */
export interface ReopeningOptions {
  readonly clock: Clock
  /** Opens a session. It is called again and again, as long as there is none. */
  readonly dial: () => Promise<MessagePipe>
  readonly onEvent: (event: ReopeningEvent) => void
}

/** Versions are dates. */
const MAX_VERSION_LENGTH = 32

/** The answer to what this side has asked of a new session. */
interface Awaited {
  readonly key: string
  readonly resolve: (fields: Readonly<Record<string, unknown>>) => void
  readonly reject: (error: Error) => void
}

/**
 * The pipe of a host, which begins its server once and does not begin it again: it outlives sessions. When one ends,
 * every request without an answer gets an error, and another session is opened, which is told what the host has told
 * the former one: `initialize`, `notifications/initialized`, log level and subscriptions. No call is ever made again:
 * whether the first one was carried out is not known. What the host asks meanwhile waits for the new session for half a
 * minute, and then gets an error too.
 */
export class ReopeningPipe implements MessagePipe {
  readonly #options: ReopeningOptions
  readonly #conversation = new Conversation()
  #sink: PipeSink | undefined
  #pipe: MessagePipe | undefined
  /** A session that does not stand yet. */
  #beginning: MessagePipe | undefined
  #ready: Promise<void> = Promise.resolve()
  #markReady: () => void = () => {}
  #awaited: Awaited | undefined
  #lostAt: number
  #openedAt: number | undefined
  #delayMs = MIN_MCP_REOPEN_MS
  #failure: unknown
  #isClosed = false

  constructor(options: ReopeningOptions) {
    this.#options = options
    this.#lostAt = options.clock.monotonic()
  }

  /** Begins to open a session, and does not wait for it. */
  async open(sink: PipeSink): Promise<void> {
    this.#sink = sink
    this.#unready()
    void this.#connect(true)
  }

  async send(message: Uint8Array): Promise<void> {
    await this.#waitForSession()
    // From here to the note of what was asked nothing else happens: a session that ends later answers it.
    const pipe = this.#pipe
    if (this.#isClosed) throw new SubrosaError('ERR_CLOSED', 'this pipe is closed')
    if (pipe === undefined) return this.#refuse(message, this.#notThere())
    const forward = this.#conversation.fromClient(message)
    try {
      if (forward !== undefined) await pipe.send(forward)
    } catch (error) {
      // Where the session has ended, the request is answered already with all the others.
      if (error instanceof SubrosaError && error.code === 'ERR_MESSAGE_TOO_LARGE')
        await this.#refuse(
          message,
          error.hint === undefined ? error.message : `${error.message}: ${error.hint}`,
        )
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#markReady()
    await Promise.all([this.#pipe?.close(), this.#beginning?.close()])
    this.#sink?.closed(undefined)
  }

  /** Until there is a session, or has been none for too long. */
  async #waitForSession(): Promise<void> {
    const { clock } = this.#options
    const left = this.#lostAt + MCP_REOPEN_WAIT_MS - clock.monotonic()
    if (this.#pipe !== undefined || left <= 0) return
    await new Promise<void>((resolve) => {
      const cancel = clock.after(left, resolve)
      void this.#ready.then(() => {
        cancel()
        resolve()
      })
    })
  }

  /** Answers the requests in a message that goes nowhere. */
  async #refuse(message: Uint8Array, reason: string): Promise<void> {
    for (const id of this.#conversation.forget(message)) {
      const error = { code: CONNECTION_CLOSED, message: reason }
      await this.#sink?.message(encodeMessage({ jsonrpc: '2.0', id, error }))
    }
  }

  #notThere(): string {
    const { message, hint } = describe(this.#failure)
    return `there is no session with the server: ${message}${hint === undefined ? '' : ` (${hint})`}`
  }

  /** Opens sessions until one stands, the first one at once or after a pause. */
  async #connect(isUrgent: boolean): Promise<void> {
    const { dial, onEvent } = this.#options
    if (!isUrgent) await this.#pause()
    while (!this.#isClosed) {
      try {
        return await this.#takeOver(await dial())
      } catch (error) {
        if (this.#isClosed) return
        this.#failure = error
        onEvent({ type: 'failed', error })
      }
      await this.#pause()
    }
  }

  /** Each pause is about twice as long as the one before. */
  #pause(): Promise<void> {
    const { clock } = this.#options
    const delayMs = this.#delayMs * (0.5 + Math.random() / 2)
    this.#delayMs = Math.min(MAX_MCP_REOPEN_MS, 2 * this.#delayMs)
    return new Promise((resolve) => clock.after(delayMs, resolve))
  }

  /** Has the new session stand in for the former one. @throws what keeps it from that: then it is closed */
  async #takeOver(pipe: MessagePipe): Promise<void> {
    const { clock, onEvent } = this.#options
    let end: { readonly error: Error | undefined } | undefined
    let isStanding = false
    this.#beginning = pipe
    try {
      await pipe.open({
        message: (message) => this.#fromServer(message),
        closed: (error) => {
          end = { error }
          this.#awaited?.reject(endedAtOnce(error))
          if (isStanding) this.#lost(error)
        },
      })
      const { initialize, messages } = this.#conversation.replay()
      if (initialize !== undefined) await this.#initialize(pipe, initialize)
      for (const message of messages) await pipe.send(message)
      if (this.#isClosed) throw new SubrosaError('ERR_CLOSED', 'this pipe is closed')
      if (end !== undefined) throw endedAtOnce(end.error)
    } catch (error) {
      await pipe.close()
      this.#sessionEnded()
      throw error
    } finally {
      this.#beginning = undefined
    }
    const again = this.#openedAt !== undefined
    this.#openedAt = clock.monotonic()
    this.#pipe = pipe
    isStanding = true
    this.#failure = undefined
    onEvent({ type: 'opened', again })
    this.#markReady()
  }

  /** @throws SubrosaError when the server does not begin as the former one did */
  async #initialize(
    pipe: MessagePipe,
    { id, message }: { readonly id: string; readonly message: Uint8Array },
  ): Promise<void> {
    const { clock } = this.#options
    let cancel = (): void => {}
    const answer = new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
      cancel = clock.after(MCP_INITIALIZE_MS, () =>
        reject(new SubrosaError('ERR_TIMEOUT', 'the server did not answer initialize in time')),
      )
      this.#awaited = { key: idKey(id), resolve, reject }
    })
    try {
      // Sending may take as long as the server likes.
      const { result } = await Promise.race([answer, pipe.send(message).then(() => answer)])
      const before = versionOf(this.#conversation.negotiated)
      if (result === undefined || versionOf(result) !== before) {
        throw new SubrosaError('ERR_MCP_ENDED', 'the new session does not begin as the former one did', {
          hint: `the host was told that the server speaks MCP ${before}: start the host's connection anew`,
        })
      }
    } finally {
      cancel()
      this.#awaited = undefined
    }
  }

  #fromServer(message: Uint8Array): void | Promise<void> {
    const awaited = this.#awaited
    if (awaited !== undefined) {
      const [only] = outlinesOf(message).all
      if (only?.kind === 'response' && idKey(only.id) === awaited.key) return awaited.resolve(only.fields)
    }
    const forward = this.#conversation.fromServer(message)
    if (forward !== undefined) return this.#sink?.message(forward)
  }

  #lost(error: Error | undefined): void {
    const { clock, onEvent } = this.#options
    this.#pipe = undefined
    if (this.#isClosed) return
    this.#lostAt = clock.monotonic()
    const wasSteady = this.#lostAt - (this.#openedAt ?? 0) >= MCP_STEADY_MS
    if (wasSteady) this.#delayMs = MIN_MCP_REOPEN_MS
    this.#failure = error
    this.#unready()
    onEvent({ type: 'lost', error })
    this.#sessionEnded()
    // A server that falls over as soon as it is spoken to is not asked in a hurry.
    void this.#connect(wasSteady)
  }

  /** Tells the host that what was asked in the session gets no answer. */
  #sessionEnded(): void {
    const reason = 'the session has ended before the answer came: whether this was carried out is not known'
    for (const told of this.#conversation.sessionEnded(reason)) void this.#tell(told)
  }

  async #tell(message: Uint8Array): Promise<void> {
    try {
      await this.#sink?.message(message)
    } catch {
      // A host that cannot be told anything says so itself, by its end.
    }
  }

  #unready(): void {
    this.#ready = new Promise((resolve) => {
      this.#markReady = resolve
    })
  }
}

/** As text for people: what is none is of no use to them. */
function versionOf(initializeResult: unknown): string {
  if (typeof initializeResult !== 'object' || initializeResult === null) return 'of no version'
  const version = 'protocolVersion' in initializeResult ? initializeResult.protocolVersion : undefined
  return typeof version === 'string' && version.length <= MAX_VERSION_LENGTH ? version : 'of no version'
}

function endedAtOnce(error: Error | undefined): Error {
  return error ?? new SubrosaError('ERR_MCP_ENDED', 'the server has ended the session at once')
}

function describe(error: unknown): { readonly message: string; readonly hint?: string | undefined } {
  if (error instanceof SubrosaError) return { message: error.message, hint: error.hint }
  return { message: error instanceof Error ? error.message : 'the server has ended it' }
}
