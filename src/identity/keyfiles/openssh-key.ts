import { base64 } from '@scure/base'
import { copy, fromUtf8, samePublic } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { damagedKey, type KeyPlace, kindOfSshType, wrongKind } from './key-kinds.ts'
import { wrongPassphrase } from './passphrase.ts'
import { readSshPublicKey, SshReader } from './ssh-wire.ts'

const MAGIC = 'openssh-key-v1\0'
const LABEL = 'OPENSSH PRIVATE KEY'
/** What sshpk decrypts without a stream that could fail outside of the call. OpenSSH writes aes256-ctr. */
const CIPHERS = /^aes(?:128|192|256)-(?:ctr|cbc)$/
const CIPHER_BLOCK_BYTES = 16
/** Rounds of bcrypt take 13 ms each and hold up the process: 1024 are 13 s. OpenSSH writes 16, newer ones 24. */
const MAX_ROUNDS = 1024
const MAX_SALT_BYTES = 64

/** A private key in OpenSSH's format, of which the public half is read. */
export interface OpensshKey {
  /** The public key that stands in the clear, 32 bytes. */
  readonly publicKey: Uint8Array
  readonly isEncrypted: boolean
}

/**
 * Reads what is in the clear of a private key in OpenSSH's format (PROTOCOL.key of OpenSSH). Everything that decides
 * about the work of decrypting it is checked here.
 *
 * @throws SubrosaError ERR_KEY_INVALID for a key of another kind, ERR_KEY_FILE when it is damaged or encrypted in a
 *   way that is not supported
 */
export function readOpensshKey(body: Uint8Array, place: KeyPlace): OpensshKey {
  const reader = new SshReader(body)
  const magic = reader.bytes(MAGIC.length)
  const cipher = reader.name()
  const kdf = reader.name()
  const kdfOptions = reader.string()
  const count = reader.uint32()
  const publicBlob = reader.string()
  const secret = reader.string()
  if (magic === undefined || fromUtf8(magic) !== MAGIC || secret === undefined) throw damagedKey(place)
  if (cipher === undefined || kdf === undefined || kdfOptions === undefined || publicBlob === undefined)
    throw damagedKey(place)
  const key = count === 1 ? readSshPublicKey(publicBlob) : undefined
  if (key === undefined) throw damagedKey(place)
  if (key.ed25519 === undefined) throw wrongKind(place, kindOfSshType(key.type))
  const isEncrypted = cipher !== 'none'
  if (isEncrypted) checkEncryption({ cipher, kdf, kdfOptions }, place)
  // Some ciphers put a tag behind it, but none of those that are left.
  if (!reader.isAtEnd || (isEncrypted && secret.length % CIPHER_BLOCK_BYTES !== 0)) throw damagedKey(place)
  return { publicKey: key.ed25519, isEncrypted }
}

/**
 * Takes the seed out of a private key whose public half {@link readOpensshKey} has read.
 *
 * @returns 32 bytes, a secret
 * @throws SubrosaError ERR_KEY_PASSPHRASE when the passphrase does not open it, ERR_KEY_FILE when it is damaged
 */
export async function openOpensshKey(
  body: Uint8Array,
  key: OpensshKey,
  options: { readonly place: KeyPlace; readonly passphrase: Uint8Array | undefined },
): Promise<Uint8Array> {
  const { place, passphrase } = options
  // Loaded here: only who has such a key needs it.
  const { default: sshpk } = await import('sshpk')
  const text = `-----BEGIN ${LABEL}-----\n${base64.encode(body)}\n-----END ${LABEL}-----\n`
  let parts: readonly KeyPart[]
  try {
    const { type, parts: found } = sshpk.parsePrivateKey(text, 'ssh-private', {
      ...(passphrase && {
        passphrase: Buffer.from(passphrase.buffer, passphrase.byteOffset, passphrase.length),
      }),
    })
    parts = type === 'ed25519' ? found : []
  } catch (error) {
    // The message may quote the key: it is read, and not passed on.
    if (passphrase !== undefined && String(error).includes('Incorrect passphrase'))
      throw wrongPassphrase(place.where)
    throw damagedKey(place)
  }
  const seed = parts.find(({ name }) => name === 'k')?.data
  const publicKey = parts.find(({ name }) => name === 'A')?.data
  if (seed?.length !== 32 || publicKey === undefined || !samePublic(publicKey, key.publicKey))
    throw damagedKey(place)
  const own = copy(seed)
  seed.fill(0)
  return own
}

interface KeyPart {
  readonly name: string
  readonly data: Uint8Array
}

interface Encryption {
  readonly cipher: string
  readonly kdf: string
  readonly kdfOptions: Uint8Array
}

function checkEncryption({ cipher, kdf, kdfOptions }: Encryption, place: KeyPlace): void {
  if (kdf !== 'bcrypt' || !CIPHERS.test(cipher))
    throw unsupported(place, 'is encrypted in a way that is not supported')
  const reader = new SshReader(kdfOptions)
  const salt = reader.string()
  const rounds = reader.uint32()
  if (salt === undefined || rounds === undefined || !reader.isAtEnd) throw damagedKey(place)
  if (salt.length === 0 || salt.length > MAX_SALT_BYTES || rounds === 0) throw damagedKey(place)
  if (rounds > MAX_ROUNDS)
    throw unsupported(place, `asks for ${rounds} rounds of bcrypt, and more than ${MAX_ROUNDS} are refused`)
}

function unsupported({ where }: KeyPlace, what: string): SubrosaError {
  return new SubrosaError('ERR_KEY_FILE', `the key in ${where} ${what}`, {
    hint: 'encrypt it anew, with the same passphrase or another: ssh-keygen -p -Z aes256-ctr -a 16 -f FILE',
  })
}
