/** Tags of DER that keys are made of. */
export const DER_INTEGER = 0x02
export const DER_BIT_STRING = 0x03
export const DER_OCTET_STRING = 0x04
export const DER_OID = 0x06
export const DER_SEQUENCE = 0x30

/** One element of DER (X.690). Its content shares memory with what it was read from. */
export interface DerElement {
  readonly tag: number
  readonly content: Uint8Array
}

/** The elements that stand one after another in these bytes, or `undefined` where they are no DER. */
export function readDer(bytes: Uint8Array): readonly DerElement[] | undefined {
  const elements: DerElement[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const header = readHeader(bytes, offset)
    if (header === undefined) return undefined
    const { tag, start, length } = header
    if (length > bytes.length - start) return undefined
    offset = start + length
    elements.push({ tag, content: bytes.subarray(start, offset) })
  }
  return elements
}

/** The one element of this kind that the bytes are, or `undefined`. */
export function readDerOnly(bytes: Uint8Array, tag: number): Uint8Array | undefined {
  const [only, ...others] = readDer(bytes) ?? []
  return only?.tag === tag && others.length === 0 ? only.content : undefined
}

/** The elements of the one sequence that the bytes are, or `undefined`. */
export function readDerSequence(bytes: Uint8Array): readonly DerElement[] | undefined {
  const content = readDerOnly(bytes, DER_SEQUENCE)
  return content && readDer(content)
}

interface Header {
  readonly tag: number
  /** Where the content begins. */
  readonly start: number
  readonly length: number
}

function readHeader(bytes: Uint8Array, offset: number): Header | undefined {
  const tag = bytes[offset]
  const first = bytes[offset + 1]
  // Tags of more than one byte stand in no key.
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined
  if (first < 0x80) return { tag, start: offset + 2, length: first }
  const lengthBytes = first & 0x7f
  // Neither the indefinite form nor lengths that no key has.
  if (lengthBytes === 0 || lengthBytes > 3) return undefined
  const start = offset + 2 + lengthBytes
  let length = 0
  for (let at = offset + 2; at < start; at++) length = length * 256 + (bytes[at] ?? 0)
  return { tag, start, length }
}
