import { SubrosaError } from '../../base/errors.ts'

/** What can be the private key of an identity, for people. */
const PRIVATE_KINDS =
  'Ed25519 keys work: PKCS#8 PEM (openssl genpkey -algorithm ed25519), OpenSSH (ssh-keygen -t ed25519), nkey seeds SU…'

/** What can be the public key of an identity, for people. */
const PUBLIC_KINDS =
  'Ed25519 keys work: a public nkey U…, a line or file of OpenSSH (ssh-keygen -y -f FILE), PEM (openssl pkey -pubout)'

/** Whether a private or a public key is asked for. */
type KeyHalf = 'private' | 'public'

/** Where a key came from, and which half of it is asked for, for messages. */
export interface KeyPlace {
  /** As `file:PATH` or `env:NAME`. It stands in messages. */
  readonly where: string
  readonly half: KeyHalf
}

/** The error for a key of a kind that no identity has. */
export function wrongKind({ where, half }: KeyPlace, what: string): SubrosaError {
  return new SubrosaError('ERR_KEY_INVALID', `${where} is ${what}: it cannot be an identity`, {
    hint: workingKinds(half),
  })
}

/** The error for what is no key of the half that is asked for. */
export function notAKey({ where, half }: KeyPlace, what: string): SubrosaError {
  return new SubrosaError('ERR_KEY_FILE', `${where} is ${what}: one ${half} key is needed`, {
    hint: workingKinds(half),
  })
}

/** The error for a key that is cut off or altered. */
export function damagedKey({ where, half }: KeyPlace): SubrosaError {
  return new SubrosaError('ERR_KEY_FILE', `the ${half} key in ${where} is damaged`, {
    hint: workingKinds(half),
  })
}

function workingKinds(half: KeyHalf): string {
  return half === 'private' ? PRIVATE_KINDS : PUBLIC_KINDS
}

const BY_OID: ReadonlyMap<string, string> = new Map([
  ['2a864886f70d010101', 'an RSA key'],
  ['2a864886f70d01010a', 'an RSA key'],
  ['2a864886f70d010301', 'a Diffie-Hellman key'],
  ['2a8648ce380401', 'a DSA key'],
  ['2a8648ce3d0201', 'an EC key'],
  ['2b656e', 'an X25519 key, which encrypts and does not sign'],
  ['2b656f', 'an X448 key'],
  ['2b6571', 'an Ed448 key'],
])

/** What a key with this algorithm (an OID in hexadecimal) is called. */
export function kindOfOid(oid: string): string {
  return BY_OID.get(oid) ?? 'a key of another kind'
}

/** What a key of this SSH type is called. The type is not quoted: it may be anything. */
export function kindOfSshType(type: string): string {
  if (type.endsWith('-cert-v01@openssh.com')) return 'a certificate of OpenSSH'
  if (type.startsWith('sk-')) return 'a key that stays in a security key (FIDO)'
  if (type === 'ssh-rsa') return 'an RSA key'
  if (type === 'ssh-dss') return 'a DSA key'
  if (type.startsWith('ecdsa-sha2-')) return 'an EC key'
  return 'a key of another kind'
}

const BY_NKEY_LETTER: ReadonlyMap<string, string> = new Map([
  ['A', 'of an account or authority'],
  ['C', 'of a cluster'],
  ['N', 'of a server'],
  ['O', 'of an operator'],
  ['X', 'for X25519, which encrypts and does not sign'],
])

/** What an nkey of the kind with this letter is for. */
export function kindOfNkey(letter: string | undefined): string {
  return BY_NKEY_LETTER.get(letter ?? '') ?? 'of another kind'
}
