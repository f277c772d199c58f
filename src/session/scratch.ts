/** Of longer views there would be too many to keep, and beside what is done with them they cost little. */
const MAX_KEPT_VIEW = 8192

/** Memory that is used again, in views of the lengths that occur: native calls are fastest with views they know. */
export class Scratch {
  readonly #memory: Uint8Array
  readonly #views: (Uint8Array | undefined)[] = []

  constructor(bytes: number | Uint8Array) {
    this.#memory = typeof bytes === 'number' ? new Uint8Array(new ArrayBuffer(bytes)) : bytes
  }

  /** The first bytes; `undefined` where there are fewer. */
  view(length: number): Uint8Array | undefined {
    return this.#views[length] ?? this.#newView(length)
  }

  /** A view of the first bytes that is always the same. */
  first(length: number): Uint8Array {
    return this.#memory.subarray(0, length)
  }

  /** The same memory, from a place on. */
  after(start: number): Scratch {
    return new Scratch(this.#memory.subarray(start))
  }

  #newView(length: number): Uint8Array | undefined {
    if (length > this.#memory.length) return undefined
    const view = this.#memory.subarray(0, length)
    if (length <= MAX_KEPT_VIEW) this.#views[length] = view
    return view
  }
}
