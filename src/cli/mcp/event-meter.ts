const LF = 0x0a
const CR = 0x0d

/** Counts how much has come of one event of an event stream: events end with an empty line. */
export class EventMeter {
  #eventBytes = 0
  #lineBytes = 0
  #endsWithCr = false

  /** Takes the next bytes. @returns how many bytes there are of the event that has not ended */
  add(chunk: Uint8Array): number {
    let start = 0
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      this.#count(chunk.subarray(start, end))
      const content = this.#lineBytes - (this.#endsWithCr ? 1 : 0)
      this.#eventBytes = content === 0 ? 0 : this.#eventBytes + 1
      this.#lineBytes = 0
      this.#endsWithCr = false
      start = end + 1
    }
    this.#count(chunk.subarray(start))
    return this.#eventBytes
  }

  #count(part: Uint8Array): void {
    this.#eventBytes += part.length
    this.#lineBytes += part.length
    if (part.length > 0) this.#endsWithCr = part.at(-1) === CR
  }
}
