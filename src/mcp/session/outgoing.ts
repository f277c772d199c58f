import { SubrosaError } from '../../base/errors.ts'
import {
  MAX_MCP_WAITING_BYTES,
  MAX_MCP_WAITING_MESSAGES,
  MCP_CHUNK_BYTES,
  MIN_MCP_CHUNK_BYTES,
} from '../../base/limits.ts'
import { MCP_FRAME_HEADER_BYTES, type McpFrame } from './frames.ts'

/** What the sending half of a session works with. */
export interface OutgoingOptions {
  /** Seals and publishes one frame. */
  readonly publish: (frame: McpFrame) => void
  /** Bytes of frames with content that the other side takes at the beginning. */
  readonly credit: number
  /** The longest message that the other side takes. */
  readonly maxMessage: number
}

interface Waiting {
  readonly message: Uint8Array
  /** How much of it has gone. */
  at: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** The bytes that a frame with so much content takes of the credit. */
export function costOf(content: number): number {
  return MCP_FRAME_HEADER_BYTES + content
}

/** The sending half of a session: cuts messages into frames, in order, as far as the other side's credit goes. */
export class Outgoing {
  readonly #options: OutgoingOptions
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  #credit: number
  #sent = 0
  #chunkBytes = MCP_CHUNK_BYTES

  constructor(options: OutgoingOptions) {
    this.#options = options
    this.#credit = options.credit
  }

  /** @throws SubrosaError ERR_MESSAGE_TOO_LARGE for what the other side would not take */
  assertFits({ length }: Uint8Array): void {
    const { maxMessage } = this.#options
    if (length <= maxMessage) return
    throw new SubrosaError('ERR_MESSAGE_TOO_LARGE', `a message of ${length} bytes is too long`, {
      hint: `the other side takes ${maxMessage} at most`,
    })
  }

  /** Whether so much waits already that nothing more is taken, but for one message of any length. */
  isFullFor({ length }: Uint8Array): boolean {
    const count = this.#waiting.length
    return (
      count >= MAX_MCP_WAITING_MESSAGES || (count > 0 && this.#waitingBytes + length > MAX_MCP_WAITING_BYTES)
    )
  }

  /**
   * Sends a message after those before it, and resolves when all of it has gone.
   *
   * @throws what publishing throws
   */
  async send(message: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ message, at: 0, resolve, reject })
      this.#waitingBytes += message.length
      if (this.#waiting.length === 1) this.#pump()
    })
  }

  /**
   * The other side takes so many bytes in all: what waits is sent as far as that goes.
   *
   * @returns `false` where it makes no sense
   * @throws what publishing throws
   */
  allow(limit: number): boolean {
    if (limit < this.#credit) return false
    this.#credit = limit
    this.#pump()
    return true
  }

  /** What waits will never go. */
  fail(error: Error): void {
    this.#waitingBytes = 0
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }

  #pump(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#sendSome(next)) return
      if (next.at < next.message.length) continue
      this.#waiting.shift()
      this.#waitingBytes -= next.message.length
      next.resolve()
    }
  }

  /** @returns whether some of it went, or less is tried at once: else there is too little credit */
  #sendSome(waiting: Waiting): boolean {
    const { message, at } = waiting
    const content = Math.min(message.length - at, this.#chunkBytes)
    if (this.#sent + costOf(content) > this.#credit) return false
    const part = message.subarray(at, at + content)
    const isFirst = at === 0
    const isWhole = isFirst && content === message.length
    const frame: McpFrame = isWhole
      ? { kind: 'message', content: part }
      : isFirst
        ? { kind: 'first', total: message.length, content: part }
        : { kind: 'more', content: part }
    if (!this.#publish(frame)) return true
    waiting.at += content
    this.#sent += costOf(content)
    return true
  }

  /** @returns `false` where the server takes no message of this size: smaller ones are tried from now on */
  #publish(frame: McpFrame): boolean {
    try {
      this.#options.publish(frame)
      return true
    } catch (error) {
      const isTooLarge = error instanceof SubrosaError && error.code === 'ERR_MESSAGE_TOO_LARGE'
      if (!isTooLarge || this.#chunkBytes <= MIN_MCP_CHUNK_BYTES) throw error
      this.#chunkBytes = Math.max(MIN_MCP_CHUNK_BYTES, Math.floor(this.#chunkBytes / 2))
      return false
    }
  }
}
