import fc from 'fast-check'
import { expect } from 'vitest'
import type { FieldReader, Packable } from '../../src/wire/msgpack.ts'

/** Matches the one error that a parser may throw. */
export const malformed: Error = expect.objectContaining({ name: 'SubrosaError', code: 'ERR_MALFORMED' })

/** Takes from a reader what `fields` holds, type by type, to its end; fails where the reader holds something else. */
export function readLike(reader: FieldReader, fields: readonly Packable[]): readonly Packable[] {
  const taken = fields.map((field) => takeLike(reader, field))
  reader.end()
  return taken
}

function takeLike(reader: FieldReader, field: Packable): Packable {
  if (field === undefined) return reader.optional((item) => item.uint())
  if (typeof field === 'number') return reader.uint()
  if (typeof field === 'string') return reader.string(3 * field.length)
  if (field instanceof Uint8Array) return reader.bytes(field.length)
  return readLike(reader.tuple(), field)
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
