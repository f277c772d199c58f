const BLOCK_BYTES = 16_384

/**
 * Keeps short byte strings side by side in blocks. An array with memory of its own takes some 200 bytes besides what it
 * holds, which is much for a key. A block is given back when nothing that it keeps is in use any more.
 */
export class KeyMemory {
  #block = new Uint8Array(0)
  #used = 0

  /** A copy of the bytes, in a block. */
  keep(bytes: Uint8Array): Uint8Array {
    if (bytes.length > this.#block.length - this.#used) {
      this.#block = new Uint8Array(Math.max(BLOCK_BYTES, bytes.length))
      this.#used = 0
    }
    const kept = this.#block.subarray(this.#used, this.#used + bytes.length)
    kept.set(bytes)
    this.#used += bytes.length
    return kept
  }
}
