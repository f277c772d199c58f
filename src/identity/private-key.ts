import { samePublic } from '../bytes.ts'
import { engineFor } from '../crypto/engine.ts'
import { SubrosaError } from '../errors.ts'
import { decryptPkcs8 } from './encrypted-pkcs8.ts'
import { damagedKey, type KeyPlace, notAKey, wrongKind } from './key-kinds.ts'
import { decodeKeyBody, type PrivateKeyFormat, recogniseKey } from './key-text.ts'
import { decodeNkey, decodeSeed, encodeNkey } from './nkey.ts'
import { openOpensshKey, readOpensshKey } from './openssh-key.ts'
import { type AskPassphrase, askPassphrase } from './passphrase.ts'
import { readPkcs8 } from './pkcs8.ts'

/** How {@link readPrivateKey} reads a key. */
export interface ReadPrivateKeyOptions {
  /** Where the text came from, for messages: `file:PATH` or `env:NAME`. */
  readonly where: string
  /** Asked only when the key is encrypted. */
  readonly passphrase?: AskPassphrase | undefined
}

/** What a private key shows without its passphrase. */
export interface PrivateKeyView {
  readonly format: PrivateKeyFormat
  readonly isEncrypted: boolean
  /** The public key, `U…`, where the passphrase is not needed to know it. */
  readonly publicKey: string | undefined
}

/**
 * Reads an Ed25519 private key in any format that works: PKCS#8 PEM and OpenSSH, plain and encrypted, and nkey seeds.
 * Where the text holds the public key too, they are compared. No error quotes the text.
 *
 * @returns the seed, 32 bytes and a secret, which the caller wipes
 * @throws SubrosaError ERR_KEY_FILE (no private key, or a damaged one), ERR_KEY_INVALID (a key of another kind, or
 *   one that does not fit its public key), ERR_KEY_PASSPHRASE
 */
export async function readPrivateKey(text: string, options: ReadPrivateKeyOptions): Promise<Uint8Array> {
  const place = privatePlace(options.where)
  const { format, body, publicKey } = findPrivateKey(text, place)
  if (format === 'nkey') {
    return checkPublicKey(decodeUserSeed(body, place), publicKey && decodeNkey('U', publicKey), place)
  }
  const bytes = decodeKeyBody(body)
  if (bytes === undefined) throw damagedKey(place)
  try {
    switch (format) {
      case 'pkcs8':
        return readPlainPkcs8(bytes, place)
      case 'encrypted-pkcs8':
        return await withPassphrase(options, (passphrase) => {
          const der = decryptPkcs8(bytes, passphrase, place)
          try {
            return readPlainPkcs8(der, place)
          } finally {
            engineFor().wipe(der)
          }
        })
      case 'openssh':
        return await readOpenssh(bytes, options, place)
    }
  } finally {
    engineFor().wipe(bytes)
  }
}

/**
 * Looks at a private key without opening it.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_INVALID, as {@link readPrivateKey}
 */
export async function viewPrivateKey(text: string, where: string): Promise<PrivateKeyView> {
  const place = privatePlace(where)
  const { format, body } = findPrivateKey(text, place)
  if (format === 'openssh') {
    const bytes = decodeKeyBody(body)
    if (bytes === undefined) throw damagedKey(place)
    const { publicKey, isEncrypted } = readOpensshKey(bytes, place)
    if (isEncrypted) return { format, isEncrypted, publicKey: encodeNkey('U', publicKey) }
  }
  if (format === 'encrypted-pkcs8') return { format, isEncrypted: true, publicKey: undefined }
  const seed = await readPrivateKey(text, { where })
  try {
    return { format, isEncrypted: false, publicKey: encodeNkey('U', engineFor().ed25519KeyPair(seed).publicKey) }
  } finally {
    engineFor().wipe(seed)
  }
}
