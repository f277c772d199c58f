import { MIN_PADDED_BYTES } from '../base/limits.ts'

/** Whether plaintexts are padded. `none` shows their exact length to whoever sees the ciphertext. */
export type Padding = 'padme' | 'none'

/**
 * The length to which a plaintext of `length` bytes goes up: PADMÉ (Nikitin et al., "Reducing Metadata Leakage from
 * Encrypted Files and Communication with PURBs", 2019), at least 128 bytes. The overhead is below 12 %.
 */
export function paddedLength(length: number, padding: Padding): number {
  if (padding === 'none') return length
  if (length <= MIN_PADDED_BYTES) return MIN_PADDED_BYTES
  // The exponent of the length and the number of bits of that exponent, from the zeros in front of each.
  const exponent = 31 - Math.clz32(length)
  const mantissaBits = 32 - Math.clz32(exponent)
  const step = 2 ** (exponent - mantissaBits)
  return Math.ceil(length / step) * step
}

/** Whether `total` is a length that {@link paddedLength} gives for `length`, under either kind of padding. */
export function isPaddedLength(length: number, total: number): boolean {
  return total === length || total === paddedLength(length, 'padme')
}

/** Whether every byte from `start` on is zero. */
export function isZeroFrom(bytes: Uint8Array, start: number): boolean {
  for (let i = start; i < bytes.length; i++) {
    if (bytes[i] !== 0) return false
  }
  return true
}
