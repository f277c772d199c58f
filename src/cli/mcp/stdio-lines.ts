import { allocate } from '../../bytes.ts'
import { SubrosaError } from '../../errors.ts'
import { DEFAULT_MCP_MESSAGE_BYTES } from '../../limits.ts'

const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const MIN_ROOM_BYTES = 1024

/** Splits a stream of bytes at its line ends, `\n` or `\r\n`. Empty lines are left out. */
export class LineSplitter {
  readonly #maxBytes: number
  /** What has come of a line that has not ended: one array that grows, because a line may come byte by byte. */
  #begun = new Uint8Array(0)
  #length = 0
  #isSkipping = false

  /** @param maxBytes of a line, without its end */
  constructor(maxBytes = DEFAULT_MCP_MESSAGE_BYTES) {
    this.#maxBytes = maxBytes
  }

  /**
   * The lines that end in this chunk, as they came. They may share its memory. In place of a line that is too long
   * there is an error, ERR_MESSAGE_TOO_LARGE, as soon as that is clear.
   */
  *split(chunk: Uint8Array): Generator<Uint8Array | SubrosaError, undefined> {
    let start = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      const line = this.#finish(chunk.subarray(start, end))
      start = end + 1
      if (line !== undefined) yield line
    }
    if (!this.#keep(chunk.subarray(start))) yield this.#tooLong()
  }

  /** How much there is of a line that has not ended. */
  get pendingBytes(): number {
    return this.#length
  }

  /** What has come of a line that has not ended, as a line. */
  flush(): Uint8Array | SubrosaError | undefined {
    return this.#finish(new Uint8Array(0))
  }

  #finish(last: Uint8Array): Uint8Array | SubrosaError | undefined {
    const line = this.#withBegun(last)
    this.#isSkipping = false
    if (line === undefined) return undefined
    const text = line.at(-1) === CR ? line.subarray(0, -1) : line
    if (text.length > this.#maxBytes) return this.#tooLong()
    return text.length === 0 ? undefined : text
  }

  /** The whole line; `undefined` for one that was found too long. */
  #withBegun(last: Uint8Array): Uint8Array | undefined {
    if (this.#isSkipping) return undefined
    if (this.#length === 0) return last
    if (!this.#keep(last)) return this.#isSkipping ? undefined : last
    const line = this.#begun.subarray(0, this.#length)
    this.#forget()
    return line
  }
}
