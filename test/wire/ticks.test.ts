import { describe, expect, it } from 'vitest'
import { MAX_STATEMENT_BYTES, MAX_TICK_LEAVES } from '../../src/base/limits.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import { encodeWire, WireType } from '../../src/wire/preamble.ts'
import {
  decodeSignedTick,
  decodeTick,
  decodeTickAnswer,
  encodeSignedTick,
  encodeTick,
  type SignedTick,
} from '../../src/wire/ticks.ts'
import { malformed } from './packable.ts'
import { tick } from './samples.ts'

const bytes = (length: number) => new Uint8Array(length)
const signature = bytes(64)

describe('a tick', () => {
  it('is read as it was written', () => {
    for (const written of [
      tick(),
      tick({ standing: 0 }),
      tick({ leaves: MAX_TICK_LEAVES }),
      tick({ leaves: 0, nonceRoot: bytes(32) }),
    ])
      expect(decodeTick(encodeTick(written))).toEqual(written)
  })

  it.each<[string, Parameters<typeof tick>[0]]>([
    ['a realm that is too short', { realm: 'A'.repeat(55) }],
    ['a rotator that is too long', { rotator: 'U'.repeat(57) }],
    ['a short name of its process', { process: bytes(7) }],
    ['a long name of its process', { process: bytes(9) }],
    ['a short revocations hash', { revocationsHash: bytes(0) }],
    ['a long directory root', { directoryRoot: bytes(33) }],
    ['a short storage root', { storageRoot: bytes(31) }],
    ['a short nonce root', { nonceRoot: bytes(16) }],
    ['one leaf too many', { leaves: MAX_TICK_LEAVES + 1 }],
  ])('is refused with %s', (_, changes) => {
    expect(() => decodeTick(encodeTick(tick(changes)))).toThrow(malformed)
  })

  it('is refused with a standing that is neither 0 nor 1', () => {
    const written = tick()
    const withStanding = (standing: Packable): Uint8Array =>
      pack(Object.values({ ...written, standing }) as readonly Packable[])
    expect(decodeTick(withStanding(1))).toEqual(written)
    for (const standing of [2, 255, '1', undefined])
      expect(() => decodeTick(withStanding(standing))).toThrow(malformed)
  })

  it('shares no memory with the bytes that it was read from', () => {
    const encoded = encodeTick(tick())
    const read = decodeTick(encoded)
    encoded.fill(0xff)
    expect(read).toEqual(tick())
  })
})

describe('a signed tick', () => {
  const structure = encodeTick(tick())
  const nonce = bytes(16).fill(5)

  it.each<[string, Pick<SignedTick, 'nonce' | 'index' | 'path'>]>([
    ['in a broadcast', { nonce: undefined, index: undefined, path: undefined }],
    ['to the only one who asked', { nonce, index: 0, path: bytes(0) }],
    ['to the last of 4,096', { nonce, index: 4095, path: bytes(384) }],
  ])('is read as it was written %s', (_, place) => {
    const written = { structure, signature, ...place }
    expect(decodeSignedTick(encodeSignedTick(written))).toEqual(written)
  })

  it.each<[string, readonly Packable[]]>([
    ['a place and no path', [structure, signature, nonce, 1, undefined]],
    ['a path and no place', [structure, signature, nonce, undefined, bytes(32)]],
    ['a nonce alone', [structure, signature, nonce, undefined, undefined]],
    ['a place and a path, and no nonce', [structure, signature, undefined, 1, bytes(32)]],
    ['a short nonce', [structure, signature, bytes(15), 1, bytes(32)]],
    ['a place beyond 4,095', [structure, signature, nonce, 4096, bytes(384)]],
    ['a path of thirteen hashes', [structure, signature, nonce, 1, bytes(416)]],
    ['a short signature', [structure, bytes(63), nonce, 1, bytes(32)]],
    ['a token in the place of the path', [structure, signature, nonce, 1, 'a.b.c']],
    ['nothing behind the signature', [structure, signature]],
    ['a sixth field', [structure, signature, nonce, 1, bytes(32), undefined]],
  ])('is refused with %s', (_, fields) => {
    expect(() => decodeSignedTick(encodeWire(WireType.tick, fields))).toThrow(malformed)
  })

  it('is refused above 64 KiB, and as another type', () => {
    const place = { nonce: undefined, index: undefined, path: undefined }
    const large = { structure: bytes(MAX_STATEMENT_BYTES), signature, ...place }
    expect(() => decodeSignedTick(encodeSignedTick(large))).toThrow(malformed)
    const fields = [structure, signature, undefined, undefined, undefined]
    expect(() => decodeSignedTick(encodeWire(WireType.notice, fields))).toThrow(malformed)
  })

  it('shares no memory with the bytes that it was read from', () => {
    const wire = encodeSignedTick({ structure, signature, nonce, index: 1, path: bytes(32) })
    const read = decodeSignedTick(wire)
    wire.fill(0xff)
    expect(read).toEqual({ structure, signature, nonce, index: 1, path: bytes(32) })
  })

  it('is read by whoever asks for its nonce, and no further by anybody else', () => {
    const signed = { structure, signature, nonce, index: 1, path: bytes(32) }
    const wire = encodeSignedTick(signed)
    expect(decodeTickAnswer(wire, (echoed) => echoed.every((one, i) => one === nonce[i]))).toEqual(signed)
    // What stands behind the nonce is not even looked at.
    const broken = encodeWire(WireType.tick, [structure, signature, nonce, 'junk', undefined])
    expect(() => decodeTickAnswer(broken, () => false)).not.toThrow()
    expect(decodeTickAnswer(wire, () => false)).toBeUndefined()
    expect(() => decodeTickAnswer(broken, () => true)).toThrow(malformed)
  })

  it('answers nobody in a broadcast', () => {
    const wire = encodeSignedTick({
      structure,
      signature,
      nonce: undefined,
      index: undefined,
      path: undefined,
    })
    expect(decodeTickAnswer(wire, () => true)).toBeUndefined()
  })
})
