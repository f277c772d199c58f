import { createPrivateKey } from 'node:crypto'
import { DER_INTEGER, DER_SEQUENCE, readDer, readDerOnly } from './der.ts'
import { damagedKey, type KeyPlace } from './key-kinds.ts'
import { wrongPassphrase } from './passphrase.ts'

/** Iterations of the key derivation. OpenSSL writes 2048; ten million take seconds, and more would only hold us up. */
const MAX_ITERATIONS = 10_000_000

/**
 * Decrypts a private key in PKCS#8: `EncryptedPrivateKeyInfo` of RFC 5958.
 *
 * @returns the DER of the key that was inside, a secret
 * @throws SubrosaError ERR_KEY_PASSPHRASE when the passphrase does not open it, ERR_KEY_FILE when it is damaged
 */
export function decryptPkcs8(der: Uint8Array, passphrase: Uint8Array, place: KeyPlace): Uint8Array {
  const [algorithm] = readDer(readDerOnly(der, DER_SEQUENCE) ?? der) ?? []
  if (algorithm?.tag !== DER_SEQUENCE || asksTooMuch(algorithm.content)) throw damagedKey(place)
  try {
    const key = createPrivateKey({
      key: Buffer.from(der),
      format: 'der',
      type: 'pkcs8',
      passphrase: Buffer.from(passphrase),
    })
    return new Uint8Array(key.export({ format: 'der', type: 'pkcs8' }))
  } catch {
    throw wrongPassphrase(place.where)
  }
}

/** Whether any number in the parameters is above what a key needs, or they are no DER. */
function asksTooMuch(parameters: Uint8Array): boolean {
  const elements = readDer(parameters)
  if (elements === undefined) return true
  return elements.some(({ tag, content }) => {
    if (tag === DER_SEQUENCE) return asksTooMuch(content)
    return tag === DER_INTEGER && toNumber(content) > MAX_ITERATIONS
  })
}

function toNumber(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0)
}
