// Over 300 lines: a reader and a writer of one format, side by side.
import { readUint as bigEndian, fromUtf8, utf8 } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'

/** What may stand in a wire message: unsigned integers, strings, bytes, nil (`undefined`) and arrays of them. */
export type Packable = number | string | Uint8Array | undefined | readonly Packable[]

const NIL = 0xc0
/** By the tag of a bin: how many bytes stand before it. */
const BIN_HEAD_BYTES: ReadonlyMap<number, number> = new Map([
  [0xc4, 2],
  [0xc5, 3],
  [0xc6, 5],
])
const ONE_ITEM: Place = { count: 1, names: [] }

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
 * Begins to read one MessagePack array of positional fields with nothing after it: only what {@link pack} writes, each
 * in its shortest form. Each field is read when it is asked for, as what it is expected to be, and nothing is read
 * ahead: what does not follow the format costs no more than the fields before it. Byte fields are views into `bytes`.
 *
 * @param what what the bytes should be, for errors
 * @param shapes the names of its fields, for each number of fields that it may have: the largest last
 * @throws SubrosaError ERR_MALFORMED for anything else.
 */
export function unpack(
  bytes: Uint8Array,
  what: string,
  ...shapes: readonly (readonly string[])[]
): FieldReader {
  const cursor: Cursor = { bytes, at: 0, what }
  const count = arrayCount(cursor, readTag(cursor))
  if (count === undefined) throw malformed(what, 'no array')
  const names = shapes.find(({ length }) => length === count)
  if (names === undefined) throw miscounted(what, count, shapes.at(-1) ?? [])
  return new FieldReader(cursor, { count, names })
}

/** Begins to read one value that must end where the bytes do: the last item of an array whose first ones are known. */
export function unpackItem(bytes: Uint8Array, at: number, what: string): FieldReader {
  return new FieldReader({ bytes, at, what }, ONE_ITEM)
}

/** The error for bytes that do not follow the format, and where. It never quotes them. */
export function malformed(what: string, where: string): SubrosaError {
  return new SubrosaError('ERR_MALFORMED', `malformed ${what}: ${where}`)
}

/** The array that a {@link FieldReader} reads. */
interface Place {
  readonly count: number
  /** For errors. */
  readonly names: readonly string[]
  /** The reader of the array in which this one stands. */
  readonly within?: FieldReader
}

/** Reads typed fields of an array, in order; anything unexpected throws ERR_MALFORMED and names the field. */
export class FieldReader {
  readonly #cursor: Cursor
  readonly #place: Place
  #next = 0

  constructor(cursor: Cursor, place: Place) {
    this.#cursor = cursor
    this.#place = place
  }

  /** How many bytes stand before the next field. */
  get at(): number {
    return this.#cursor.at
  }

