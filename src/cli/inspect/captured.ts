import { fromUtf8 } from '../../base/bytes.ts'
import { MAGIC } from '../../wire/preamble.ts'

const LINE_END = 0x0a

/**
 * The bytes of a message, from the way in which somebody captured it: as they travel, also with the line end that
 * `nats sub --raw` puts behind them, or as text in hexadecimal or base64 with any white space in it. What is none of
 * these comes back as it is.
 *
 * @param isWhole whether bytes follow the format
 */
export function capturedBytes(input: Uint8Array, isWhole: (bytes: Uint8Array) => boolean): Uint8Array {
  if (input[0] === MAGIC) {
    const isLine = input.at(-1) === LINE_END && isWhole(input.subarray(0, -1))
    return isLine ? input.subarray(0, -1) : input
  }
  const text = fromUtf8(input)?.replace(/\s+/g, '') ?? ''
  return [fromHexText(text), fromBase64Text(text)].find((bytes) => bytes?.[0] === MAGIC) ?? input
}

/** Digits in any case, also with `0x` before them and colons between the bytes. */
function fromHexText(text: string): Uint8Array | undefined {
  const digits = text.replace(/^0x/i, '').replaceAll(':', '')
  return digits.length % 2 === 1 || /[^0-9a-f]/i.test(digits) ? undefined : Buffer.from(digits, 'hex')
}

/** Either alphabet, padded or not. */
function fromBase64Text(text: string): Uint8Array | undefined {
  const digits = text.replace(/={1,2}$/, '')
  return /[^A-Za-z0-9+/_-]/.test(digits) ? undefined : Buffer.from(digits, 'base64')
}
