import { fromUtf8 } from '../../base/bytes.ts'

/**
 * Reads SSH's wire encoding (RFC 4251, section 5) from front to back. What is read shares memory with the source.
 * Past the end, and where a length does not fit, there is `undefined`.
 */
export class SshReader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** The next `length` bytes. */
  bytes(length: number): Uint8Array | undefined {
    if (length > this.#bytes.length - this.#offset) return undefined
    this.#offset += length
    return this.#bytes.subarray(this.#offset - length, this.#offset)
  }

  uint32(): number | undefined {
    const bytes = this.bytes(4)
    return bytes && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
  }

  /** The bytes of a string. */
  string(): Uint8Array | undefined {
    const length = this.uint32()
    return length === undefined ? undefined : this.bytes(length)
  }

  /** A string that is a name. */
  name(): string | undefined {
    const bytes = this.string()
    return bytes && fromUtf8(bytes)
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length
  }
}

/** The name of SSH's Ed25519 keys (RFC 8709). */
const SSH_ED25519 = 'ssh-ed25519'

/** A public key in SSH's wire encoding. */
export interface SshPublicKey {
  /** What kind it says it is. */
  readonly type: string
  /** The 32 bytes of an Ed25519 key. Other kinds have none here. */
  readonly ed25519: Uint8Array | undefined
}

/** Reads a public key in SSH's wire encoding (RFC 4253, section 6.6), or `undefined` where it is damaged. */
export function readSshPublicKey(blob: Uint8Array): SshPublicKey | undefined {
  const reader = new SshReader(blob)
  const type = reader.name()
  if (type === undefined) return undefined
  if (type !== SSH_ED25519) return { type, ed25519: undefined }
  const ed25519 = reader.string()
  return ed25519?.length === 32 && reader.isAtEnd ? { type, ed25519 } : undefined
}