  uint(max: number = Number.MAX_SAFE_INTEGER): number {
    const tag = this.#take()
    const value = tag <= 0x7f ? tag : longUint(this.#cursor, tag)
    if (value === undefined || value > max) throw this.malformed()
    return value
  }

  string(maxBytes: number): string {
    const length = stringLength(this.#cursor, this.#take())
    if (length === undefined || length > maxBytes) throw this.malformed()
    const text = fromUtf8(readRaw(this.#cursor, length))
    if (text === undefined) throw this.malformed()
    return text
  }

  bytes(length: number): Uint8Array {
    if (binLength(this.#cursor, this.#take()) !== length) throw this.malformed()
    return readRaw(this.#cursor, length)
  }

  bytesUpTo(maxBytes: number): Uint8Array {
    const length = binLength(this.#cursor, this.#take())
    if (length === undefined || length > maxBytes) throw this.malformed()
    return readRaw(this.#cursor, length)
  }

  /** The field read by `read`, or `undefined` where it is nil. */
  optional<T>(read: (reader: FieldReader) => T): T | undefined {
    const { bytes, at } = this.#cursor
    if (this.#next === this.#place.count || bytes[at] !== NIL) return read(this)
    this.#take()
    return undefined
  }

  /** Whether the next field is an array: for one that has two forms. */
  isArray(): boolean {
    const tag = this.#cursor.bytes[this.#cursor.at] ?? NIL
    return (tag & 0xf0) === 0x90 || tag === 0xdc
  }

  /** A list of `min` to `max` items, each read by `read` from a reader of the list. */
  list<T>(max: number, read: (reader: FieldReader) => T, min = 0): readonly T[] {
    const count = arrayCount(this.#cursor, this.#take())
    if (count === undefined || count < min || count > max) throw this.malformed()
    const reader = new FieldReader(this.#cursor, { count, names: [], within: this })
    const items: T[] = []
    while (reader.#next < count) items.push(read(reader))
    return items
  }

  /** A nested array of positional fields, which are called `names`. */
  tuple(names: readonly string[]): FieldReader {
    const count = arrayCount(this.#cursor, this.#take())
    if (count !== names.length) throw this.malformed()
    return new FieldReader(this.#cursor, { count, names, within: this })
  }

  /** Asserts that nothing is left: of the array, and of the bytes where no other array is around it. */
  end(): void {
    const { bytes, at, what } = this.#cursor
    const { count, within } = this.#place
    if (this.#next < count) throw malformed(what, `${count - this.#next} fields too many`)
    if (within === undefined && at !== bytes.length)
      throw malformed(what, `something follows its ${at} bytes`)
  }

  /** The error for the field that was taken last. */
  malformed(): SubrosaError {
    return malformed(this.#cursor.what, this.#nameOf(this.#next - 1))
  }

  /** The tag of the next field. */
  #take(): number {
    if (this.#next === this.#place.count)
      throw malformed(this.#cursor.what, `${this.#nameOf(this.#next)} is missing`)
    this.#next++
    return readTag(this.#cursor)
  }

  #nameOf(index: number): string {
    const { names, within } = this.#place
    const name = names[index] ?? `item ${index + 1}`
    return within === undefined ? name : `${within.#nameOf(within.#next - 1)}, ${name}`
  }
}

function miscounted(what: string, count: number, names: readonly string[]): SubrosaError {
  const missing = names[count]
  return malformed(
    what,
    missing === undefined ? `${count - names.length} fields too many` : `${missing} is missing`,
  )
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
    writer.bytes[at] = NIL
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

/**
 * The bytes from `at` to the end, where they are one bin in its shortest form, as a view; `undefined` where they are
 * anything else, of which {@link unpackItem} says what. It is for what is read so often that a reader costs too much.
 */
export function lastBin(bytes: Uint8Array, at: number): Uint8Array | undefined {
  const head = BIN_HEAD_BYTES.get(bytes[at] ?? NIL)
  if (head === undefined) return undefined
  const length = bytes.length - at - head
  if (length < 0 || binHeadBytes(length) !== head) return undefined
  return bigEndian(bytes, at + 1, head - 1) === length ? bytes.subarray(at + head) : undefined
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

/** How far bytes were read. */
interface Cursor {
  readonly bytes: Uint8Array
  readonly what: string
  at: number
}

function tooShort({ what }: Cursor): SubrosaError {
  return malformed(what, 'it ends too early')
}

/** The first byte of the next value, which says its kind. */
function readTag(cursor: Cursor): number {
  const tag = cursor.bytes[cursor.at++]
  if (tag === undefined) throw tooShort(cursor)
  return tag
}

/** The integer whose tag is not the integer itself; `undefined` for another kind. */
function longUint(cursor: Cursor, tag: number): number | undefined {
  switch (tag) {
    case 0xcc:
      return readUint(cursor, 1, 0x80)
    case 0xcd:
      return readUint(cursor, 2, 0x100)
    case 0xce:
      return readUint(cursor, 4, 0x10000)
    case 0xd3:
      // The bound of 2^53 keeps its sign bit clear.
      return readUint(cursor, 8, 0x100000000)
    default:
      return undefined
  }
}

/** How many bytes the string of this tag has; `undefined` for another kind. */
function stringLength(cursor: Cursor, tag: number): number | undefined {
  if (tag >= 0xa0 && tag <= 0xbf) return tag & 0x1f
  if (tag === 0xd9) return readUint(cursor, 1, 0x20)
  return tag === 0xda ? readUint(cursor, 2, 0x100) : undefined
}

/** How many bytes the bin of this tag has; `undefined` for another kind. */
function binLength(cursor: Cursor, tag: number): number | undefined {
  if (tag === 0xc4) return readUint(cursor, 1, 0)
  if (tag === 0xc5) return readUint(cursor, 2, 0x100)
  return tag === 0xc6 ? readUint(cursor, 4, 0x10000) : undefined
}

/** How many items the array of this tag has; `undefined` for another kind. */
function arrayCount(cursor: Cursor, tag: number): number | undefined {
  const count = tag >= 0x90 && tag <= 0x9f ? tag & 0x0f : tag === 0xdc ? readUint(cursor, 2, 0x10) : undefined
  // Each item takes at least a byte.
  if (count !== undefined && count > cursor.bytes.length - cursor.at) throw tooShort(cursor)
  return count
}

/** A big-endian integer of `size` bytes; `undefined` below `min`, which is not the shortest form, and from 2^53 on. */
function readUint(cursor: Cursor, size: number, min: number): number | undefined {
  const start = cursor.at
  cursor.at += size
  if (cursor.at > cursor.bytes.length) throw tooShort(cursor)
  const value = bigEndian(cursor.bytes, start, size)
  return value < min || value > Number.MAX_SAFE_INTEGER ? undefined : value
}

function readRaw(cursor: Cursor, length: number): Uint8Array {
  const start = cursor.at
  cursor.at += length
  if (cursor.at > cursor.bytes.length) throw tooShort(cursor)
  return cursor.bytes.subarray(start, cursor.at)
}
