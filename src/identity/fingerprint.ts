import { base64nopad } from '@scure/base'
import { concat, utf8 } from '../base/bytes.ts'
import { engineFor } from '../crypto/engine.ts'
import { decodeNkey } from './nkey.ts'

const SSH_KEY_TYPE = utf8('ssh-ed25519')

/**
 * The fingerprint of a public identity key, for people to compare over a channel that they trust. It is the one that
 * `ssh-keygen -l` prints for the same key: `SHA256:` and 43 characters of base64, over the key in SSH's wire encoding
 * (RFC 4253, section 6.6; RFC 8709).
 *
 * @param publicKey a public nkey `U…`
 * @throws SubrosaError ERR_KEY_INVALID
 *
 * @example
 * ```ts
 * console.log(fingerprint(identity.publicKey)) // SHA256:uNiVztksCsDhcc0u9e8BgrJXVGcy1zDwj3rT4kdrYHw
 * ```
 */
export function fingerprint(publicKey: string): string {
  const wire = concat(sshString(SSH_KEY_TYPE), sshString(decodeNkey('U', publicKey)))
  return `SHA256:${base64nopad.encode(engineFor().sha256(wire))}`
}

function sshString(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, bytes.length)
  return concat(length, bytes)
}
