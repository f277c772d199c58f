// Over 300 lines: a reader and a writer of one format, side by side.
import { readUint as bigEndian, fromUtf8, utf8 } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'

/** What may stand in a wire message: unsigned integers, strings, bytes, nil (`undefined`) and arrays of them. */
export type Packable = number | string | Uint8Array | undefined | readonly Packable[]

const MAX_DEPTH = 4

/**
 * The MessagePack encoding of an array of fields: unsigned integers, strings, bytes, nil and arrays only, each in its
 * shortest form; integers of 2^32 and more as int 64. SPEC, "MessagePack".
 *
 * This is a codec of its own because a general one must be fenced in on both sides: it writes floats, maps and
 * extensions where it likes, reads invalid UTF-8 and second encodings, and hands out views of a shared buffer.
 *
 * @param start how many bytes are left free before it.
 * @throws RangeError when a number is no unsigned integer below 2^53.
 */
export function pack(fields: readonly Packable[], start = 0): Uint8Array {
  const texts: Uint8Array[] = []
  const bytes = new Uint8Array(start + sizeOf(fields, texts))
  const end = write(fields, { bytes, view: new DataView(bytes.buffer), texts, nextText: 0 }, start)
  if (end !== bytes.length) throw new RangeError('a field changed while it was written')
  return bytes
}

/**
 * Reads one MessagePack array of positional fields with nothing after it: only what {@link pack} writes, each in its
 * shortest form. Byte fields are views into `bytes`.
 *
 * @param what what the bytes should be, for errors; `names` are those of its fields.
 * @throws SubrosaError ERR_MALFORMED for anything else.
 */
export function unpack(bytes: Uint8Array, what: string, names: readonly string[] = []): FieldReader {
  const reader: ByteReader = { bytes, at: 0, what }
  const value = read(reader, 0)
  if (!Array.isArray(value)) throw malformed(what, 'no array')
  if (reader.at !== bytes.length) throw malformed(what, `something follows its ${reader.at} bytes`)
  return new FieldReader(value, { what, names })
}

/**
 * Reads one value, which must end where the bytes do, as the item of an array: for an array whose first items are known.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function unpackItem(bytes: Uint8Array, at: number, what: string): Packable {
  const reader: ByteReader = { bytes, at, what }
  const value = read(reader, 1)
  if (reader.at !== bytes.length) throw malformed(what, 'something follows its last item')
  return value
}

/** The error for bytes that do not follow the format, and where. It never quotes them. */
export function malformed(what: string, where: string): SubrosaError {
  return new SubrosaError('ERR_MALFORMED', `malformed ${what}: ${where}`)
}

/** What a {@link FieldReader} reads: errors say it. */
interface Place {
  readonly what: string
  readonly names: readonly string[]
  /** The reader of the array in which this one stands. */
  readonly within?: FieldReader
}

/** Takes typed fields from a decoded array, in order; anything unexpected throws ERR_MALFORMED and names the field. */
export class FieldReader {
  readonly #fields: readonly Packable[]
  readonly #place: Place
  #next = 0

