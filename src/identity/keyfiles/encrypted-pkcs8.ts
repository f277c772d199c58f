import { createPrivateKey } from 'node:crypto'
import { SubrosaError } from '../../base/errors.ts'
import { DER_INTEGER, DER_SEQUENCE, readDer, readDerSequence } from './der.ts'
import { damagedKey, type KeyPlace } from './key-kinds.ts'
import { wrongPassphrase } from './passphrase.ts'

/** Iterations of the key derivation. OpenSSL writes 2048; ten million take seconds, and more would only hold us up. */
const MAX_ITERATIONS = 10_000_000
/** Sequences in sequences: what is known has four. */
const MAX_DEPTH = 8

/**
 * Decrypts a private key in PKCS#8: `EncryptedPrivateKeyInfo` of RFC 5958.
 *
 * @returns the DER of the key that was inside, a secret
 * @throws SubrosaError ERR_KEY_PASSPHRASE when the passphrase does not open it, ERR_KEY_FILE when it is damaged
 */
export function decryptPkcs8(der: Uint8Array, passphrase: Uint8Array, place: KeyPlace): Uint8Array {
  const [algorithm] = readDerSequence(der) ?? []
  if (algorithm?.tag !== DER_SEQUENCE) throw damagedKey(place)
  const work = largestNumber(algorithm.content)
  if (work === undefined) throw damagedKey(place)
  if (work > MAX_ITERATIONS) {
    throw new SubrosaError(
      'ERR_KEY_FILE',
      `the key in ${place.where} asks for ${work} iterations, and more than ${MAX_ITERATIONS} are refused`,
      { hint: 'encrypt it anew: openssl pkcs8 -topk8 -in FILE -out NEWFILE' },
    )
  }
  try {
    const key = createPrivateKey({
      key: view(der),
      format: 'der',
      type: 'pkcs8',
      passphrase: view(passphrase),
    })
    return key.export({ format: 'der', type: 'pkcs8' })
  } catch {
    throw wrongPassphrase(place.where)
  }
}

/** The largest number in the parameters of the encryption, or `undefined` where they are no DER of a known depth. */
function largestNumber(parameters: Uint8Array, depth = 0): number | undefined {
  const elements = depth < MAX_DEPTH ? readDer(parameters) : undefined
  const numbers = elements?.map(({ tag, content }) => {
    if (tag === DER_SEQUENCE) return largestNumber(content, depth + 1)
    return tag === DER_INTEGER ? content.reduce((value, byte) => value * 256 + byte, 0) : 0
  })
  return numbers?.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.max(a, b)), 0)
}

/** The same memory as a Buffer: no copy of a secret is left behind. */
function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
}
