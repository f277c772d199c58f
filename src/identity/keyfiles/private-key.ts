import { copy, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { engineFor } from '../../crypto/engine.ts'
import { decodeNkey, decodeSeed, encodeNkey } from '../nkey.ts'
import { decryptPkcs8 } from './encrypted-pkcs8.ts'
import { damagedKey, type KeyPlace, notAKey, wrongKind } from './key-kinds.ts'
import { decodeKeyBody, type PrivateKeyFormat, recogniseKey } from './key-text.ts'
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
  /** The public key, `U…`, where it stands beside the encrypted one, or nothing is encrypted. */
  readonly publicKey: string | undefined
}

/**
 * Reads an Ed25519 private key in any format that works: PKCS#8 PEM and OpenSSH, plain and encrypted, and nkey seeds.
 * Where the text holds the public key too, the two must fit. No error quotes the text.
 *
 * @returns the seed, 32 bytes and a secret, which the caller wipes
 * @throws SubrosaError ERR_KEY_FILE (no private key, or a damaged one), ERR_KEY_INVALID (a key of another kind, or
 *   one that does not fit its public key), ERR_KEY_PASSPHRASE
 */
export async function readPrivateKey(text: string, options: ReadPrivateKeyOptions): Promise<Uint8Array> {
  const place = privatePlace(options.where)
  const { seed, publicKey } = await open(findPrivateKey(text, place), { ...options, place })
  if (publicKey !== undefined && !samePublic(publicKey, publicKeyOf(seed))) {
    engineFor().wipe(seed)
    throw new SubrosaError(
      'ERR_KEY_INVALID',
      `the private key in ${options.where} does not fit the public one there`,
    )
  }
  return seed
}

/**
 * Looks at a private key without its passphrase.
 *
 * @throws SubrosaError ERR_KEY_FILE, ERR_KEY_INVALID, as {@link readPrivateKey}
 */
export async function viewPrivateKey(text: string, where: string): Promise<PrivateKeyView> {
  const place = privatePlace(where)
  const { format, body } = findPrivateKey(text, place)
  if (format === 'encrypted-pkcs8') return { format, isEncrypted: true, publicKey: undefined }
  if (format === 'openssh') {
    const { publicKey, isEncrypted } = readOpensshKey(decodeKeyBody(body, place), place)
    if (isEncrypted) return { format, isEncrypted, publicKey: encodeNkey('U', publicKey) }
  }
  const seed = await readPrivateKey(text, { where })
  try {
    return { format, isEncrypted: false, publicKey: encodeNkey('U', publicKeyOf(seed)) }
  } finally {
    engineFor().wipe(seed)
  }
}

interface FoundKey {
  readonly format: PrivateKeyFormat
  readonly body: string
  readonly publicKey: string | undefined
}

interface OpenKey {
  /** With memory of its own. */
  readonly seed: Uint8Array
  /** The public key that the text holds besides, where it does. */
  readonly publicKey: Uint8Array | undefined
}

interface OpenOptions extends ReadPrivateKeyOptions {
  readonly place: KeyPlace
}

function privatePlace(where: string): KeyPlace {
  return { where, half: 'private' }
}

function findPrivateKey(text: string, place: KeyPlace): FoundKey {
  const key = recogniseKey(text)
  if (key.found === 'private key') return key
  if (key.found === 'public key') throw notAKey(place, 'a public key')
  throw key.isKey ? wrongKind(place, key.what) : notAKey(place, key.what)
}

async function open({ format, body, publicKey }: FoundKey, options: OpenOptions): Promise<OpenKey> {
  const { place } = options
  if (format === 'nkey') return openNkey(body, publicKey, place)
  const bytes = decodeKeyBody(body, place)
  try {
    if (format === 'openssh') return await openOpenssh(bytes, options)
    return format === 'pkcs8' ? openPkcs8(bytes, place) : await openEncryptedPkcs8(bytes, options)
  } finally {
    engineFor().wipe(bytes)
  }
}

function openNkey(seed: string, publicKey: string | undefined, place: KeyPlace): OpenKey {
  try {
    const beside = publicKey === undefined ? undefined : decodeNkey('U', publicKey)
    return { seed: decodeSeed('U', seed), publicKey: beside }
  } catch {
    throw damagedKey(place)
  }
}

function openPkcs8(der: Uint8Array, place: KeyPlace): OpenKey {
  const { seed, publicKey } = readPkcs8(der, place)
  return { seed: copy(seed), publicKey: publicKey && copy(publicKey) }
}

async function openEncryptedPkcs8(bytes: Uint8Array, { passphrase, place }: OpenOptions): Promise<OpenKey> {
  const secret = await askPassphrase(passphrase, place.where)
  let der: Uint8Array = new Uint8Array()
  try {
    der = decryptPkcs8(bytes, secret, place)
    return openPkcs8(der, place)
  } finally {
    engineFor().wipe(secret, der)
  }
}

async function openOpenssh(bytes: Uint8Array, { passphrase, place }: OpenOptions): Promise<OpenKey> {
  const key = readOpensshKey(bytes, place)
  const secret = key.isEncrypted ? await askPassphrase(passphrase, place.where) : undefined
  try {
    const seed = await openOpensshKey(bytes, key, { place, passphrase: secret })
    return { seed, publicKey: copy(key.publicKey) }
  } finally {
    if (secret !== undefined) engineFor().wipe(secret)
  }
}

function publicKeyOf(seed: Uint8Array): Uint8Array {
  const { publicKey, secretKey } = engineFor().ed25519KeyPair(seed)
  engineFor().wipe(secretKey)
  return publicKey
}
