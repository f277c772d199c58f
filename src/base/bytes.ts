const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The UTF-8 bytes of a string. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** The string of UTF-8 bytes, or `undefined` when they are not valid UTF-8. */
export function fromUtf8(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes)
  } catch {
    return undefined
  }
}

/** A new array that holds the parts in order. It never shares memory with them. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const joined = new Uint8Array(length)
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

/** A copy with memory of its own, safe to keep after the source buffer is reused. */
export function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes)
}

/** Whether two public values are equal. Not constant-time: for secrets use the engine's `equal`. */
export function samePublic(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0
}

/** Order of two byte strings, as memcmp: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

const HEX_DIGITS = utf8('0123456789abcdef')
/** As many bytes as become text at once: each digit is an argument of a call. */
const HEX_CHUNK_BYTES = 1024

/** Lower-case hexadecimal: also the key under which bytes are put into a `Map`. */
export function hex(bytes: Uint8Array): string {
  if (bytes.length <= HEX_CHUNK_BYTES) return hexOfChunk(bytes)
  let text = ''
  for (let start = 0; start < bytes.length; start += HEX_CHUNK_BYTES)
    text += hexOfChunk(bytes.subarray(start, start + HEX_CHUNK_BYTES))
  return text
}

/** In one piece: text that is added up digit by digit is kept as a tree, of many times its size. */
function hexOfChunk(bytes: Uint8Array): string {
  const digits: number[] = []
  for (const byte of bytes) digits.push(HEX_DIGITS[byte >> 4] ?? 0, HEX_DIGITS[byte & 15] ?? 0)
  return String.fromCharCode(...digits)
}

/** The bytes of text that {@link hex} made. */
export function fromHex(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return bytes
}

/** One byte as an array, for labels and hashes. */
export function byte(value: number): Uint8Array {
  return Uint8Array.of(value)
}

/**
 * Memory to be written in full, with anything in it. In Node it comes from a pool: a new array of more than 64 bytes
 * costs as much as a hash.
 */
export function allocate(length: number): Uint8Array {
  if (typeof Buffer === 'undefined') return new Uint8Array(length)
  const { buffer, byteOffset } = Buffer.allocUnsafe(length)
  return new Uint8Array(buffer, byteOffset, length)
}

/**
 * As {@link allocate}, but never from a pool, however large that of this process is: for plaintexts, of which nothing is to
 * be seen beside others.
 */
export function allocateOwn(length: number): Uint8Array {
  if (typeof Buffer === 'undefined') return new Uint8Array(length)
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer, 0, length)
}

/** Whether these bytes stand in `memory` from `at` on. Not constant-time: for secrets use the engine's `equal`. */
export function standsAt(bytes: Uint8Array, memory: Uint8Array, at: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (memory[at + i] !== bytes[i]) return false
  return true
}

/** Writes a big-endian unsigned integer of `size` bytes, up to 2^53, from `start` on. */
export function writeUint(
  target: Uint8Array,
  value: number,
  { start, size }: { readonly start: number; readonly size: number },
): void {
  let rest = value
  for (let i = size - 1; i >= 0; i--) {
    target[start + i] = rest & 0xff
    rest = rest < 0x1_0000_0000 ? rest >>> 8 : Math.floor(rest / 256)
  }
}

/** The big-endian unsigned integer of `size` bytes from `start` on. Missing bytes count as zero. */
export function readUint(bytes: Uint8Array, start: number, size: number): number {
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[start + i] ?? 0)
  return value
}

/** Big-endian 32-bit unsigned integer. */
export function u32(value: number): Uint8Array {
  // No DataView: asking a small array for its buffer costs more than all the rest.
  const bytes = new Uint8Array(4)
  for (let i = 0; i < 4; i++) bytes[i] = value >>> (24 - 8 * i)
  return bytes
}
