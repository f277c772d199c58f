import { warningLog } from '../../base/logger.ts'

/** What takes the messages of a {@link MessagePipe}. */
export interface PipeSink {
  /** Takes the next message. The pipe delivers no further one before a promise that it returns has resolved. */
  readonly message: (message: Uint8Array) => void | Promise<void>
  /** Called once, when the pipe has ended: with an error, unless it was closed on purpose at either end. */
  readonly closed: (error: Error | undefined) => void
}

/**
 * One end of a two-way stream of JSON-RPC messages, of any revision of MCP: each is one JSON text in UTF-8, without a
 * line end. A pipe looks into a message only where it must, and keeps its bytes.
 */
export interface MessagePipe {
  /**
   * Begins. Called once.
   *
   * @throws SubrosaError that says what is in the way; `closed` is not called then
   */
  open(sink: PipeSink): Promise<void>
  /**
   * Sends a message after all that were sent before. Resolves when a further one may be sent: who waits for that fills
   * no memory. After the end it rejects with ERR_CLOSED.
   */
  send(message: Uint8Array): Promise<void>
  /**
   * Ends it, and resolves when everything that belongs to it is gone. Does nothing after the end.
   *
   * @param error why, where that is no regular end: the other side is told as much as there is a word for
   */
  close(error?: Error): Promise<void>
}

/**
 * Tells a sink that its pipe has ended. That happens in timers and loops, and what the sink throws there must end neither
 * them nor the process: it becomes a warning.
 */
export function endSink(sink: PipeSink, error: Error | undefined): void {
  try {
    sink.closed(error)
  } catch (err) {
    warningLog.error({ event: 'error', err }, 'an error that nobody caught')
  }
}
