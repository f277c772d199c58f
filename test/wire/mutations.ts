import fc from 'fast-check'
import { concat } from '../../src/base/bytes.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'

/** One change of a byte string. */
type Edit =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'set'; readonly at: number; readonly value: number }
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'remove'; readonly at: number; readonly count: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }

const place = fc.nat()
const byte = fc.integer({ min: 0, max: 255 })

const edit: fc.Arbitrary<Edit> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.integer({ min: 0, max: 7 }) }),
  fc.record({ kind: fc.constant('set' as const), at: place, value: byte }),
  fc.record({ kind: fc.constant('cut' as const), at: place }),
  fc.record({ kind: fc.constant('remove' as const), at: place, count: fc.integer({ min: 1, max: 8 }) }),
  fc.record({ kind: fc.constant('insert' as const), at: place, bytes: fc.uint8Array({ maxLength: 8 }) }),
)

/** Any of these byte strings with one to four changes. */
export function mutationsOf(originals: readonly Uint8Array[]): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(fc.constantFrom(...originals), fc.array(edit, { minLength: 1, maxLength: 4 }))
    .map(([original, edits]) => edits.reduce(apply, original))
}

/** Packed arrays of every type that a field may have, of which few are what a parser expects. */
export function packedArrays(prefix: Uint8Array): fc.Arbitrary<Uint8Array> {
  const leaf: fc.Arbitrary<Packable> = fc.oneof(
    fc.nat({ max: 300 }),
    fc.constantFrom(0, 1, 2, 2 ** 32, Number.MAX_SAFE_INTEGER),
    fc.string({ maxLength: 8 }),
    fc.constantFrom('a'.repeat(56), 'x'.repeat(64)),
    fc.constantFrom(0, 8, 16, 32, 56, 64, 148).map((length) => new Uint8Array(length)),
    fc.constant(undefined),
  )
  const item: fc.Arbitrary<Packable> = fc.oneof(leaf, fc.array(leaf, { maxLength: 4 }))
  return fc.array(item, { maxLength: 14 }).map((fields) => concat(prefix, pack(fields)))
}

function apply(bytes: Uint8Array, change: Edit): Uint8Array {
  const at = bytes.length === 0 ? 0 : change.at % bytes.length
  const changed = new Uint8Array(bytes)
  switch (change.kind) {
    case 'flip':
      if (bytes.length > 0) changed[at] = (changed[at] ?? 0) ^ (1 << change.bit)
      return changed
    case 'set':
      if (bytes.length > 0) changed[at] = change.value
      return changed
    case 'cut':
      return changed.subarray(0, at)
    case 'remove':
      return concat(changed.subarray(0, at), changed.subarray(at + change.count))
    case 'insert':
      return concat(changed.subarray(0, at), change.bytes, changed.subarray(at))
  }
}
