import type { SealMode } from '../../bus/messages/opened.ts'

/** What is sent, again and again. */
export interface Sending {
  readonly subject: string
  readonly payload: Uint8Array
  readonly to: readonly string[] | undefined
  readonly mode: SealMode
}

/** What is received. */
interface Receiving {
  readonly subject: string
  readonly queue: string | undefined
  /** Answers each message that asks for one with its own payload, and takes no others. */
  readonly isAnswering: boolean
  /** A message of so many bytes came, and was answered where it should be. */
  readonly onMessage: (bytes: number) => void
  /** Nothing comes any more. */
  readonly onEnd: (error: Error) => void
}

/** One client of a benchmark: a connection that seals everything, or for comparison one that seals nothing. */
export interface BenchClient {
  /**
   * Waits until those are there whom a message must reach.
   *
   * @throws SubrosaError ERR_EMPTY_AUDIENCE
   */
  awaitAudience(sending: Sending, atLeast: number): Promise<void>
  /** Makes what publishes so many payloads: one by one, or where `isBatch` together. */
  publisher(sending: Sending, isBatch: boolean): (count: number) => void
  /**
   * Makes what asks once, and resolves with the size of the answer.
   *
   * @throws SubrosaError ERR_TIMEOUT, ERR_NO_RESPONDERS, and what publishing throws
   */
  requester(sending: Sending): () => Promise<number>
  /** Begins to receive. */
  subscribe(receiving: Receiving): void
  /**
   * Resolves when the broker has handled everything before.
   *
   * @throws SubrosaError ERR_CONNECTION when it has denied some of it
   */
  flush(): Promise<void>
  /** Ends the connection, in order where that goes. */
  leave(): Promise<void>
}
