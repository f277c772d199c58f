import fc from 'fast-check'
import { expect } from 'vitest'
import { type FieldReader, type Packable, unpack } from '../../src/wire/msgpack.ts'

/** Matches the one error that a parser may throw. */
export const malformed: Error = expect.objectContaining({ name: 'SubrosaError', code: 'ERR_MALFORMED' })

/** Names for so many fields, which a reader wants to know beforehand. */
export function names(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `item ${i + 1}`)
}

/** Reads an array of any fields with the reader under test: each as what its tag says that it is. */
export function unpackAny(bytes: Uint8Array): readonly Packable[] {
  const [tag = 0, high = 0, low = 0] = bytes
  const shape = names(tag === 0xdc ? high * 256 + low : tag & 0x0f)
  const fields = unpack(bytes, 'test', shape)
  const taken = shape.map(() => takeAny(fields, bytes))
  fields.end()
  return taken
}

function takeAny(reader: FieldReader, bytes: Uint8Array): Packable {
  const tag = bytes[reader.at] ?? 0
  if (tag === 0xc0) return reader.optional((item) => item.uint())
  if (reader.isArray()) return reader.list(0xffff, (item) => takeAny(item, bytes))
  if ((tag & 0xe0) === 0xa0 || (tag >= 0xd9 && tag <= 0xdb)) return reader.string(0xffff)
  if (tag >= 0xc4 && tag <= 0xc6) return reader.bytesUpTo(2 ** 32)
  return reader.uint()
}

/**
 * A reader of MessagePack that is independent of the one under test and lenient: it takes every length form. Bytes
 * that it cannot read give `undefined`.
 */
export function decodeLeniently(bytes: Uint8Array): readonly Packable[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  const uint = (size: 1 | 2 | 4 | 8): number => {
    const start = at
    at += size
    if (size === 1) return view.getUint8(start)
    if (size === 2) return view.getUint16(start)
    return size === 4 ? view.getUint32(start) : Number(view.getBigUint64(start))
  }
  const raw = (length: number): Uint8Array => {
    at += length
    if (at > bytes.length) throw new RangeError('cut')
    return bytes.slice(at - length, at)
  }
  const text = (length: number): string => Buffer.from(raw(length)).toString('utf8')
  const array = (count: number): readonly Packable[] => Array.from({ length: count }, value)
  function value(): Packable {
    const tag = uint(1)
    if (tag < 0x80) return tag
    if (tag >= 0x90 && tag < 0xa0) return array(tag - 0x90)
    if (tag >= 0xa0 && tag < 0xc0) return text(tag - 0xa0)
    if (tag === 0xc0) return undefined
    if (tag === 0xc4) return raw(uint(1))
    if (tag === 0xc5) return raw(uint(2))
    if (tag === 0xc6) return raw(uint(4))
    if (tag === 0xcc) return uint(1)
    if (tag === 0xcd) return uint(2)
    if (tag === 0xce) return uint(4)
    if (tag === 0xcf || tag === 0xd3) return uint(8)
    if (tag === 0xd9) return text(uint(1))
    if (tag === 0xda) return text(uint(2))
    if (tag === 0xdc) return array(uint(2))
    throw new RangeError('a type that is not allowed')
  }
  try {
    const decoded = value()
    return Array.isArray(decoded) && at === bytes.length ? decoded : undefined
  } catch {
    return undefined
  }
}

/** Arrays of everything that may be packed, at most `depth` arrays inside each other. */
export function packables(depth: number): fc.Arbitrary<readonly Packable[]> {
  const leaf: fc.Arbitrary<Packable> = fc.oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.constant(undefined),
  )
  const item: fc.Arbitrary<Packable> = depth === 0 ? leaf : fc.oneof(leaf, packables(depth - 1))
  return fc.array(item, { maxLength: 20 })
}
