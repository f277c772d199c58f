import { allocate } from '../../../base/bytes.ts'
import { SubrosaError } from '../../../base/errors.ts'
import { DEFAULT_MCP_MESSAGE_BYTES } from '../../../base/limits.ts'

const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const NOTHING = new Uint8Array(0)
const MIN_ROOM_BYTES = 1024

/** Splits a stream of bytes at its line ends, `\n` or `\r\n`. Empty lines are left out. */
export class LineSplitter {
  readonly #maxBytes: number
  /** The beginning of a line. One array that grows, and no list of chunks: a line may come byte by byte. */
  #begun: Uint8Array = NOTHING
  #length = 0
  #isSkipping = false

  /** @param maxBytes of a line, without its end */
  constructor(maxBytes = DEFAULT_MCP_MESSAGE_BYTES) {
    this.#maxBytes = maxBytes
  }

  /** How much is kept of a line that has not ended. */
  get pendingBytes(): number {
    return this.#length
  }

  /**
   * The lines that end in this chunk, as they came. They may share its memory. For a line that is too long there is an
   * error in its place, ERR_MESSAGE_TOO_LARGE, as soon as that is clear: the rest of it is skipped.
   */
  *split(chunk: Uint8Array): Generator<Uint8Array | SubrosaError, undefined> {
    let start = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      yield* this.#finish(chunk.subarray(start, end))
      start = end + 1
    }
    yield* this.#keep(chunk.subarray(start))
  }

  /** The last line, where the stream has ended without a line end. */
  *end(): Generator<Uint8Array | SubrosaError, undefined> {
    yield* this.#finish(NOTHING)
  }

  *#finish(last: Uint8Array): Generator<Uint8Array | SubrosaError, undefined> {
    let line = last
    // Most lines are in one chunk, and are not copied.
    if (this.#length > 0 || this.#isSkipping) {
      yield* this.#keep(last)
      line = this.#isSkipping ? NOTHING : this.#begun.subarray(0, this.#length)
    }
    this.#begin()
    const text = line.at(-1) === CR ? line.subarray(0, -1) : line
    if (text.length > this.#maxBytes) yield this.#tooLong()
    else if (text.length > 0) yield text
  }

  *#keep(part: Uint8Array): Generator<SubrosaError, undefined> {
    if (this.#isSkipping || part.length === 0) return
    const length = this.#length + part.length
    // One more than a line may have: it may be half of a line end.
    if (length > this.#maxBytes + 1) {
      this.#begin()
      this.#isSkipping = true
      yield this.#tooLong()
      return
    }
    if (length > this.#begun.length) this.#grow(length)
    this.#begun.set(part, this.#length)
    this.#length = length
  }

  /** Twice the room each time, so that a line is copied about twice in all however small its parts are. */
  #grow(length: number): void {
    const room = Math.min(Math.max(length, 2 * this.#begun.length, MIN_ROOM_BYTES), this.#maxBytes + 1)
    const larger = allocate(room)
    larger.set(this.#begun.subarray(0, this.#length))
    this.#begun = larger
  }

  /** The next line. What was handed out keeps its memory. */
  #begin(): void {
    this.#begun = NOTHING
    this.#length = 0
    this.#isSkipping = false
  }

  #tooLong(): SubrosaError {
    return new SubrosaError(
      'ERR_MESSAGE_TOO_LARGE',
      `a line of more than ${this.#maxBytes} bytes is left out: no message may be longer`,
    )
  }
}

/** Reads a stream to its end. `take` gets one line after the other, and the next one when its promise has resolved. */
export async function readLines(
  input: AsyncIterable<Uint8Array>,
  splitter: LineSplitter,
  take: (line: Uint8Array | SubrosaError) => void | Promise<void>,
): Promise<void> {
  for await (const chunk of input)
    for (const line of splitter.split(chunk)) {
      const taken = take(line)
      // Nothing is awaited in vain: it would take a turn for each message.
      if (taken !== undefined) await taken
    }
}

/**
 * A message as one line. Line ends in it become spaces, which mean the same in JSON: to its reader it would be several
 * messages, of which one might be what a filter has not seen. Some readers take `\r` alone for a line end, too.
 */
export function asLine(message: Uint8Array): Uint8Array {
  const line = allocate(message.length + 1)
  line.set(message)
  for (const end of [LF, CR])
    for (let at = line.indexOf(end); at !== -1 && at < message.length; at = line.indexOf(end, at + 1))
      line[at] = SPACE
  line[message.length] = LF
  return line
}