  constructor(fields: readonly Packable[], place: Place) {
    this.#fields = fields
    this.#place = place
  }

  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#take()
    if (typeof value !== 'number' || value > max) throw this.malformed()
    return value
  }

  string(maxBytes: number): string {
    const value = this.#take()
    if (typeof value !== 'string') throw this.malformed()
    // A UTF-16 unit takes at most three bytes: most strings need no encoding to see that they fit.
    if (value.length * 3 > maxBytes && utf8(value).length > maxBytes) throw this.malformed()
    return value
  }

  bytes(length: number): Uint8Array {
    const value = this.#take()
    if (!(value instanceof Uint8Array) || value.length !== length) throw this.malformed()
    return value
  }

  bytesUpTo(maxBytes: number): Uint8Array {
    const value = this.#take()
    if (!(value instanceof Uint8Array) || value.length > maxBytes) throw this.malformed()
    return value
  }

  /** The field read by `read`, or `undefined` where it is nil. */
  optional<T>(read: (reader: FieldReader) => T): T | undefined {
    if (this.#fields[this.#next] === undefined && this.#next < this.#fields.length) {
      this.#next++
      return undefined
    }
    return read(this)
  }

  /** A list of at most `max` items, each read by `read` from a reader of the list. */
  list<T>(max: number, read: (reader: FieldReader) => T): readonly T[] {
    const reader = this.tuple()
    if (reader.#fields.length > max) throw this.malformed()
    const items: T[] = []
    while (reader.#next < reader.#fields.length) items.push(read(reader))
    return items
  }

  /** The next item, whatever it is. */
  item(): Packable {
    return this.#take()
  }

  /** A nested array of positional fields, which are called `names`. */
  tuple(names: readonly string[] = []): FieldReader {
    const value = this.#take()
    if (!Array.isArray(value)) throw this.malformed()
    return new FieldReader(value, { what: this.#place.what, names, within: this })
  }

  /** Asserts that nothing is left. */
  end(): void {
    if (this.#next === this.#fields.length) return
    throw malformed(this.#place.what, `${this.#fields.length - this.#next} fields too many`)
  }

  /** The error for the field that was taken last: it has the right type, and is wrong. */
  malformed(): SubrosaError {
    return malformed(this.#place.what, this.#nameOf(this.#next - 1))
  }

  #take(): Packable {
    if (this.#next >= this.#fields.length) {
      throw malformed(this.#place.what, `${this.#nameOf(this.#next)} is missing`)
    }
    return this.#fields[this.#next++]
  }

  #nameOf(index: number): string {
    const { names, within } = this.#place
    const name = names[index] ?? `item ${index + 1}`
    return within === undefined ? name : `${within.#nameOf(within.#next - 1)}, ${name}`
  }
}

interface ByteWriter {
  readonly bytes: Uint8Array
  readonly view: DataView
  /** The encoded strings, in the order in which they are written. */
  readonly texts: readonly Uint8Array[]
  nextText: number
}

/** How many bytes a value takes. Strings are encoded on the way, once, and kept in `texts`. */
function sizeOf(value: Packable, texts: Uint8Array[]): number {
  if (value === undefined) return 1
  if (typeof value === 'number') return sizeOfUint(value)
  if (typeof value === 'string') {
    const text = utf8(value)
    texts.push(text)
    return text.length + (text.length < 0x20 ? 1 : text.length < 0x100 ? 2 : 3)
  }
  if (value instanceof Uint8Array) {
    return value.length + binHeadBytes(value.length)
  }
  let size = arrayHeadBytes(value.length)
  for (const item of value) size += sizeOf(item, texts)
  return size
}

function sizeOfUint(value: number): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError('a field is not an unsigned integer below 2^53')
  if (value < 0x80) return 1
  if (value < 0x100) return 2
  if (value < 0x10000) return 3
  return value < 0x100000000 ? 5 : 9
}

/** Writes a value at `at` and returns where it ends. */
function write(value: Packable, writer: ByteWriter, at: number): number {
  if (value === undefined) {
    writer.bytes[at] = 0xc0
    return at + 1
  }
  if (typeof value === 'number') return writeUint(value, writer, at)
  if (typeof value === 'string') {
    const text = writer.texts[writer.nextText++] ?? new Uint8Array(0)
    return writeRaw(text, writer, writeStringLength(text.length, writer, at))
  }
  if (value instanceof Uint8Array) {
    return writeRaw(value, writer, writeBinHead(writer.bytes, value.length, at))
  }
  let end = writeArrayHead(writer.bytes, value.length, at)
  for (const item of value) end = write(item, writer, end)
  return end
}

function writeUint(value: number, writer: ByteWriter, at: number): number {
  if (value < 0x80) {
    writer.bytes[at] = value
    return at + 1
  }
  if (value < 0x100000000) return writeLength(value, { tags: [0xcc, 0xcd, 0xce], writer, at })
  // SPEC, "MessagePack": int 64, as other libraries write integers of this size, and never uint 64.
  writer.bytes[at] = 0xd3
  writer.view.setBigUint64(at + 1, BigInt(value))
  return at + 9
}

/** A tag and the value in one, two or four bytes, whichever is shortest. */
function writeLength(
  value: number,
  place: {
    readonly tags: readonly [number, number, number]
    readonly writer: ByteWriter
    readonly at: number
  },
): number {
  const { tags, writer, at } = place
  if (value < 0x100) {
    writer.bytes[at] = tags[0]
    writer.bytes[at + 1] = value
    return at + 2
  }
  if (value < 0x10000) {
    writer.bytes[at] = tags[1]
    writer.view.setUint16(at + 1, value)
    return at + 3
  }
  writer.bytes[at] = tags[2]
  writer.view.setUint32(at + 1, value)
  return at + 5
}

function writeStringLength(length: number, writer: ByteWriter, at: number): number {
  if (length >= 0x20) {
    if (length > 0xffff) throw new RangeError('a string is longer than 65535 bytes')
    return writeLength(length, { tags: [0xd9, 0xda, 0xdb], writer, at })
  }
  writer.bytes[at] = 0xa0 | length
  return at + 1
}

/** How many bytes stand before a bin of this length. */
export function binHeadBytes(length: number): number {
  return length < 0x100 ? 2 : length < 0x10000 ? 3 : 5
}

/** Writes what stands before a bin of this length. @returns where the bin begins */
export function writeBinHead(target: Uint8Array, length: number, at: number): number {
  const bytes = binHeadBytes(length)
  target[at] = bytes === 2 ? 0xc4 : bytes === 3 ? 0xc5 : 0xc6
  for (let i = bytes - 1, rest = length; i > 0; i--, rest >>>= 8) target[at + i] = rest
  return at + bytes
}

/** How many bytes stand before the items of an array. */
export function arrayHeadBytes(count: number): number {
  return count < 0x10 ? 1 : 3
}

/** Writes what stands before the items of an array. @returns where the first one begins */
export function writeArrayHead(target: Uint8Array, count: number, at: number): number {
  if (count > 0xffff) throw new RangeError('an array has more than 65535 items')
  if (count < 0x10) {
    target[at] = 0x90 | count
    return at + 1
  }
  target[at] = 0xdc
  target[at + 1] = count >>> 8
  target[at + 2] = count
  return at + 3
}

function writeRaw(raw: Uint8Array, { bytes }: ByteWriter, at: number): number {
  bytes.set(raw, at)
  return at + raw.length
}

interface ByteReader {
  readonly bytes: Uint8Array
  readonly what: string
  at: number
}

const TOO_SHORT = 'it ends too early'

function unreadable({ bytes, what, at }: ByteReader): SubrosaError {
  return malformed(what, at > bytes.length ? TOO_SHORT : `unreadable near byte ${at} of the array`)
}

function read(reader: ByteReader, depth: number): Packable {
  const tag = reader.bytes[reader.at++]
  if (tag === undefined) throw unreadable(reader)
  if (tag <= 0x7f) return tag
  if (tag <= 0x9f) {
    if (tag < 0x90) throw unreadable(reader)
    return readArray(reader, tag & 0x0f, depth)
  }
  if (tag <= 0xbf) return readString(reader, tag & 0x1f)
  switch (tag) {
    case 0xc0:
      return undefined
    case 0xc4:
      return readRaw(reader, readUint(reader, 1, 0))
    case 0xc5:
      return readRaw(reader, readUint(reader, 2, 0x100))
    case 0xc6:
      return readRaw(reader, readUint(reader, 4, 0x10000))
    case 0xcc:
      return readUint(reader, 1, 0x80)
    case 0xcd:
      return readUint(reader, 2, 0x100)
    case 0xce:
      return readUint(reader, 4, 0x10000)
    case 0xd3:
      // The bound of 2^53 keeps its sign bit clear.
      return readUint(reader, 8, 0x100000000)
    case 0xd9:
      return readString(reader, readUint(reader, 1, 0x20))
    case 0xda:
      return readString(reader, readUint(reader, 2, 0x100))
    case 0xdc:
      return readArray(reader, readUint(reader, 2, 0x10), depth)
    default:
      throw unreadable(reader)
  }
}

/** A big-endian integer of `size` bytes that must be at least `min` (the shortest form) and below 2^53. */
function readUint(reader: ByteReader, size: number, min: number): number {
  const start = reader.at
  reader.at += size
  if (reader.at > reader.bytes.length) throw unreadable(reader)
  const value = bigEndian(reader.bytes, start, size)
  if (value < min || value > Number.MAX_SAFE_INTEGER) throw unreadable(reader)
  return value
}

function readRaw(reader: ByteReader, length: number): Uint8Array {
  const start = reader.at
  reader.at += length
  if (reader.at > reader.bytes.length) throw unreadable(reader)
  return reader.bytes.subarray(start, reader.at)
}

function readString(reader: ByteReader, length: number): string {
  const text = fromUtf8(readRaw(reader, length))
  if (text === undefined) throw unreadable(reader)
  return text
}

function readArray(reader: ByteReader, count: number, depth: number): readonly Packable[] {
  // Each item takes at least a byte: a count that the bytes cannot hold reserves nothing.
  if (count > reader.bytes.length - reader.at) throw malformed(reader.what, TOO_SHORT)
  if (depth >= MAX_DEPTH) throw unreadable(reader)
  const items: Packable[] = []
  for (let i = 0; i < count; i++) items.push(read(reader, depth + 1))
  return items
}
