import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isPaddedLength, isZeroFrom, paddedLength } from '../../src/crypto/padding.ts'

const lengths = fc.integer({ min: 0, max: 64 * 1024 * 1024 })

describe('padding', () => {
  it.each([
    [0, 128],
    [1, 128],
    [128, 128],
    [129, 144],
    [144, 144],
    [145, 160],
    [255, 256],
    [256, 256],
    [257, 272],
    [1000, 1024],
    [1025, 1088],
    [65_537, 67_584],
    [1_000_000, 1_015_808],
    [2 ** 26 - 1, 2 ** 26],
    [2 ** 26, 2 ** 26],
  ])('takes %i bytes up to %i', (length, padded) => {
    expect(paddedLength(length, 'padme')).toBe(padded)
  })

  it('is PADMÉ as its paper writes it, and at least 128', () => {
    fc.assert(
      fc.property(lengths, (length) => {
        expect(paddedLength(length, 'padme')).toBe(Math.max(128, padme(length)))
      }),
    )
  })

  it('never shortens, adds less than 12 % above 128 bytes, and changes nothing twice', () => {
    fc.assert(
      fc.property(lengths, (length) => {
        const padded = paddedLength(length, 'padme')
        expect(padded).toBeGreaterThanOrEqual(length)
        if (length > 128) expect((padded - length) / length).toBeLessThan(0.12)
        expect(paddedLength(padded, 'padme')).toBe(padded)
      }),
    )
  })

  it('leaves the length alone where it is turned off', () => {
    fc.assert(
      fc.property(lengths, (length) => {
        expect(paddedLength(length, 'none')).toBe(length)
      }),
    )
  })

  it('takes no total but the bucket and the bare length', () => {
    for (let length = 0; length < 600; length++) {
      const accepted = []
      for (let total = 0; total < 1024; total++) if (isPaddedLength(length, total)) accepted.push(total)
      expect(accepted).toEqual([...new Set([length, Math.max(128, padme(length))])])
    }
  })

  it('sees a byte that is not zero anywhere in the padding', () => {
    for (let place = 4; place < 40; place++) {
      const bytes = new Uint8Array(40)
      bytes.fill(9, 0, 4)
      expect(isZeroFrom(bytes, 4)).toBe(true)
      bytes[place] = 1
      expect(isZeroFrom(bytes, 4)).toBe(false)
    }
    expect(isZeroFrom(new Uint8Array(4).fill(1), 4)).toBe(true)
  })
})

/** Algorithm 1 of the PURB paper, on integers alone. */
function padme(length: number): number {
  if (length < 2) return length
  const exponent = BigInt(length.toString(2).length - 1)
  const mantissaBits = BigInt(exponent.toString(2).length)
  const lastBits = exponent - mantissaBits
  const mask = lastBits < 0n ? 0n : (1n << lastBits) - 1n
  return Number((BigInt(length) + mask) & ~mask)
}
