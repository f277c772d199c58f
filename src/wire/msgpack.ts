import { Packr, Unpackr } from 'msgpackr'
import { fromUtf8 } from '../bytes.ts'
import { SubrosaError } from '../errors.ts'

/** What may stand in a wire message: unsigned integers, strings, bytes, nil (`undefined`) and arrays of them. */
export type Packable = number | string | Uint8Array | undefined | readonly Packable[]

const MAX_DEPTH = 4

const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: true, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: false, int64AsType: 'number' })

/**
 * The MessagePack encoding of an array of fields, in memory of its own.
 *
 * @throws RangeError when a number is no unsigned integer below 2^53.
 */
export function pack(fields: readonly Packable[]): Uint8Array {
  return new Uint8Array(packr.pack(fields.map(prepare)))
}

/**
 * Reads one MessagePack array of positional fields with nothing after it. The bytes are walked by a strict
 * scanner first, so the decoder meets only unsigned integers, UTF-8 strings, bytes, nil and arrays, each in
 * its shortest encoding. Byte fields are views into `bytes`.
 *
 * @throws SubrosaError ERR_MALFORMED for anything else.
 */
export function unpack(bytes: Uint8Array, what: string): FieldReader {
  const end = scan(bytes, 0, 0, what)
  if (end !== bytes.length) throw malformed(what)
  const value: unknown = unpackr.unpack(bytes)
  if (!Array.isArray(value)) throw malformed(what)
  return new FieldReader(value, what)
}

/** The error for bytes that do not follow the format. It never quotes them. */
export function malformed(what: string): SubrosaError {
  return new SubrosaError('ERR_MALFORMED', `malformed ${what}`)
}

/** Takes typed fields from a decoded array, in order; anything unexpected throws ERR_MALFORMED. */
export class FieldReader {
  readonly #fields: readonly unknown[]
  readonly #what: string
  #next = 0

  constructor(fields: readonly unknown[], what: string) {
    this.#fields = fields
    this.#what = what
  }

  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#take()
    if (typeof value !== 'number' || value > max) throw malformed(this.#what)
    return value
  }

  string(maxBytes: number): string {
    const value = this.#take()
    // A string has at least as many UTF-8 bytes as UTF-16 units; the scanner bounds the exact count.
    if (typeof value !== 'string' || value.length > maxBytes) throw malformed(this.#what)
    return value
  }

  bytes(length: number): Uint8Array {
    const value = this.#take()
    if (!(value instanceof Uint8Array) || value.length !== length) throw malformed(this.#what)
    return value
  }

  bytesUpTo(maxBytes: number): Uint8Array {
    const value = this.#take()
    if (!(value instanceof Uint8Array) || value.length > maxBytes) throw malformed(this.#what)
    return value
  }

  /** The field read by `read`, or `undefined` where it is nil. */
  optional<T>(read: (reader: FieldReader) => T): T | undefined {
    if (this.#fields[this.#next] === null && this.#next < this.#fields.length) {
      this.#next++
      return undefined
    }
    return read(this)
  }

  /** A list of at most `max` items, each read by `read` from a reader of the list. */
  list<T>(max: number, read: (reader: FieldReader) => T): readonly T[] {
    const reader = this.tuple()
    if (reader.#fields.length > max) throw malformed(this.#what)
    const items: T[] = []
    while (reader.#next < reader.#fields.length) items.push(read(reader))
    return items
  }

  /** A nested array of positional fields. */
  tuple(): FieldReader {
    const value = this.#take()
    if (!Array.isArray(value)) throw malformed(this.#what)
    return new FieldReader(value, this.#what)
  }

  /** Asserts that nothing is left. */
  end(): void {
    if (this.#next !== this.#fields.length) throw malformed(this.#what)
  }

  #take(): unknown {
    if (this.#next >= this.#fields.length) throw malformed(this.#what)
    return this.#fields[this.#next++]
  }
}

function prepare(value: Packable): unknown {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('a field is not an unsigned integer below 2^53')
    // msgpackr writes larger numbers as floats; a BigInt becomes uint 64.
    return value > 0xffffffff ? BigInt(value) : value
  }
  if (Array.isArray(value)) return value.map(prepare)
  return value
}

/** Walks one value that starts at `at` and returns where it ends; throws where a byte is not allowed. */
function scan(bytes: Uint8Array, at: number, depth: number, what: string): number {
  const tag = bytes[at]
  if (tag === undefined) throw malformed(what)
  if (tag <= 0x7f || tag === 0xc0) return at + 1
  if (tag >= 0xa0 && tag <= 0xbf) return scanString(bytes, at + 1, tag & 0x1f, what)
  if (tag >= 0x90 && tag <= 0x9f) return scanArray(bytes, at + 1, tag & 0x0f, depth, what)
  switch (tag) {
    case 0xc4:
      return within(bytes, at + 2, uint(bytes, at + 1, 1, 0, what), what)
    case 0xc5:
      return within(bytes, at + 3, uint(bytes, at + 1, 2, 0x100, what), what)
    case 0xc6:
      return within(bytes, at + 5, uint(bytes, at + 1, 4, 0x10000, what), what)
    case 0xcc:
      uint(bytes, at + 1, 1, 0x80, what)
      return at + 2
    case 0xcd:
      uint(bytes, at + 1, 2, 0x100, what)
      return at + 3
    case 0xce:
      uint(bytes, at + 1, 4, 0x10000, what)
      return at + 5
    case 0xcf:
      uint(bytes, at + 1, 8, 0x100000000, what)
      return at + 9
    case 0xd9:
      return scanString(bytes, at + 2, uint(bytes, at + 1, 1, 0x20, what), what)
    case 0xda:
      return scanString(bytes, at + 3, uint(bytes, at + 1, 2, 0x100, what), what)
    case 0xdc:
      return scanArray(bytes, at + 3, uint(bytes, at + 1, 2, 0x10, what), depth, what)
    default:
      throw malformed(what)
  }
}

/** A big-endian integer of `size` bytes that must be at least `min` (shortest form) and below 2^53. */
function uint(bytes: Uint8Array, at: number, size: number, min: number, what: string): number {
  if (at + size > bytes.length) throw malformed(what)
  let value = 0
  for (let i = 0; i < size; i++) value = value * 256 + (bytes[at + i] ?? 0)
  if (value < min || value > Number.MAX_SAFE_INTEGER) throw malformed(what)
  return value
}

function within(bytes: Uint8Array, start: number, length: number, what: string): number {
  if (start + length > bytes.length) throw malformed(what)
  return start + length
}

function scanString(bytes: Uint8Array, start: number, length: number, what: string): number {
  const end = within(bytes, start, length, what)
  if (fromUtf8(bytes.subarray(start, end)) === undefined) throw malformed(what)
  return end
}

function scanArray(bytes: Uint8Array, start: number, count: number, depth: number, what: string): number {
  if (depth >= MAX_DEPTH) throw malformed(what)
  let at = start
  for (let i = 0; i < count; i++) at = scan(bytes, at, depth + 1, what)
  return at
}
