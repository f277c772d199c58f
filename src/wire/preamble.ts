import { malformed, type Packable, pack } from './msgpack.ts'

export const MAGIC = 0xc1
export const VERSION = 0x01
const PREAMBLE_BYTES = 3

/** The third byte of every wire message. SPEC, "Encoding". */
export const WireType = {
  sealed: 0,
  handshake: 1,
  frame: 2,
  notice: 3,
  tick: 4,
  revocation: 5,
  announcement: 6,
  query: 7,
  page: 8,
  sessionRequest: 9,
  order: 10,
  plan: 11,
  // 12 is reserved for later versions.
  refusal: 13,
} as const

export type WireType = (typeof WireType)[keyof typeof WireType]

const KNOWN_TYPES: readonly boolean[] = Array.from({ length: 256 }, (_, type) =>
  Object.values<number>(WireType).includes(type),
)

/** Magic, version and type, followed by one MessagePack array. */
export function encodeWire(type: WireType, fields: readonly Packable[]): Uint8Array {
  const wire = pack(fields, PREAMBLE_BYTES)
  wire[0] = MAGIC
  wire[1] = VERSION
  wire[2] = type
  return wire
}

/** The type of a wire message, or `undefined` where the bytes are no message of this protocol. */
export function wireType(bytes: Uint8Array): number | undefined {
  const type = bytes[2]
  if (bytes[0] !== MAGIC || bytes[1] !== VERSION || type === undefined) return undefined
  return KNOWN_TYPES[type] === true ? type : undefined
}

/**
 * The bytes after the preamble.
 *
 * @throws SubrosaError ERR_MALFORMED when the message is larger than `maxBytes` or of another type.
 */
export function wireBody(bytes: Uint8Array, type: WireType, maxBytes: number, what: string): Uint8Array {
  if (bytes.length > maxBytes) throw malformed(what, `it has more than ${maxBytes} bytes`)
  if (wireType(bytes) !== type) throw malformed(what, 'preamble')
  return bytes.subarray(PREAMBLE_BYTES)
}
